//! A whole stress trial: the target is found, loaded, watched and left, and a verdict is drawn.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use memtrial_report::model::SCHEMA;
use memtrial_report::stress::{Report, Sample, Verdict, Way};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::control::{self, ClientError, ControlError, Expected, Session};
use memtrial_target::interrupt::Interrupt;
use memtrial_target::launch::{LaunchError, Program};
use memtrial_target::limit::{self, LimitError};
use memtrial_target::observe::{Here, Identity, ObserveError, Place};
use memtrial_target::scratch::Scratch;

use super::ending::Watched;
use super::findings::{self, Conclusion};
use super::loaded::{self, Bench, Outcome};
use super::options::{Options, Subject};
use super::{allocators, plan, subject};
use crate::leak::allocator_of;
use crate::redirect;
use crate::served::{Served, ServedError};

/// What a trial is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the program to be ready.
    Starting,
    /// Asking the probe without load.
    Unloaded,
    /// Loading the process of this name.
    Loading(String),
    /// Freeing, and looking at what is left.
    Freeing,
}

/// Who is told how a trial gets on.
pub trait Progress {
    /// A phase begins.
    fn begin(&mut self, phase: &Phase);
    /// Figures of the process under load (its place among those that are loaded, from 0); also to be written down.
    ///
    /// # Errors
    /// When they can't be.
    fn sample(&mut self, place: usize, sample: &Sample) -> io::Result<()>;
}

/// What a trial has at hand.
#[derive(Debug)]
pub struct Lab {
    /// Its scratch folder.
    pub scratch: Scratch,
    /// The agent's library in it.
    pub agent: PathBuf,
    /// What is to be started, if anything.
    pub program: Option<Program>,
    /// Where what it prints is kept.
    pub output: PathBuf,
}

/// Why a trial came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum StressError {
    /// The target can't be seen.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// There is no process of this name.
    #[error("there is no process named {0}")]
    NoTarget(String),
    /// There is more than one.
    #[error("there are {} processes named {name}", found.len())]
    Ambiguous {
        /// The name.
        name: String,
        /// All of them; see [`subject::choices`].
        found: Vec<Identity>,
    },
    /// The program did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The program did not get ready.
    #[error("the program did not get ready: {why}")]
    NotReady {
        /// What was seen of it.
        why: String,
        /// The end of what it printed.
        printed: String,
    },
    /// The agent can't get in, or does not answer.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The load that is asked for can't be.
    #[error("{0}")]
    Plan(String),
    /// The probe fails without load.
    #[error("the probe fails without load: it {why}")]
    Probe {
        /// How.
        why: String,
        /// The end of what it printed.
        printed: String,
    },
    /// The target can't be limited.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// An allocator is not there, or is not used.
    #[error("the allocator {name} can't be loaded: {why}")]
    Allocator {
        /// As it was asked for.
        name: String,
        /// Why.
        why: String,
    },
    /// A file, thread or pipe can't be made.
    #[error("{what}: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// The user wanted to stop before there was anything to report.
    #[error("interrupted before the load")]
    Interrupted,
    /// The samples can't be written.
    #[error("cannot keep the samples: {0}")]
    Journal(io::Error),
}

impl From<ServedError> for StressError {
    fn from(error: ServedError) -> StressError {
        match error {
            ServedError::Launch(error) => StressError::Launch(error),
            ServedError::NotReady { why, printed } => StressError::NotReady { why, printed },
            ServedError::Observe(error) => StressError::Observe(error),
            ServedError::Io { what, error } => StressError::Io { what, error },
            ServedError::Interrupted => StressError::Interrupted,
        }
    }
}

impl From<ClientError> for StressError {
    fn from(error: ClientError) -> StressError {
        StressError::Control(error.into())
    }
}

/// Takes away what a trial that was killed has left: limits of processes, redirected calls, and sockets. The agent leaves
/// by itself.
/// `scratch` is its scratch folder.
pub fn clean_up(scratch: &Path) {
    limit::clean_up(scratch);
    let _ = redirect::put_back(scratch);
    control::clean_up(scratch);
}

/// Makes the trial.
///
/// # Errors
/// When it comes to nothing.
pub fn run(
    options: &Options,
    lab: &Lab,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<Report, StressError> {
    let begun = Instant::now();
    // A plan that can't be is said before anything is started.
    plan::tests(options)?;
    let max_total = plan::max_total(options);
    let mut bench = Bench { options, lab, interrupt, progress, symbolizer: Symbolizer::new(), max_total };
    let outcomes = match &options.subject {
        Subject::Allocators(names) => compare(&mut bench, names)?,
        Subject::Pid(_) | Subject::Name(_) | Subject::Program(_) => {
            let found = subject::find(options, &mut Here::new(interrupt.clone()))?;
            let subject = match found {
                Some(identity) => attach(&bench, identity)?,
                None => preload(&mut bench)?,
            };
            vec![loaded::load(&mut bench, 0, subject)?]
        }
    };
    let Bench { symbolizer, .. } = bench;
    Ok(report(options, outcomes, symbolizer, max_total, interrupt.asked(), begun))
}

/// Loads the agent into a running process.
fn attach(bench: &Bench<'_>, identity: Identity) -> Result<loaded::Subject, StressError> {
    let Bench { options, lab, max_total, .. } = *bench;
    let allocator = allocator_of(identity.pid);
    let scratch = lab.scratch.path();
    let session = Session::attach(identity.pid, &lab.agent, scratch, max_total, true, options.timeout)?;
    let name = identity.name.clone();
    let watched = Watched::new(identity, None);
    Ok(loaded::Subject { watched, name, allocator, session, way: Way::Attach })
}

/// Starts the program with the agent, and waits until it is ready.
fn preload(bench: &mut Bench<'_>) -> Result<loaded::Subject, StressError> {
    let Some(program) = &bench.lab.program else {
        return Err(StressError::NoTarget("nothing".to_owned()));
    };
    bench.progress.begin(&Phase::Starting);
    let mut subject = start(bench, program, "program")?;
    subject.name.clone_from(&subject.watched.identity.name);
    Ok(subject)
}

fn start(bench: &Bench<'_>, program: &Program, name: &str) -> Result<loaded::Subject, StressError> {
    let Bench { options, lab, interrupt, max_total, .. } = *bench;
    let expected = Expected::prepare(lab.scratch.path(), name, max_total)?;
    let served = Served::start(program, Some((&lab.agent, expected.memory())), &lab.output)?;
    let mut here = Here::new(interrupt.clone());
    let waits = matches!(options.subject, Subject::Program(_)).then_some(options.ready.as_ref());
    if let Some(ready) = waits {
        served.wait_until_ready(ready, &mut here, interrupt, options.timeout)?;
    }
    let session = match expected.wait(served.pid, &lab.agent, options.timeout) {
        Ok(session) => session,
        Err(error) => {
            return Err(match served.ended() {
                Some(how) => StressError::NotReady { why: format!("it {how}"), printed: served.printed() },
                None => error.into(),
            });
        }
    };
    let identity = here.identity(served.pid)?;
    let allocator = allocator_of(identity.pid);
    let watched = Watched::new(identity, Some(served));
    Ok(loaded::Subject { watched, name: name.to_owned(), allocator, session, way: Way::Preload })
}

/// Loads each allocator in a process of its own, one after the other.
fn compare(bench: &mut Bench<'_>, names: &[String]) -> Result<Vec<Outcome>, StressError> {
    let libraries: Vec<_> = names.iter().map(|name| allocators::library(name)).collect::<Result<_, _>>()?;
    let mut outcomes = Vec::new();
    for (place, (name, library)) in names.iter().zip(&libraries).enumerate() {
        if bench.interrupt.asked() {
            break;
        }
        let program = allocators::holder(bench.options, library.as_deref())?;
        let mut subject = start(bench, &program, &format!("allocator-{place}"))?;
        subject.allocator = allocators::in_use(subject.watched.identity.pid, name, library.as_deref())?;
        subject.name.clone_from(name);
        match loaded::load(bench, place, subject) {
            Ok(outcome) => outcomes.push(outcome),
            // What is known of the others is told.
            Err(StressError::Interrupted) if !outcomes.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    if outcomes.is_empty() { Err(StressError::Interrupted) } else { Ok(outcomes) }
}

fn report(
    options: &Options,
    outcomes: Vec<Outcome>,
    mut symbolizer: Symbolizer,
    max_total: u64,
    interrupted: bool,
    begun: Instant,
) -> Report {
    let mut warnings = Vec::new();
    let mut doubts = Vec::new();
    let mut all = Vec::new();
    for outcome in outcomes {
        warnings.extend(outcome.warnings);
        doubts.extend(outcome.inconclusive);
        all.push(outcome.loaded);
    }
    if interrupted {
        doubts.insert(0, "the run was interrupted".to_owned());
    }
    warnings.extend(symbolizer.warnings());
    let doubt = (!doubts.is_empty()).then(|| doubts.join("; "));
    let Conclusion { verdict, sentence, findings } = findings::conclude(options, &all, doubt.as_deref());
    // Where something was found, that is the sentence; the doubt is still to be known.
    if !findings.is_empty() {
        warnings.extend(doubt);
    }
    let first = all.first().map_or(("", 0), |one| (one.name.as_str(), one.pid));
    let passed = verdict == Verdict::Held;
    Report {
        schema: SCHEMA,
        trial: "stress".to_owned(),
        command: options.command.clone(),
        target: subject::in_words(options, first.0, first.1),
        verdict,
        sentence,
        seconds: begun.elapsed().as_secs_f64(),
        load: plan::load(options, max_total),
        loaded: all,
        findings,
        warnings,
        exit_status: if interrupted { 130 } else { u8::from(!passed) },
    }
}

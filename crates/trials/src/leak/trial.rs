//! A whole leak trial: the target is found, rounds are made, blocks are followed, a verdict is drawn.

use std::io;
use std::path::{Path, PathBuf};

use memtrial_report::leak::{Comparison, Figures, Measure, Process, Report, Role, Verdict};
use memtrial_report::model::SCHEMA;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::attach;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::launch::{LaunchError, Program};
use memtrial_target::observe::ObserveError;
use memtrial_target::scratch::Scratch;

use super::comparison;
use super::entry::PATIENCE;
use super::findings::{self, Conclusion};
use super::journal::{Line, Past};
use super::locate;
use super::options::{Locate, Options, Subject};
use super::places::Places;
use super::program::Started;
use super::rounds::{Rounds, Stop};
use super::subject;
use super::watched::Watched;
use crate::redirect;
use crate::served::{Served, ServedError};

/// What a trial is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the daemon to be ready.
    Starting,
    /// Making rounds and looking at figures.
    Rounds,
    /// Making rounds and following blocks.
    Locating,
}

/// Who is told how a trial gets on.
pub trait Progress {
    /// A phase begins, with so many rounds at most.
    fn begin(&mut self, phase: Phase, rounds: u32);
    /// A round is over.
    fn round(&mut self, round: u32, watched: &[Watched]);
    /// Something is to be written down.
    ///
    /// # Errors
    /// When that can't be done.
    fn line(&mut self, line: &Line) -> io::Result<()>;
}

/// Why a trial came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LeakError {
    /// The target, or its machine, can't be seen.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// There is no such target.
    #[error("there is no process: {0}")]
    NoTarget(String),
    /// The daemon did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The daemon did not get ready.
    #[error("the daemon did not get ready: {why}")]
    NotReady {
        /// What was seen of it.
        why: String,
        /// The end of what it printed.
        printed: String,
    },
    /// The action failed in the very first round.
    #[error("the first round failed: {why}")]
    Action {
        /// How.
        why: String,
        /// The end of what it printed.
        printed: String,
    },
    /// The journal can't be written.
    #[error("cannot keep the samples: {0}")]
    Journal(io::Error),
    /// A file can't be made.
    #[error("{what}: {error}")]
    Io {
        /// The file.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// The user wanted to stop before there was anything to report.
    #[error("interrupted before the first round")]
    Interrupted,
}

impl From<ServedError> for LeakError {
    fn from(error: ServedError) -> LeakError {
        match error {
            ServedError::Launch(error) => LeakError::Launch(error),
            ServedError::NotReady { why, printed } => LeakError::NotReady { why, printed },
            ServedError::Observe(error) => LeakError::Observe(error),
            ServedError::Io { what, error } => LeakError::Io { what, error },
            ServedError::Interrupted => LeakError::Interrupted,
        }
    }
}

/// What a trial has at hand.
#[derive(Debug)]
pub struct Lab {
    /// Its scratch folder.
    pub scratch: Scratch,
    /// The agent's library in it.
    pub agent: PathBuf,
    /// What is to be started, if anything, and whether the agent can be loaded with it.
    pub program: Option<(Program, bool)>,
    /// Where what it prints is kept.
    pub output: PathBuf,
}

/// Takes out of processes what a trial that was killed has left in them. `scratch` is its scratch folder.
pub fn clean_up(scratch: &Path) {
    for (pid, library, base) in redirect::put_back(scratch) {
        let _ = attach::call(pid, &library, base, "memtrial_leave", "", PATIENCE);
    }
}

/// Makes the trial. `past` is what a run that is gone on with had come to; `against` a stored run and its folder.
///
/// # Errors
/// When it comes to nothing.
pub fn run(
    options: &Options,
    lab: &Lab,
    places: Places,
    interrupt: &Interrupt,
    past: Past,
    against: Option<(String, Report)>,
    progress: &mut dyn Progress,
) -> Result<Report, LeakError> {
    let mut rounds = Rounds::new(options, places, interrupt, progress, past);
    start(&mut rounds, lab)?;
    rounds.find()?;
    rounds.progress.begin(Phase::Rounds, options.rounds);
    let stop = rounds.make()?;
    let seconds = rounds.seconds();
    if stop == Stop::TimeUp {
        rounds.warn("--max-time had passed before there were enough rounds".to_owned());
    }
    if stop != Stop::Lost {
        rounds.look_at_maps();
    }
    rounds.leave_out_short_lived();
    let mut symbolizer = Symbolizer::new();
    let (located, not_located) = match whether_to_locate(options, stop, &rounds.watched) {
        Ok(()) => {
            rounds.progress.begin(Phase::Locating, options.locate_rounds);
            let found = locate::locate(&mut rounds, lab, &mut symbolizer)?;
            (found.located, found.why_not)
        }
        Err(why) => (Vec::new(), why),
    };
    drop(rounds.served.take());
    let interrupted = stop == Stop::Interrupted || interrupt.asked();
    let host = rounds.places.target.host().map(str::to_owned);
    if rounds.places.lost > 0 && stop != Stop::Lost {
        let (lost, host) = (rounds.places.lost, host.as_deref().unwrap_or_default());
        rounds.warn(format!("the connection to {host} was lost {lost} times, and made anew"));
    }
    let Rounds { watched, failed, made, mut warnings, .. } = rounds;
    let mut processes: Vec<Process> = watched.into_iter().map(Watched::conclude).collect();
    processes.sort_by_key(|process| process.role);
    let comparisons = compare(options, &processes, against, &mut warnings);
    warnings.extend(symbolizer.warnings());
    warn_of_shared_growth(&processes, &mut warnings);
    warn_of_counts(&processes, &mut warnings);
    let repro = again(options);
    let Conclusion { verdict, certainty, sentence, findings } =
        findings::conclude(options, &processes, &located, &comparisons, &repro);
    let passed = findings.is_empty()
        && (verdict == Verdict::Clean || (verdict == Verdict::Inconclusive && options.allow_inconclusive));
    let name =
        processes.iter().find(|process| process.role == Role::Target).map(|process| process.name.as_str());
    if failed.len() * 2 > made as usize {
        warnings.push(format!("the action failed in {} of {made} rounds", failed.len()));
    }
    Ok(Report {
        schema: SCHEMA,
        trial: "leak".to_owned(),
        command: options.command.clone(),
        target: subject::in_words(options, name),
        host,
        verdict,
        certainty,
        sentence,
        rounds: made,
        rounds_allowed: options.rounds,
        failed_rounds: failed,
        tolerated: options.tolerated(),
        seconds,
        processes,
        located,
        not_located,
        comparisons: comparisons.into_iter().map(|(comparison, _)| comparison).collect(),
        findings,
        warnings,
        exit_status: if interrupted { 130 } else { u8::from(!passed) },
    })
}

/// Starts what the trial is to start.
fn start(rounds: &mut Rounds<'_>, lab: &Lab) -> Result<(), LeakError> {
    let Some((program, takes_agent)) = &lab.program else { return Ok(()) };
    let options = rounds.options;
    if matches!(options.subject, Subject::Program(_)) {
        rounds.program = Some(Started::new(program.clone(), lab.output.clone()));
        return Ok(());
    }
    rounds.progress.begin(Phase::Starting, 0);
    let wants_agent = *takes_agent && options.locate != Locate::Never;
    let memory = wants_agent.then(|| locate::memory(lab, "served", options.sample)).transpose()?;
    let agent = memory.as_ref().map(|memory| (lab.agent.as_path(), memory));
    let served = Served::start(program, agent, &lab.output)?;
    let ready = options.ready.as_ref();
    served.wait_until_ready(ready, &mut *rounds.places.target, rounds.interrupt, options.timeout)?;
    rounds.retire_served();
    rounds.served = Some(served);
    rounds.served_memory = memory;
    Ok(())
}

/// Whether blocks are to be followed; else why not, if that needs saying.
fn whether_to_locate(options: &Options, stop: Stop, watched: &[Watched]) -> Result<(), Option<String>> {
    let clean = |one: &&Watched| one.role == Role::Target && one.verdict() != Some(Verdict::Clean);
    let wanted = match options.locate {
        Locate::Never => return Err(None),
        Locate::Always => true,
        // The figures of one run say nothing of what the next one loses.
        Locate::Auto => {
            matches!(options.subject, Subject::Program(_)) || watched.iter().any(|one| clean(&one))
        }
    };
    match stop {
        _ if !wanted => Err(None),
        Stop::Interrupted => Err(Some("the run was interrupted".to_owned())),
        Stop::Gone => Err(Some("the target was gone".to_owned())),
        Stop::Lost => Err(Some("the target's machine was lost".to_owned())),
        Stop::TimeUp if options.locate == Locate::Auto => Err(Some("--max-time had passed".to_owned())),
        _ if options.host.is_some() => Err(Some("the target is on another machine".to_owned())),
        _ => Ok(()),
    }
}

/// The growth of the target's processes beside that of the processes of the same names in a stored run; with each,
/// whether it is more than is tolerated.
fn compare(
    options: &Options,
    processes: &[Process],
    against: Option<(String, Report)>,
    warnings: &mut Vec<String>,
) -> Vec<(Comparison, bool)> {
    let Some((folder, stored)) = against else { return Vec::new() };
    let series = |process: &Process| -> Vec<u64> {
        let rounds = process.samples.iter().filter(|sample| sample.round > 0);
        rounds.map(|sample| sample.figures.held_privately()).collect()
    };
    let mut comparisons = Vec::new();
    for here in processes.iter().filter(|process| process.role == Role::Target) {
        let there =
            stored.processes.iter().filter(|other| other.role == Role::Target && other.name == here.name);
        let Some(there) = there.max_by_key(|other| other.samples.len()) else {
            warnings.push(format!("{folder} has no process named {}", here.name));
            continue;
        };
        let Some(difference) = comparison::compare(&series(here), &series(there)) else {
            warnings.push(format!("{}: too few rounds to compare with {folder}", here.name));
            continue;
        };
        let grew = difference.interval[0] > options.tolerated() as f64;
        let how = if grew { "grows more than" } else { "is not shown to grow more than" };
        let sentence = format!("{} {how} in {folder}", here.name);
        let comparison = Comparison {
            folder: folder.clone(),
            name: here.name.clone(),
            slopes: difference.slopes,
            interval: difference.interval,
            sentence,
        };
        comparisons.push((comparison, grew));
    }
    comparisons
}

/// Resident memory that grows while private memory does not is that of shared or file mappings.
fn warn_of_shared_growth(processes: &[Process], warnings: &mut Vec<String>) {
    for process in processes {
        let verdict =
            |measure| process.judgements.iter().find(|one| one.measure == measure).map(|one| one.verdict);
        if verdict(Measure::Resident) == Some(Verdict::Leak)
            && verdict(Measure::Private) != Some(Verdict::Leak)
        {
            warnings.push(format!(
                "the resident memory of {} (pid {}) grows, its private memory does not: shared or file mappings",
                process.name, process.pid
            ));
        }
    }
}

/// Descriptors, threads and mappings that are never given back are no memory, but a leak all the same.
fn warn_of_counts(processes: &[Process], warnings: &mut Vec<String>) {
    type Count = fn(&Figures) -> u64;
    let counts: [(&str, Count); 3] = [
        ("open descriptors", |figures| figures.descriptors),
        ("threads", |figures| figures.threads),
        ("mappings", |figures| figures.mappings),
    ];
    for process in processes {
        for (what, count) in counts {
            let series: Vec<u64> = process.samples.iter().map(|sample| count(&sample.figures)).collect();
            if let (true, [first, .., last]) = (counts_up(&series), &series[..]) {
                warnings.push(format!(
                    "the {what} of {} (pid {}) grow: {first} before, {last} after {} rounds",
                    process.name,
                    process.pid,
                    series.len() - 1
                ));
            }
        }
    }
}

/// Whether a count goes up all the time: each quarter of the series begins above the one before, by 8 in all at least.
fn counts_up(series: &[u64]) -> bool {
    const LEAST: u64 = 8;
    let quarters = [0, 1, 2, 3, 4].map(|part| (series.len().saturating_sub(1)) * part / 4);
    let marks = quarters.map(|at| series.get(at).copied().unwrap_or(0));
    marks.windows(2).all(|pair| pair[0] < pair[1]) && marks[4] - marks[0] >= LEAST
}

/// The command that makes the trial again.
fn again(options: &Options) -> String {
    shlex::try_join(options.command.iter().map(String::as_str)).unwrap_or_else(|_| options.command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_goes_up_only_if_it_does_so_all_the_time() {
        let up: Vec<u64> = (0..100).collect();
        let stepped: Vec<u64> = (0..100).map(|round| if round < 50 { 5 } else { 50 }).collect();
        let slow: Vec<u64> = (0..100).map(|round| round / 20).collect();
        assert_eq!([&up, &stepped, &slow].map(|series| counts_up(series)), [true, false, false]);
        assert!(!counts_up(&[]) && !counts_up(&[1]));
    }
}

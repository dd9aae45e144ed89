//! `memtrial oom`: from the command line to the trial, and from its report to the terminal.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anstream::{eprintln, print, println};
use memtrial_report::model::Outcome;
use memtrial_report::store::{self, Store, StoreError};
use memtrial_report::trial::TrialReport;
use memtrial_report::{json, terminal};
use memtrial_target::foreground;
use memtrial_target::keeper::Started;
use memtrial_target::launch::Program;
use memtrial_target::scratch::Scratch;
use memtrial_trials::oom::lab::Lab;
use memtrial_trials::oom::options::{Options, Selection};
use memtrial_trials::oom::trial::{self, Conclusion};
use memtrial_trials::oom::under::{self, Debugger};

use crate::agent::AGENT;
use crate::arguments::Oom;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::progress::Reporter;
use crate::session::{self, barred};
use crate::{environment, renderings};

/// Runs the trial.
pub fn run(arguments: Oom) -> Result<ExitStatus, Failure> {
    let session = Session::begin(arguments)?;
    // From here on nothing outlives us: see `keeper`.
    session::kept(Started::Ended, |_| (), |path| in_scratch(session, path))
}

/// What is known before anything runs.
struct Session {
    arguments: Oom,
    options: Options,
    program: Program,
    /// The ELF file that runs.
    executable: PathBuf,
    folder: PathBuf,
    /// Outcomes of the run that is gone on with.
    known: Vec<Outcome>,
}

impl Session {
    fn begin(arguments: Oom) -> Result<Session, Failure> {
        renderings::check(&arguments.delivery.renderings)?;
        let folder = session::output_folder(arguments.delivery.output.as_ref())?;
        let (options, known) = if arguments.resume {
            let newest = store::newest(&folder);
            let (known, unreadable) = store::read_outcomes(&newest)?;
            if unreadable > 0 {
                eprintln!("warning: {unreadable} outcomes could not be read, and are made again");
            }
            let mut options: Options = store::read_run(&newest)?;
            options.max_time = arguments.max_time;
            options.jobs = arguments.jobs.map_or(options.jobs, usize::from);
            (options, known)
        } else {
            store::check_writable(&folder)?;
            (options(&arguments)?, Vec::new())
        };
        let (program, executable) = program(&options)?;
        Ok(Session { arguments, options, program, executable, folder, known })
    }

    /// Where outcomes are kept from now on, with what `--resume` needs to go on with them.
    fn open_store(&self, stdin: &[u8]) -> Result<Option<Store>, StoreError> {
        if !self.keeps_results() {
            return Ok(None);
        }
        if self.arguments.resume {
            return Store::resume(&self.folder, store::OUTCOMES).map(Some);
        }
        let store = Store::create(&self.folder, store::OUTCOMES)?;
        store.keep_run(&self.options)?;
        if !stdin.is_empty() {
            store.keep_stdin(stdin)?;
        }
        Ok(Some(store))
    }

    /// Whether the results are kept: one failure made again leaves those of the run it is from alone.
    fn keeps_results(&self) -> bool {
        !self.arguments.list && (self.arguments.at.is_none() || self.arguments.delivery.output.is_some())
    }
}

fn options(arguments: &Oom) -> Result<Options, Failure> {
    let usage = |message: String| Failure::new(ExitStatus::Usage, message).help("see `memtrial oom --help`");
    let fault =
        arguments.fault.parse().map_err(|error| usage(format!("--fault {}: {error}", arguments.fault)))?;
    let selection = match (&arguments.at, arguments.allocs, arguments.per_site, arguments.every) {
        (Some((site, nth)), ..) => Selection::At(site.clone(), *nth),
        (_, Some((from, to)), ..) => Selection::Ordinals(from, to),
        (_, _, Some(most), _) => Selection::PerSite(most),
        (.., true) => Selection::Every,
        _ => Selection::PerSite(1),
    };
    let folder = session::current_folder()?;
    let jobs = match arguments.jobs {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, usize::from).min(64),
    };
    Ok(Options {
        command: arguments.command.clone(),
        environment: environment::text(),
        folder,
        mode: arguments.mode(),
        fault,
        selection,
        only: arguments.only.clone(),
        skip: arguments.skip.clone(),
        sample: arguments.sample,
        max_time: arguments.max_time,
        timeout: arguments.timeout,
        policy: arguments.policy(),
        expect_exit: arguments.expect_exit.clone(),
        expect_stderr: arguments.expect_stderr.clone(),
        check: arguments.check.clone(),
        follow: arguments.follow.clone(),
        jobs,
    })
}

/// The program as it is started, and the ELF file that runs then.
fn program(options: &Options) -> Result<(Program, PathBuf), Failure> {
    if options.command.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, "no command").help("memtrial oom -- PROGRAM ARGUMENTS…"));
    }
    let fit = session::examine(&options.command, &options.environment)?;
    let program = session::program(fit.program, &options.command, &options.environment, &options.folder);
    Ok((program, fit.executable))
}

fn in_scratch(session: Session, path: &Path) -> Result<ExitStatus, Failure> {
    let scratch =
        Scratch::create(path).map_err(|error| barred(&format!("cannot make {}", path.display()), &error))?;
    let stdin = input(&session).map_err(|error| barred("cannot read stdin", &error))?;
    let program = session.program.clone();
    let follow = if session.arguments.under().is_some() && session.options.follow.is_empty() {
        // A debugger may start the target again and again; each time it is the one on trial.
        vec![glob_of(&session.executable)]
    } else {
        session.options.follow.clone()
    };
    let mut lab = Lab::new(scratch, AGENT, &mut stdin.as_slice(), program, &follow)
        .map_err(|error| barred("cannot fill the scratch folder", &error))?;
    if session.arguments.list {
        list(&session, &mut lab)
    } else if let Some(debugger) = session.arguments.under() {
        debug(&session, &mut lab, debugger)
    } else {
        try_all(&session, &mut lab, &stdin)
    }
}

/// A glob that means the program in this file: what is special in globs stands for any character.
fn glob_of(executable: &Path) -> String {
    let path = executable.canonicalize().unwrap_or_else(|_| executable.to_owned());
    path.to_string_lossy().replace('*', "?")
}

/// All of stdin, so that every run reads the same; nothing if it is a terminal.
fn input(session: &Session) -> io::Result<Vec<u8>> {
    if session.arguments.resume {
        return Ok(store::read_stdin(&store::newest(&session.folder)));
    }
    let mut bytes = Vec::new();
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        stdin.lock().read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn list(session: &Session, lab: &mut Lab) -> Result<ExitStatus, Failure> {
    let (report, sites) = trial::list(&session.options, lab)?;
    if session.arguments.delivery.json {
        println!("{}", printed(json::census(&report, &sites))?);
    } else {
        print!("{}", terminal::oom::census(&report, &sites));
    }
    Ok(ExitStatus::Passed)
}

fn printed<E: std::fmt::Display>(text: Result<String, E>) -> Result<String, Failure> {
    text.map_err(|error| Failure::new(ExitStatus::Bug, format!("cannot print the report: {error}")))
}

fn debug(session: &Session, lab: &mut Lab, debugger: Debugger) -> Result<ExitStatus, Failure> {
    let mut prepared = under::prepare(&session.options, lab, debugger)?;
    let name = prepared.command.get_program().to_string_lossy().into_owned();
    let status = foreground::run(&mut prepared.command).map_err(|error| {
        Failure::new(ExitStatus::Barred, format!("cannot run {name}: {error}"))
            .help(format!("install {name}"))
    })?;
    let Some(status) = status else { return Ok(ExitStatus::Interrupted) };
    eprintln!("memtrial: {name} ended with {status}");
    Ok(ExitStatus::Passed)
}

fn try_all(session: &Session, lab: &mut Lab, stdin: &[u8]) -> Result<ExitStatus, Failure> {
    let kept_stdin = if session.keeps_results() && !stdin.is_empty() {
        Some(store::stdin_in(&session.folder).to_string_lossy().into_owned())
    } else {
        None
    };
    // There before the first run, so that all runs see the same folder.
    let mut store = session.open_store(stdin)?;
    if store.is_some() {
        lab.hide(&store::part_of(&session.folder));
    }
    let mut reporter = Reporter::new(store.as_mut(), session.options.policy, session.arguments.quiet);
    let result = trial::run(&session.options, lab, &session.known, kept_stdin.as_deref(), &mut reporter);
    reporter.finish();
    let Conclusion { mut report, outputs } = match result {
        Ok(trial) => trial,
        Err(error) => {
            if let Some(store) = store {
                store.discard();
            }
            return Err(error.into());
        }
    };
    let folder = store.is_some().then_some(session.folder.as_path());
    if let Some(store) = store {
        store.finish_oom(&mut report, &outputs)?;
    }
    let report = TrialReport::from(report);
    let arguments = &session.arguments;
    renderings::deliver(&arguments.delivery.renderings, arguments.delivery.json, folder, &report)
}

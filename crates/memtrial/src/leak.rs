//! `memtrial leak`: from the command line to the trial, and from its report to the terminal.

use std::path::{Path, PathBuf};

use anstream::eprintln;
use memtrial_report::leak::Report;
use memtrial_report::store::{self, Store};
use memtrial_report::trial::TrialReport;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::keeper::Started;
use memtrial_target::launch::Program;
use memtrial_target::observe::{Here, Place, There};
use memtrial_target::preflight::Unfit;
use memtrial_trials::leak::journal::{Line, Past};
use memtrial_trials::leak::options::{Options, Subject};
use memtrial_trials::leak::places::Places;
use memtrial_trials::leak::trial::{self, Lab};

use crate::arguments::leak::Leak;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::rounds::Reporter;
use crate::{environment, renderings, session};

/// Name of the journal.
const JOURNAL: &str = store::SAMPLES;
/// Rounds allowed, unless the user says how many.
const ROUNDS: u32 = 480;
/// What a daemon or program that is started prints.
const OUTPUT: &str = "output";

/// Runs the trial.
pub fn run(arguments: Leak) -> Result<ExitStatus, Failure> {
    let session = Session::begin(arguments)?;
    // What is started for the trial, and all below it, is ended with it. Where the target was there before, its
    // actions may restart it: what they leave behind belongs to the user.
    let own = matches!(session.options.subject, Subject::Serve(_) | Subject::Program(_));
    let started = if own { Started::Ended } else { Started::LeftAlone };
    session::kept(started, trial::clean_up, |path| in_scratch(&session, path))
}

/// What is known before anything runs.
struct Session {
    arguments: Leak,
    options: Options,
    folder: PathBuf,
    /// What is to be started, and whether the agent can be loaded with it.
    program: Option<(Program, bool)>,
    past: Past,
    against: Option<(String, Report)>,
}

impl Session {
    fn begin(arguments: Leak) -> Result<Session, Failure> {
        let folder = session::output_folder(arguments.delivery.output.as_ref())?;
        renderings::check(&arguments.delivery.renderings)?;
        let (options, past) = if arguments.resume {
            let newest = store::newest(&folder);
            let mut options: Options = store::read_run(&newest)?;
            let (lines, unreadable) = store::read_journal::<Line>(&newest, JOURNAL)?;
            if unreadable > 0 {
                eprintln!("warning: {unreadable} lines of the journal could not be read");
            }
            options.max_time = arguments.max_time;
            options.rounds = arguments.rounds.unwrap_or(options.rounds);
            (options, Past::of(lines))
        } else {
            store::check_writable(&folder)?;
            (options(&arguments)?, Past::default())
        };
        let against = match &options.against {
            Some(folder) => Some((folder.display().to_string(), stored(folder)?)),
            None => None,
        };
        let program = program(&options)?;
        Ok(Session { arguments, options, folder, program, past, against })
    }

    fn open_store(&self) -> Result<Store, Failure> {
        if self.arguments.resume {
            return Ok(Store::resume(&self.folder, JOURNAL)?);
        }
        let store = Store::create(&self.folder, JOURNAL)?;
        store.keep_run(&self.options)?;
        Ok(store)
    }
}

/// The report of a stored leak run.
fn stored(folder: &Path) -> Result<Report, Failure> {
    let unusable = |why: String| {
        Failure::new(ExitStatus::Usage, format!("cannot compare with {}: {why}", folder.display()))
            .help("name the folder of a finished run of `memtrial leak`, by --against DIR")
    };
    match store::read_report(folder) {
        Ok(TrialReport::Leak(report)) => Ok(*report),
        Ok(_) => Err(unusable("it is a run of another trial".to_owned())),
        Err(error) => Err(unusable(error.to_string())),
    }
}

fn options(arguments: &Leak) -> Result<Options, Failure> {
    let usage = |message: String| {
        Failure::new(ExitStatus::Usage, message)
            .help("memtrial leak --pid PID, --name NAME, --serve CMD, or -- PROGRAM ARGUMENTS…")
    };
    let subject = if let Some(pid) = arguments.pid {
        Subject::Pid(pid)
    } else if let Some(name) = &arguments.name {
        Subject::Name(name.clone())
    } else if let Some(command) = &arguments.serve {
        Subject::Serve(words_of(command).ok_or_else(|| usage(format!("--serve {command}: not a command")))?)
    } else if arguments.program.is_empty() {
        return Err(usage("no target".to_owned()));
    } else {
        Subject::Program(arguments.program.clone())
    };
    if arguments.ready.is_some() && arguments.serve.is_none() {
        return Err(usage("--ready is about a daemon that memtrial starts, by --serve".to_owned()));
    }
    let folder = session::current_folder()?;
    let against = arguments.against.as_ref().map(std::path::absolute).transpose();
    Ok(Options {
        command: session::command_line(),
        subject,
        ready: arguments.ready.clone(),
        rounds: arguments.rounds.unwrap_or(ROUNDS),
        action: arguments.action.clone(),
        undo: arguments.undo.clone(),
        interval: arguments.interval,
        settle: arguments.settle,
        timeout: arguments.timeout,
        on_failure: arguments.on_failure(),
        also: arguments.also.clone(),
        tolerate: arguments.tolerate,
        allow_inconclusive: arguments.allow_inconclusive,
        locate: arguments.locate(),
        locate_rounds: arguments.locate_rounds,
        sample: arguments.sample.unwrap_or(0),
        host: arguments.ssh.clone(),
        actions_here: arguments.here,
        max_time: arguments.max_time,
        against: against.map_err(|error| usage(format!("--against: {error}")))?,
        environment: environment::text(),
        folder,
    })
}

/// The words of a command that is one program with its arguments; one that is more is left to the shell.
fn words_of(command: &str) -> Option<Vec<String>> {
    const SHELL: &[char] = &['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', '~', '#', '{', '\n'];
    let words = shlex::split(command).filter(|words| !words.is_empty())?;
    let assigns = words[0].contains('=');
    if command.contains(SHELL) || assigns {
        return Some(["/bin/sh", "-c", command].map(str::to_owned).to_vec());
    }
    Some(words)
}

/// What is to be started, and whether the agent can be loaded with it.
fn program(options: &Options) -> Result<Option<(Program, bool)>, Failure> {
    let (Subject::Serve(command) | Subject::Program(command)) = &options.subject else { return Ok(None) };
    let (path, takes_agent) = match session::examine(command, &options.environment) {
        Ok(fit) => (fit.program, true),
        Err(Unfit::Closed { program, .. }) => (program, false),
        Err(unfit) => return Err(unfit.into()),
    };
    Ok(Some((session::program(path, command, &options.environment, &options.folder), takes_agent)))
}

fn in_scratch(session: &Session, path: &Path) -> Result<ExitStatus, Failure> {
    let (scratch, agent, interrupt) = session::workshop(path)?;
    let places = places(&session.options, &interrupt)?;
    let mut store = session.open_store()?;
    let output = store::part_of(&session.folder).join(OUTPUT);
    let lab = Lab { scratch, agent, program: session.program.clone(), output };
    let (result, made) = {
        let mut reporter = Reporter::new(&mut store, session.arguments.quiet);
        let (past, against) = (session.past.clone(), session.against.clone());
        let result = trial::run(&session.options, &lab, places, &interrupt, past, against, &mut reporter);
        (result, reporter.finish())
    };
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            let mut failure = Failure::from(error);
            if let Some(host) = &session.options.host {
                failure = failure.on(host);
            }
            let kept = made > 0 || session.arguments.resume;
            if !kept {
                store.abandon();
            }
            return Err(if kept {
                failure.also_help("what was measured is kept; --resume goes on")
            } else {
                failure
            });
        }
    };
    store.finish_leak(&report)?;
    let report = TrialReport::from(report);
    let arguments = &session.arguments;
    renderings::deliver(
        &arguments.delivery.renderings,
        arguments.delivery.json,
        Some(&session.folder),
        &report,
    )
}

/// Where the target is, and where the actions run.
fn places(options: &Options, interrupt: &Interrupt) -> Result<Places, Failure> {
    let here = || -> Box<dyn Place> { Box::new(Here::new(interrupt.clone())) };
    let places = |target, actions| Places { target, actions, patience: options.timeout, lost: 0 };
    let Some(host) = &options.host else { return Ok(places(here(), None)) };
    // What runs there is a copy of this program, where that may be; else a shell reads /proc.
    let myself = std::env::current_exe().ok();
    let there = There::connect(host, myself.as_deref(), interrupt)?;
    Ok(places(Box::new(there), options.actions_here.then(here)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_more_than_a_program_is_left_to_the_shell() {
        let words = |command: &str| words_of(command).unwrap_or_default();
        assert_eq!(words("server --name 'a b'"), ["server", "--name", "a b"]);
        assert_eq!(words("cd x && exec server"), ["/bin/sh", "-c", "cd x && exec server"]);
        assert_eq!(words("A=1 server"), ["/bin/sh", "-c", "A=1 server"]);
        assert_eq!(words_of("server 'open").map(|words| words.len()), None);
        assert!(words_of("  ").is_none());
    }
}

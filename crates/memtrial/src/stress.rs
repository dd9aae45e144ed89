//! `memtrial stress`: from the command line to the trial, and from its report to the terminal.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use memtrial_report::store::{self, Store};
use memtrial_report::trial::TrialReport;
use memtrial_target::keeper::Started;
use memtrial_target::launch::Program;
use memtrial_trials::stress::options::{Options, Sizes, Subject};
use memtrial_trials::stress::trial::{self, Lab};

use crate::arguments::quantities::Rate;
use crate::arguments::stress::Stress;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::load::Reporter;
use crate::{environment, renderings, session, sizes};

/// What a program that is started prints.
const OUTPUT: &str = "output";
/// Smallest and largest chunk, unless the user or a table of sizes says otherwise.
const RANGE: (u64, u64) = (16, 4096);
/// Allocations a second in a target, unless the user says how many.
const RATE: f64 = 1000.0;
/// The allocator that is loaded when nothing is named.
const ALLOCATOR: &str = "glibc";

/// Runs the trial.
pub fn run(arguments: Stress) -> Result<ExitStatus, Failure> {
    let session = Session::begin(arguments)?;
    // What is started for the trial is ended with it; what was there before goes on.
    let started = if session.program.is_some() { Started::Ended } else { Started::LeftAlone };
    session::kept(started, trial::clean_up, |path| in_scratch(&session, path))
}

/// What is known before anything runs.
struct Session {
    arguments: Stress,
    options: Options,
    folder: PathBuf,
    program: Option<Program>,
}

impl Session {
    fn begin(arguments: Stress) -> Result<Session, Failure> {
        let folder = session::output_folder(arguments.delivery.output.as_ref())?;
        renderings::check(&arguments.delivery.renderings)?;
        store::check_writable(&folder)?;
        let options = options(&arguments)?;
        let program = program(&options)?;
        Ok(Session { arguments, options, folder, program })
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ExitStatus::Usage, message)
}

fn options(arguments: &Stress) -> Result<Options, Failure> {
    let subject = subject(arguments);
    let sizes = sizes(&arguments.sizes)?;
    let table = match &sizes {
        Sizes::Table(_, table) => table.as_slice(),
        Sizes::Uniform | Sizes::Log => &[],
    };
    let smallest = table.iter().map(|(size, _)| *size).min().unwrap_or(RANGE.0);
    let largest = table.iter().map(|(size, _)| *size).max().unwrap_or(RANGE.1);
    let rate = match (arguments.rate, &subject) {
        (Some(Rate::PerSecond(rate)), _) => Some(rate),
        (Some(Rate::Max), _) | (None, Subject::Allocators(_)) => None,
        (None, _) => Some(RATE),
    };
    let options = Options {
        command: session::command_line(),
        subject,
        ready: arguments.ready.clone(),
        min: arguments.min.unwrap_or(smallest),
        max: arguments.max.unwrap_or(largest),
        total: arguments.total,
        rate,
        threads: arguments.threads,
        time: arguments.time,
        check_content: arguments.check_content,
        realloc_percent: arguments.realloc,
        sizes,
        seed: arguments.seed.unwrap_or_else(any_seed),
        probe: arguments.probe.clone(),
        timeout: arguments.timeout,
        limit: arguments.limit,
        max_total: arguments.max_total,
        environment: environment::text(),
        folder: session::current_folder()?,
    };
    check(&options)?;
    Ok(options)
}

fn subject(arguments: &Stress) -> Subject {
    if let Some(pid) = arguments.pid {
        Subject::Pid(pid)
    } else if let Some(name) = &arguments.name {
        Subject::Name(name.clone())
    } else if !arguments.program.is_empty() {
        Subject::Program(arguments.program.clone())
    } else if arguments.allocator.is_empty() {
        Subject::Allocators(vec![ALLOCATOR.to_owned()])
    } else {
        Subject::Allocators(arguments.allocator.clone())
    }
}

fn sizes(name: &Path) -> Result<Sizes, Failure> {
    match name.to_str() {
        Some("uniform") => return Ok(Sizes::Uniform),
        Some("log") => return Ok(Sizes::Log),
        _ => {}
    }
    let unusable = |why: String| {
        usage(format!("--sizes {}: {why}", name.display()))
            .help("give uniform, log, or a file with a line SIZE WEIGHT for each size, as in `4k 10`")
    };
    let text = std::fs::read_to_string(name).map_err(|error| unusable(error.to_string()))?;
    let table = sizes::parse(&text).map_err(|error| unusable(error.to_string()))?;
    let path = std::path::absolute(name).map_err(|error| unusable(error.to_string()))?;
    Ok(Sizes::Table(path, table))
}

/// Another one each time. It is short, to be typed again.
fn any_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 32
}

/// Whether the load can be made as it is asked for.
fn check(options: &Options) -> Result<(), Failure> {
    let Options { min, max, total, threads, .. } = options;
    if min > max {
        return Err(usage(format!(
            "the smallest chunk (--min, {min} bytes) is larger than the largest (--max, {max})"
        )));
    }
    let share = total / u64::from(*threads);
    if *max > share {
        let by = if *threads > 1 { format!(" by --threads {threads} ({share})") } else { String::new() };
        return Err(usage(format!(
            "the largest chunk (--max, {max} bytes) does not fit into --total {total}{by}"
        ))
        .help("raise --total, or lower --max"));
    }
    if let Sizes::Table(path, table) = &options.sizes
        && !table.iter().any(|(size, _)| (min..=max).contains(&size))
    {
        return Err(usage(format!("no size of {} is from --min {min} to --max {max}", path.display())));
    }
    let seconds = options.time.as_secs_f64();
    if options.rate.is_some_and(|rate| rate * seconds < f64::from(*threads)) {
        return Err(usage(format!("at this rate not every thread would allocate once in {seconds} s"))
            .help("raise --rate or --for, or lower --threads"));
    }
    Ok(())
}

/// What is to be started: the program, or this one, to hold an allocator.
fn program(options: &Options) -> Result<Option<Program>, Failure> {
    let (path, command) = match &options.subject {
        Subject::Pid(_) | Subject::Name(_) => return Ok(None),
        Subject::Program(command) => {
            (session::examine(command, &options.environment)?.program, command.clone())
        }
        Subject::Allocators(_) => {
            let myself = std::env::current_exe()
                .map_err(|error| session::barred("cannot find memtrial's own executable", &error))?;
            (myself, ["memtrial", "hold"].map(str::to_owned).to_vec())
        }
    };
    Ok(Some(session::program(path, &command, &options.environment, &options.folder)))
}

fn in_scratch(session: &Session, path: &Path) -> Result<ExitStatus, Failure> {
    let (scratch, agent, interrupt) = session::workshop(path)?;
    let mut store = Store::create(&session.folder, store::SAMPLES)?;
    store.keep_run(&session.options)?;
    let output = store::part_of(&session.folder).join(OUTPUT);
    let lab = Lab { scratch, agent, program: session.program.clone(), output };
    let result = {
        let mut reporter = Reporter::new(&mut store, session.options.time, session.arguments.quiet);
        let result = trial::run(&session.options, &lab, &interrupt, &mut reporter);
        reporter.finish();
        result
    };
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            store.abandon();
            return Err(error.into());
        }
    };
    store.finish_stress(&report)?;
    let report = TrialReport::from(report);
    let arguments = &session.arguments;
    renderings::deliver(
        &arguments.delivery.renderings,
        arguments.delivery.json,
        Some(&session.folder),
        &report,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;
    use std::time::Duration;

    /// The options of a command line behind `memtrial stress`.
    fn options_of(line: &str) -> Result<Options, Failure> {
        let words = ["memtrial", "stress"].into_iter().chain(line.split_whitespace());
        match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
            Ok(Command::Stress(stress)) => options(&stress),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_target_gets_a_rate_and_an_allocator_all_it_can_take() {
        let options = options_of("--pid 7").unwrap();
        assert_eq!((options.subject, options.rate), (Subject::Pid(7), Some(1000.0)));
        assert_eq!((options.min, options.max, options.total), (16, 4096, 64 << 20));
        assert_eq!((options.threads, options.time), (1, Duration::from_secs(10)));
        let options = options_of("").unwrap();
        assert_eq!((options.subject, options.rate), (Subject::Allocators(vec!["glibc".to_owned()]), None));
        let options = options_of("--allocator jemalloc,./a.so --allocator glibc --rate 60/m").unwrap();
        let named = ["jemalloc", "./a.so", "glibc"].map(str::to_owned).to_vec();
        assert_eq!((options.subject, options.rate), (Subject::Allocators(named), Some(1.0)));
        assert_eq!(options_of("--name x --rate max").unwrap().rate, None);
    }

    #[test]
    fn a_load_that_cant_be_made_is_refused() {
        for line in [
            "--min 8k",
            "--max 65m",
            "--threads 4 --max 17m",
            "--pid 1 --rate 1/m --for 10s",
            "--pid 1 --rate 1/s --threads 11",
            "--sizes /nowhere/at/all",
        ] {
            assert!(options_of(line).is_err(), "{line}");
        }
        assert!(options_of("--threads 4 --max 16m").is_ok());
    }

    #[test]
    fn a_table_of_sizes_sets_smallest_and_largest_chunk() {
        let file = std::env::temp_dir().join(format!("memtrial-sizes-{}", std::process::id()));
        std::fs::write(&file, "64 9\n64k\n").unwrap();
        let name = file.display();
        let range = |line: &str| options_of(line).map(|options| (options.min, options.max)).ok();
        assert_eq!(range(&format!("--sizes {name}")), Some((64, 65536)));
        assert_eq!(range(&format!("--sizes {name} --max 100")), Some((64, 100)));
        assert_eq!(range(&format!("--sizes {name} --min 65 --max 100")), None, "there is none in between");
        std::fs::remove_file(&file).unwrap();
    }
}

//! The command line, parsed; what it means is decided elsewhere.

use std::path::PathBuf;
use std::time::Duration;

pub mod leak;
mod patterns;
pub mod quantities;
pub mod rpc;
pub mod stress;
pub mod trace;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use memtrial_report::model::Policy;
use memtrial_trials::oom::options::{Mode, Sample};
use memtrial_trials::oom::under::Debugger;

use self::quantities::duration;
use crate::exit;

/// Puts a native Linux program on trial for memory, as built, without recompiling it.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::table(), arg_required_else_help = true)]
pub struct Arguments {
    /// The trial.
    #[command(subcommand)]
    pub command: Command,
    /// When to colour what is printed
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

impl Arguments {
    /// Those of this process. Ends it where they are wrong.
    pub fn of_this_process() -> Arguments {
        Arguments::parse_from(patterns::marked(std::env::args_os(), Arguments::command()))
    }

    /// The choice, as the library for it takes it.
    pub fn color(&self) -> anstream::ColorChoice {
        match self.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
    }
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The trials.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fail allocations of a program, one injection each, and judge what it does
    Oom(Box<Oom>),
    /// Repeat an action and see whether memory grows, and at which call stacks
    Leak(Box<leak::Leak>),
    /// Put load on the heap of a process, or of an allocator by itself, and see whether it holds
    Stress(Box<stress::Stress>),
    /// Give commands to the load in a process, one at a time
    Rpc(rpc::Rpc),
    /// Tell what a program and its allocator do, live
    Trace(Box<trace::Trace>),
    /// Tell what this machine allows, and how to allow the rest
    Doctor(Doctor),
    /// Be a process that does nothing, for `memtrial stress` without a target
    #[command(hide = true)]
    Hold,
    /// Answer to `memtrial leak --ssh` on another machine
    #[command(hide = true)]
    ObserveServer(ObserveServer),
    /// Print a stored run again
    Show(Show),
}

/// `memtrial doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `memtrial oom`
#[derive(Debug, Args)]
#[command(after_help = exit::table())]
pub struct Oom {
    /// Census only: sites with their counts, bytes and stacks
    #[arg(long, help_heading = "What is failed", conflicts_with = "renderings")]
    pub list: bool,
    /// Fail every allocation, not only the first of each site
    #[arg(long, help_heading = "What is failed", group = "selection")]
    pub every: bool,
    /// Fail the first N allocations of each site
    #[arg(long, help_heading = "What is failed", group = "selection", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub per_site: Option<u64>,
    /// Fail the allocations with these numbers in the reference run, from 1
    #[arg(long, help_heading = "What is failed", group = "selection", value_name = "A-B", value_parser = range)]
    pub allocs: Option<(u64, u64)>,
    /// Fail this one: the NTH allocation at SITE. Prints, and keeps nothing unless --output is given
    #[arg(long, help_heading = "What is failed", group = "selection", value_name = "SITE:NTH", value_parser = site_and_number)]
    pub at: Option<(String, u64)>,
    /// Only sites whose stack has a module, file or function like this
    #[arg(long, help_heading = "What is failed", value_name = "GLOB")]
    pub only: Vec<String>,
    /// No sites whose stack has a module, file or function like this
    #[arg(long, help_heading = "What is failed", value_name = "GLOB")]
    pub skip: Vec<String>,
    /// A random N of what is selected; the same seed chooses the same
    #[arg(long, help_heading = "What is failed", value_name = "N,seed=S", value_parser = sample)]
    pub sample: Option<Sample>,
    /// Begin no more injections after this time: seconds, or with s, m or h
    #[arg(long, help_heading = "What is failed", value_name = "TIME", value_parser = duration)]
    pub max_time: Option<Duration>,
    /// Which programs of the process tree are on trial [default: the first]
    #[arg(long, help_heading = "What is failed", value_name = "GLOB")]
    pub follow: Vec<String>,

    /// once, sticky, burst=N, size=BYTES+, limit=BYTES, or p=PROBABILITY,seed=N
    #[arg(long, help_heading = "How", value_name = "FAULT", default_value = "once")]
    pub fault: String,
    /// Snapshots as far as they are honest and reruns for the rest, or only one of them
    #[arg(long, help_heading = "How", value_enum, default_value_t = ModeName::Auto)]
    mode: ModeName,
    /// Injections that run at once [default: the number of CPUs]
    #[arg(long, help_heading = "How", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Time limit of an injection, in seconds [default: ten reference runs, at least 5]
    #[arg(long, help_heading = "How", value_name = "SECS", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// With --at: run the one failure under this debugger
    #[arg(
        long,
        help_heading = "How",
        value_enum,
        value_name = "DEBUGGER",
        requires = "at",
        conflicts_with_all = ["json", "renderings"]
    )]
    under: Option<DebuggerName>,

    /// Which verdicts pass
    #[arg(long, help_heading = "What passes", value_enum, default_value_t = PolicyName::Graceful)]
    policy: PolicyName,
    /// Exit statuses that are as they should be; any other is misreported
    #[arg(long, help_heading = "What passes", value_name = "LIST", value_delimiter = ',')]
    pub expect_exit: Vec<i32>,
    /// What stderr must match when an injection ends with a failure status
    #[arg(long, help_heading = "What passes", value_name = "REGEX")]
    pub expect_stderr: Option<String>,
    /// Shell command run after each injection in the same folders; when it fails, the injection did damage
    #[arg(long, help_heading = "What passes", value_name = "CMD")]
    pub check: Option<String>,

    #[command(flatten)]
    pub delivery: Delivery,
    /// Go on with an interrupted run: its command, environment and options are kept in the results
    #[arg(long, help_heading = "Results", conflicts_with_all = ["selection", "list", "command", "only", "skip", "sample", "follow", "fault", "mode", "timeout", "policy", "expect_exit", "expect_stderr", "check"])]
    pub resume: bool,
    /// No progress bar
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,

    /// The target and its arguments, behind `--`
    #[arg(last = true, required_unless_present = "resume", value_name = "CMD")]
    pub command: Vec<String>,
}

impl Oom {
    /// The mode.
    pub fn mode(&self) -> Mode {
        match self.mode {
            ModeName::Auto => Mode::Auto,
            ModeName::Snapshot => Mode::Snapshot,
            ModeName::Rerun => Mode::Rerun,
        }
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        match self.policy {
            PolicyName::Graceful => Policy::Graceful,
            PolicyName::Abort => Policy::Abort,
            PolicyName::Strict => Policy::Strict,
        }
    }

    /// The debugger, if one is asked for.
    pub fn under(&self) -> Option<Debugger> {
        self.under.map(|name| match name {
            DebuggerName::Gdb => Debugger::Gdb,
            DebuggerName::Valgrind => Debugger::Valgrind,
        })
    }
}

/// Names of modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    Auto,
    Snapshot,
    Rerun,
}

/// Names of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PolicyName {
    /// For programs that mean to report errors
    Graceful,
    /// For programs that stop at the first failed allocation and are restarted: `aborted` passes too
    Abort,
    /// Every failed allocation must surface as an error: `tolerated` fails too
    Strict,
}

/// Names of debuggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DebuggerName {
    Gdb,
    Valgrind,
}

/// How the results of a trial are delivered.
#[derive(Debug, Args)]
pub struct Delivery {
    /// Folder for the results; one that is there becomes DIR.old [default: memtrial.out]
    #[arg(long, short, help_heading = "Results", value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    #[command(flatten)]
    pub renderings: Renderings,
}

/// Files to write the findings to, beside the folder with the results.
#[derive(Debug, Args)]
#[group(id = "renderings", multiple = true)]
pub struct Renderings {
    /// Write the findings as JUnit XML, for build servers
    #[arg(long, help_heading = "Results", value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the findings as SARIF, for code review
    #[arg(long, help_heading = "Results", value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Write the report as a page that needs nothing else
    #[arg(long, help_heading = "Results", value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `memtrial observe-server`
#[derive(Debug, Args)]
pub struct ObserveServer {
    /// The folder that this copy of memtrial lies in, to be removed at the end
    pub folder: PathBuf,
}

/// `memtrial show`
#[derive(Debug, Args)]
pub struct Show {
    /// The folder with the results
    #[arg(default_value = memtrial_report::store::DEFAULT_FOLDER, value_name = "DIR")]
    pub folder: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Renderings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For build servers: test cases
    Junit,
    /// For code review: places in source files
    Sarif,
    /// A page that needs nothing else
    Html,
    /// For spreadsheets: samples of a leak or stress run, outcomes of an oom run
    Csv,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || "expected A-B with 1 <= A <= B, as in 1-100".to_owned();
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if 1 <= from && from <= to => Ok((from, to)),
        _ => Err(wrong()),
    }
}

fn site_and_number(text: &str) -> Result<(String, u64), String> {
    let wrong = || "expected SITE:NTH, as in 3fa91c02:1".to_owned();
    let (site, number) = text.split_once(':').ok_or_else(wrong)?;
    let hex = matches!(site.len(), 8 | 16) && site.bytes().all(|c| c.is_ascii_hexdigit());
    match number.parse() {
        Ok(number) if hex && number > 0 => Ok((site.to_owned(), number)),
        _ => Err(wrong()),
    }
}

fn sample(text: &str) -> Result<Sample, String> {
    let wrong = || "expected N or N,seed=S".to_owned();
    let (size, seed) = match text.split_once(",seed=") {
        Some((size, seed)) => (size, seed.parse().map_err(|_| wrong())?),
        None => (text, 1),
    };
    match size.parse() {
        Ok(size) if size > 0 => Ok(Sample { size, seed }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn values_with_a_form_of_their_own_are_checked() {
        assert_eq!(range("3-7"), Ok((3, 7)));
        assert!(range("7-3").is_err() && range("0-3").is_err() && range("x").is_err());
        assert_eq!(site_and_number("3fa91c02:2"), Ok(("3fa91c02".to_owned(), 2)));
        assert!(site_and_number("3fa91c02").is_err() && site_and_number("zz:1").is_err());
        assert_eq!(sample("10,seed=7"), Ok(Sample { size: 10, seed: 7 }));
        assert!(sample("0").is_err() && sample("10,7").is_err());
    }
}

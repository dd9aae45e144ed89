//! The command line of `memtrial leak`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use memtrial_trials::leak::options::{Locate, OnFailure, Ready};

use super::Delivery;
use super::quantities::{bytes, duration, some_bytes};
use crate::exit;

/// `memtrial leak`
#[derive(Debug, Args)]
#[command(after_help = exit::table(), group = ArgGroup::new("target").args(["pid", "name", "serve", "program"]))]
pub struct Leak {
    /// The process with this id
    #[arg(long, help_heading = "The target", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// All processes of this name; restarts are noticed
    #[arg(long, help_heading = "The target", value_name = "NAME")]
    pub name: Option<String>,
    /// A daemon that memtrial starts, and ends afterwards
    #[arg(long, help_heading = "The target", value_name = "CMD")]
    pub serve: Option<String>,
    /// When the daemon is ready: a shell command that succeeds then, or a TCP port of this machine [default: when it
    /// has lived for half a second]
    #[arg(long, help_heading = "The target", value_name = "CMD|PORT", value_parser = ready, requires = "serve")]
    pub ready: Option<Ready>,
    /// Other processes to watch, by name
    #[arg(long, help_heading = "The target", value_name = "NAME,…", value_delimiter = ',')]
    pub also: Vec<String>,
    /// The target is on this machine, reached by ssh with the user's own configuration
    #[arg(long, help_heading = "The target", value_name = "HOST", conflicts_with_all = ["serve", "program"])]
    pub ssh: Option<String>,

    /// Rounds allowed; a clear case ends earlier [default: 480]
    #[arg(long, help_heading = "Rounds", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: Option<u32>,
    /// Shell command of a round, after which the target is meant to be as it was before
    #[arg(long = "do", help_heading = "Rounds", value_name = "CMD", conflicts_with = "program")]
    pub action: Option<String>,
    /// Shell command that takes back what --do did
    #[arg(long, help_heading = "Rounds", value_name = "CMD", requires = "action")]
    pub undo: Option<String>,
    /// With --ssh: run --do and --undo on this machine, not on the target's
    #[arg(long, help_heading = "Rounds", requires = "ssh")]
    pub here: bool,
    /// Pause between the action and the look at memory, in seconds
    #[arg(long, help_heading = "Rounds", value_name = "SECS", default_value = "0", value_parser = pause, requires = "action")]
    pub settle: Duration,
    /// Length of a round without --do, in seconds
    #[arg(long, help_heading = "Rounds", value_name = "SECS", default_value = "1", value_parser = duration, conflicts_with = "action")]
    pub interval: Duration,
    /// Time limit of an action, of a run of the program, and of the daemon to get ready, in seconds
    #[arg(long, help_heading = "Rounds", value_name = "SECS", default_value = "60", value_parser = duration)]
    pub timeout: Duration,
    /// What a failed action does to the run; in the first round it always ends it
    #[arg(long, help_heading = "Rounds", value_enum, default_value_t = OnFailureName::Continue, value_name = "WHAT")]
    on_failure: OnFailureName,
    /// Begin no more rounds after this time: seconds, or with s, m or h
    #[arg(long, help_heading = "Rounds", value_name = "TIME", value_parser = duration)]
    pub max_time: Option<Duration>,

    /// Growth that passes, in bytes a round, with k or m [default: 1k in figures, none in blocks]
    #[arg(long, help_heading = "What passes", value_name = "BYTES", value_parser = bytes)]
    pub tolerate: Option<u64>,
    /// Compare with a stored run of a version known to be good
    #[arg(long, help_heading = "What passes", value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// Let `inconclusive` pass
    #[arg(long, help_heading = "What passes")]
    pub allow_inconclusive: bool,

    /// When to follow blocks, to tell the call stacks that grow
    #[arg(long, help_heading = "Call stacks", value_enum, default_value_t = LocateName::Auto, value_name = "WHEN")]
    locate: LocateName,
    /// Rounds in which blocks are followed: at least 20, and more than the longest life of a block
    #[arg(long, help_heading = "Call stacks", value_name = "N", default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=16_383))]
    pub locate_rounds: u32,
    /// Follow one block for so many bytes on average, with k or m, not each
    #[arg(long, help_heading = "Call stacks", value_name = "BYTES", value_parser = some_bytes)]
    pub sample: Option<u64>,

    #[command(flatten)]
    pub delivery: Delivery,
    /// Go on with an interrupted run: its options are kept in the results
    #[arg(long, help_heading = "Results", conflicts_with_all = ["target", "ready", "also", "ssh", "action", "undo", "here", "on_failure", "settle", "interval", "timeout", "tolerate", "against", "allow_inconclusive", "locate", "locate_rounds", "sample"])]
    pub resume: bool,
    /// No progress
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,

    /// The program and its arguments, behind `--`: run anew in each round
    #[arg(last = true, value_name = "CMD")]
    pub program: Vec<String>,
}

impl Leak {
    /// What a failed action does.
    pub fn on_failure(&self) -> OnFailure {
        match self.on_failure {
            OnFailureName::Continue => OnFailure::Continue,
            OnFailureName::Stop => OnFailure::Stop,
        }
    }

    /// When blocks are followed.
    pub fn locate(&self) -> Locate {
        match self.locate {
            LocateName::Auto => Locate::Auto,
            LocateName::Always => Locate::Always,
            LocateName::Never => Locate::Never,
        }
    }
}

/// Names of what a failed action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnFailureName {
    /// The run goes on; the round counts
    Continue,
    /// The run ends with what is known
    Stop,
}

/// Names of when blocks are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LocateName {
    /// When the figures say `leak` or `inconclusive`
    Auto,
    /// Whatever the figures say
    Always,
    /// Not at all: nothing of memtrial gets into the target
    Never,
}

/// A shell command, or a port.
pub(super) fn ready(text: &str) -> Result<Ready, String> {
    match text.parse() {
        Ok(port) => Ok(Ready::Port(port)),
        Err(_) if text.trim().is_empty() => Err("expected a shell command or a port".to_owned()),
        Err(_) => Ok(Ready::Command(text.to_owned())),
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_a_form_of_their_own_are_checked() {
        assert_eq!(ready("8080"), Ok(Ready::Port(8080)));
        assert_eq!(ready("nc -z localhost 80"), Ok(Ready::Command("nc -z localhost 80".to_owned())));
        assert!(ready(" ").is_err());
        assert_eq!(pause("0"), Ok(Duration::ZERO));
    }
}

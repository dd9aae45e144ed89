//! What a leak trial is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The process with this id.
    Pid(i32),
    /// All processes of this name.
    Name(String),
    /// A daemon that is started for the trial; its arguments, the program first.
    Serve(Vec<String>),
    /// A program that is run anew in each round; its arguments, the program first.
    Program(Vec<String>),
}

/// When a daemon that was started is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// When this shell command succeeds.
    Command(String),
    /// When this TCP port of the loopback interface takes connections.
    Port(u16),
}

/// What a failed action does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It goes on; the round counts.
    Continue,
    /// It ends.
    Stop,
}

/// When blocks are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locate {
    /// When the figures say `leak` or `inconclusive`.
    Auto,
    /// Whatever the figures say.
    Always,
    /// Never.
    Never,
}

/// All options of a trial; kept in `run.json`, so that `--resume` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The command line, as the user gave it.
    pub command: Vec<String>,
    /// What is on trial.
    pub subject: Subject,
    /// When a daemon is ready.
    pub ready: Option<Ready>,
    /// Rounds allowed.
    pub rounds: u32,
    /// Shell command of a round; without it, a round is a pause.
    pub action: Option<String>,
    /// Shell command that takes back what the action did.
    pub undo: Option<String>,
    /// Length of a round without an action.
    pub interval: Duration,
    /// Pause between an action and the look at memory.
    pub settle: Duration,
    /// Time limit of an action.
    pub timeout: Duration,
    /// What a failed action does to the run.
    pub on_failure: OnFailure,
    /// Names of other processes to watch.
    pub also: Vec<String>,
    /// Growth that passes, in bytes a round; `None`: 1 KiB in figures, none in blocks.
    pub tolerate: Option<u64>,
    /// Whether `inconclusive` passes.
    pub allow_inconclusive: bool,
    /// When blocks are followed.
    pub locate: Locate,
    /// Rounds in which blocks are followed.
    pub locate_rounds: u32,
    /// Mean bytes between two blocks followed; 0: each is.
    pub sample: u64,
    /// The machine the target is on, if another one.
    pub host: Option<String>,
    /// Whether actions run on this machine though the target is on another.
    pub actions_here: bool,
    /// No rounds are begun after this time.
    pub max_time: Option<Duration>,
    /// A stored run to compare with.
    pub against: Option<PathBuf>,
    /// The environment of what is started here.
    pub environment: Vec<(String, String)>,
    /// The folder it is started in.
    pub folder: PathBuf,
}

impl Options {
    /// Growth of figures that passes, in bytes a round.
    #[must_use]
    pub fn tolerated(&self) -> u64 {
        self.tolerate.unwrap_or(1024)
    }
}

//! What the user asked for, free of how it was asked.

use std::path::PathBuf;
use std::time::Duration;

use memtrial_report::model::Policy;
use memtrial_wire::fault::Fault;
use serde::{Deserialize, Serialize};

/// How injections are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By snapshots as far as they are honest, by reruns for the rest.
    #[default]
    Auto,
    /// By snapshots only; what they can't reach stays untested, and is counted.
    Snapshot,
    /// By reruns only.
    Rerun,
}

/// Which allocations of the reference run are failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Of each site the first so many.
    PerSite(u64),
    /// All.
    Every,
    /// Those with these ordinals, both included.
    Ordinals(u64, u64),
    /// This one: site id and number.
    At(String, u64),
}

/// A bounded choice among the selected allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// How many.
    pub size: u64,
    /// The same seed chooses the same ones.
    pub seed: u64,
}

/// Everything that steers a run. `run.json` keeps it, for `--resume`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The target and its arguments.
    pub command: Vec<String>,
    /// The environment it gets.
    pub environment: Vec<(String, String)>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// How injections are made.
    pub mode: Mode,
    /// The fault, as `--fault` takes it.
    #[serde(with = "fault_text")]
    pub fault: Fault,
    /// Which allocations are failed.
    pub selection: Selection,
    /// Globs of which one must match a frame's module, file or function.
    pub only: Vec<String>,
    /// Globs of which none may match.
    pub skip: Vec<String>,
    /// A choice among what is selected.
    pub sample: Option<Sample>,
    /// After this time no more injections are begun.
    pub max_time: Option<Duration>,
    /// The time limit of a run; by default ten times the reference run, at least 5 seconds.
    pub timeout: Option<Duration>,
    /// Which verdicts pass.
    pub policy: Policy,
    /// Exit statuses that an injection may have; empty: any.
    pub expect_exit: Vec<i32>,
    /// What stderr must match when an injection ends with a failure status.
    pub expect_stderr: Option<String>,
    /// A shell command run after each injection, in the same folders; its failure is damage.
    pub check: Option<String>,
    /// Globs of the programs on trial; empty: the first one that runs.
    pub follow: Vec<String>,
    /// How many injections run at once.
    pub jobs: usize,
}

/// Faults as text.
mod fault_text {
    use super::Fault;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(fault)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fault, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

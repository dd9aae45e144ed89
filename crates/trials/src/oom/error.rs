//! Why a trial has no report.

use std::io;

use memtrial_report::model::End;

use super::lab::LabError;
use super::plan::PlanError;

/// Why a trial has no report.
#[derive(Debug, thiserror::Error)]
pub enum OomError {
    /// A run could not be made.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The options select nothing.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The target fails without a fault.
    #[error("without any fault, the target {}", describe_end(*.end))]
    Reference {
        /// How it ended.
        end: End,
        /// What it said.
        stderr: String,
    },
    /// There is nothing to fail.
    #[error("the agent saw no allocation: the target makes none, or its allocator can't be reached")]
    NoAllocations,
    /// The agent can't unwind there.
    #[error("the target's C library is older than glibc 2.35, which the agent needs")]
    OldLibrary,
    /// All reruns diverged, or snapshots alone reach nothing.
    #[error("none of the planned allocations could be tested: {0}")]
    NothingTested(String),
    /// The options leave nothing to test.
    #[error("nothing was tested: {0}")]
    NothingAsked(&'static str),
    /// Outcomes could not be kept.
    #[error("cannot keep the outcomes: {0}")]
    Journal(io::Error),
    /// `--expect-stderr` is no regular expression.
    #[error("--expect-stderr: {0}")]
    Pattern(#[from] regex::Error),
    /// The user interrupted before there was anything to report.
    #[error("interrupted")]
    Interrupted,
}

impl From<io::Error> for OomError {
    fn from(error: io::Error) -> OomError {
        OomError::Lab(LabError::Scratch(error))
    }
}

fn describe_end(end: End) -> String {
    match end {
        End::Exit(status) => format!("ends with status {status}"),
        End::Signal(signal) => format!("is ended by {}", crate::signal::name(signal)),
        End::Timeout => "does not end within its time limit".to_owned(),
        End::Flood => "writes without end".to_owned(),
    }
}

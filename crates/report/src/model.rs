//! What a run of `memtrial oom` found, as plain data: this is the JSON that `--json` prints.

use serde::{Deserialize, Serialize};

use crate::frames;

/// Version of the JSON documents; raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// An outcome judged. The order is the order of the report: worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Ended by SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP…
    Crashed,
    /// The allocator's own check found its heap damaged.
    Corrupted,
    /// No end within the time limit, or output without end.
    Hung,
    /// The user's `--check` command failed afterwards.
    Damaged,
    /// Status of success, but output that differs from the reference run.
    Silent,
    /// An `--expect-exit` or `--expect-stderr` did not hold.
    Misreported,
    /// An assertion of the program did not hold.
    Asserted,
    /// Gave up on purpose: abort, uncaught `bad_alloc`, Rust's allocation-error handler.
    Aborted,
    /// A rerun diverged and never made that allocation.
    Unreached,
    /// Same status and output as the reference run.
    Tolerated,
    /// Ended by itself with a failure status.
    Handled,
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Verdict; 11] = [
        Verdict::Crashed,
        Verdict::Corrupted,
        Verdict::Hung,
        Verdict::Damaged,
        Verdict::Silent,
        Verdict::Misreported,
        Verdict::Asserted,
        Verdict::Aborted,
        Verdict::Unreached,
        Verdict::Tolerated,
        Verdict::Handled,
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Crashed => "crashed",
            Verdict::Corrupted => "corrupted",
            Verdict::Hung => "hung",
            Verdict::Damaged => "damaged",
            Verdict::Silent => "silent",
            Verdict::Misreported => "misreported",
            Verdict::Asserted => "asserted",
            Verdict::Aborted => "aborted",
            Verdict::Unreached => "unreached",
            Verdict::Tolerated => "tolerated",
            Verdict::Handled => "handled",
        }
    }
}

/// Which verdicts pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// For programs that mean to report errors.
    #[default]
    Graceful,
    /// For programs that stop at the first failed allocation and are restarted.
    Abort,
    /// Every failed allocation must surface as an error.
    Strict,
}

impl Policy {
    /// Whether a verdict passes. `unreached` is neither passed nor failed: it is listed.
    #[must_use]
    pub fn passes(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Handled | Verdict::Unreached => true,
            Verdict::Tolerated => self != Policy::Strict,
            Verdict::Aborted => self == Policy::Abort,
            _ => false,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Policy::Graceful => "graceful",
            Policy::Abort => "abort",
            Policy::Strict => "strict",
        }
    }
}

/// How loud a `silent` outcome was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nothing on stderr that the reference run did not say too.
    NotAWord,
    /// Something on stderr that the reference run did not say.
    Complained,
}

impl Grade {
    /// The words for it, as they follow the verdict.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Grade::Complained => " (complained on stderr)",
            Grade::NotAWord => " (not a word)",
        }
    }
}

/// One frame of a call stack; inlined frames are frames of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// File of the module (executable or library) the code is in.
    pub module: String,
    /// Address of the code inside the module, as `addr2line -e MODULE` takes it.
    pub offset: u64,
    /// Demangled name, if the module has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub function: Option<String>,
    /// Bytes from the start of the function; absent where DWARF gave the name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub function_offset: Option<u64>,
    /// Source file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// Whether the compiler inlined this function into the next frame.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inlined: bool,
}

/// A call stack that allocates, as the reference run saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Site id: 8 hex digits (16 where two sites of the run share the first 8).
    pub site: String,
    /// Allocations made here in the reference run.
    pub count: u64,
    /// Bytes asked for here in the reference run.
    pub bytes: u64,
    /// Ordinal of the first allocation made here, from 1.
    pub first: u64,
    /// The call stack, innermost first.
    pub stack: Vec<Frame>,
}

/// What ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It ended by itself with this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// memtrial ended it at the time limit.
    Timeout,
    /// It was ended at the limit of what one injection may write.
    Flood,
}

impl End {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            End::Exit(status) => format!("exit status {status}"),
            End::Signal(signal) => format!("signal {signal}"),
            End::Timeout => "no end within the time limit".to_owned(),
            End::Flood => "output without end".to_owned(),
        }
    }
}

/// How an injection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// In a clone of the running target.
    Snapshot,
    /// In a run of its own.
    Rerun,
}

/// A fault signal that a process met, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// Name, as `SIGSEGV`.
    pub signal: String,
    /// The address that could not be used, for faults of memory access.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<u64>,
    /// The stack of the crashing thread, innermost first.
    pub stack: Vec<Frame>,
    /// The crash site (module and offset) that crashes are grouped by.
    pub crash_site: String,
    /// What the C library noted down as the reason of an abort.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// The first lines in which an output differs from the reference run's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `stdout`, or the path of the file.
    pub of: String,
    /// First line that differs, from 1.
    pub line: u64,
    /// That line and up to two more, in the reference run.
    pub reference: Vec<String>,
    /// The same lines of the injection.
    pub injection: Vec<String>,
}

/// What one injection was observed to do: a line of `outcomes.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Hash of the failed allocation's stack, in hex; the site id is its start.
    pub hash: String,
    /// Which allocation at that site, from 1; 0 for a fault that chooses by itself and failed none.
    pub nth: u64,
    /// Its number in the reference run, from 1; 0 if unknown.
    pub ordinal: u64,
    /// How the injection was made.
    pub way: Way,
    /// What ended the process.
    pub end: End,
    /// The outcome judged.
    pub verdict: Verdict,
    /// For `silent`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grade: Option<Grade>,
    /// What a snapshot had shown, where this rerun shows something else.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instead_of: Option<Verdict>,
}

/// Outcomes of one verdict at one site (crashes: at one crash site), with evidence and the command that reproduces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The outcome judged.
    pub verdict: Verdict,
    /// For `silent` only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grade: Option<Grade>,
    /// Site id of the failed allocation.
    pub site: String,
    /// Which allocation at that site: the first of the outcomes.
    pub nth: u64,
    /// How many injections had this verdict here.
    pub injections: u64,
    /// All failed allocations that the finding stands for, as `SITE:NTH`: the first of each site.
    pub sites: Vec<String>,
    /// Whether a plain rerun of the first of them gave the same verdict.
    pub confirmed: bool,
    /// What ended the process.
    pub end: End,
    /// The call stack of the failed allocation, innermost first.
    pub stack: Vec<Frame>,
    /// Signal, address and stack of the crashing thread, where there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crash: Option<Crash>,
    /// For `silent`: what differed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub difference: Option<Difference>,
    /// One sentence more, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Folder with the captured stdout and stderr, below the output folder.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub folder: Option<String>,
    /// The command that gives the same verdict again.
    pub repro: String,
}

impl Finding {
    /// Where to look first: in the crash if there is one, else in the allocation; `file:line` if known.
    #[must_use]
    pub fn place(&self) -> String {
        let stack = self.crash.as_ref().map_or(&self.stack, |crash| &crash.stack);
        frames::place(stack, frames::is_system)
    }

    /// What ended the process: the crash if there was one.
    #[must_use]
    pub fn how(&self) -> String {
        match &self.crash {
            Some(Crash { signal, address: Some(address), .. }) => format!("{signal} at address {address:#x}"),
            Some(crash) => crash.signal.clone(),
            None => self.end.words(),
        }
    }
}

/// The run without a fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// How it ended.
    pub end: End,
    /// Allocations made.
    pub allocations: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Distinct sites.
    pub sites: u64,
    /// Wall time of the run, in seconds.
    pub seconds: f64,
    /// In what two reference runs differed: each is a sentence; empty when they agree.
    pub differences: Vec<String>,
}

/// What share of the allocations was tested, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Allocations that the options select.
    pub planned: u64,
    /// Those that have an outcome other than `unreached`.
    pub tested: u64,
    /// Distinct sites among them.
    pub sites_tested: u64,
    /// Injections made in a snapshot whose outcome stands.
    pub by_snapshot: u64,
    /// Injections made in a rerun.
    pub by_rerun: u64,
    /// Why allocations after some point could not be failed in snapshots.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snapshots_ended: Option<String>,
    /// Why snapshots were given up and made again as reruns, with how many for each reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub handed_over: Vec<(String, u64)>,
    /// Why the run stopped before all that was planned had an outcome.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped: Option<String>,
}

/// A whole run, as `memtrial show` reads it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `oom`.
    pub trial: String,
    /// The target and its arguments.
    pub command: Vec<String>,
    /// The fault injected, as `--fault` takes it.
    pub fault: String,
    /// The policy applied.
    pub policy: Policy,
    /// The run without a fault.
    pub reference: Reference,
    /// What was tested.
    pub coverage: Coverage,
    /// Number of outcomes of each verdict, worst first.
    pub verdicts: Vec<(Verdict, u64)>,
    /// What does not pass the policy, worst first.
    pub findings: Vec<Finding>,
    /// What a snapshot showed and a plain rerun did not.
    pub unconfirmed: Vec<Finding>,
    /// Sentences about what limits the meaning of this run.
    pub warnings: Vec<String>,
    /// Exit status of memtrial.
    pub exit_status: u8,
}

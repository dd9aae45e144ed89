//! What a run of `memtrial stress` found, as plain data: this is the JSON that `--json` prints.
//!
//! All sizes are in bytes, all times in seconds since the load began, unless a name says otherwise.

pub mod comparison;
mod figures;
mod words;

use serde::{Deserialize, Serialize};

use crate::model::Frame;

/// What the load came to. The order is the order of the report: worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The target ended under load.
    Died,
    /// Chunks of the load were written to by somebody else.
    Overwritten,
    /// The target lived, but a probe failed under load that succeeds without.
    Unanswered,
    /// The load was not what was asked for, so that nothing is shown: the sentence says why.
    Inconclusive,
    /// It held.
    Held,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Died => "died",
            Verdict::Overwritten => "overwritten",
            Verdict::Unanswered => "unanswered",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Held => "held",
        }
    }
}

/// The load that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Smallest chunk.
    pub min: u64,
    /// Largest chunk.
    pub max: u64,
    /// When so much is held by all threads together, all is freed, and it begins again.
    pub total: u64,
    /// Allocations a second of all threads together; `None`: as fast as it goes.
    pub rate: Option<f64>,
    /// Threads.
    pub threads: u32,
    /// How long.
    pub seconds: f64,
    /// Whether chunks are filled, and looked at before they are resized or freed.
    pub check_content: bool,
    /// So many percent of the allocations resize a chunk.
    pub realloc_percent: u8,
    /// How sizes are chosen: `uniform`, `log`, or the file.
    pub sizes: String,
    /// By which all choices were made.
    pub seed: u64,
    /// Most that the load may hold, with its bookkeeping.
    pub max_total: u64,
}

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format.
    pub schema: u32,
    /// `"stress"`
    pub trial: String,
    /// The command line.
    pub command: Vec<String>,
    /// The target in words, as `redis-server (pid 12)`, or the allocators that were compared.
    pub target: String,
    /// The verdict: the worst of all that was loaded.
    pub verdict: Verdict,
    /// All of it in one sentence.
    pub sentence: String,
    /// How long the run took.
    pub seconds: f64,
    /// The load.
    pub load: Load,
    /// What was loaded: the target, or a process for each allocator, in the order they were named.
    pub loaded: Vec<Loaded>,
    /// What does not pass, worst first.
    pub findings: Vec<Finding>,
    /// Sentences about what limits the meaning of the run.
    pub warnings: Vec<String>,
    /// Exit status of memtrial.
    pub exit_status: u8,
}

/// How the agent got into a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Loaded with the program.
    Preload,
    /// Loaded into the running process.
    Attach,
}

/// One process that was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Its name; without a target the allocator's, as it was asked for.
    pub name: String,
    /// Its pid.
    pub pid: i32,
    /// File name of the allocator in use; empty if none is known.
    pub allocator: String,
    /// How the agent got in.
    pub way: Way,
    /// How long the thread stood still by which the agent was loaded into a running process.
    pub stopped_ms: Option<f64>,
    /// What the process was limited to.
    pub limit: Option<Limit>,
    /// Figures while it was loaded.
    pub samples: Vec<Sample>,
    /// How long it was loaded.
    pub seconds: f64,
    /// Allocations tried, those that resized a chunk among them.
    pub allocations: u64,
    /// Those that resized a chunk.
    pub reallocs: u64,
    /// Those that failed.
    pub errors: u64,
    /// How often the total was reached and all was freed.
    pub overflows: u64,
    /// Bytes allocated in all.
    pub allocated: u64,
    /// Memory before the load.
    pub before: Memory,
    /// At its peak of resident memory, as far as samples show.
    pub peak: Peak,
    /// After all was freed. `None`: the process had ended.
    pub after: Option<Memory>,
    /// Memory that the agent keeps of its own in the process, without the chunks: not counted in figures of overhead.
    pub bookkeeping: u64,
    /// Chunks whose contents were looked at.
    pub checked: u64,
    /// Chunks that were found overwritten: the first of them.
    pub overwritten: Vec<Overwrite>,
    /// How many there were.
    pub overwritten_count: u64,
    /// What the probe saw.
    pub probe: Option<Probe>,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// Sentences about how it was looked at.
    pub notes: Vec<String>,
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident set.
    pub resident: u64,
    /// Of it and of swap, what belongs to the process alone.
    pub private: u64,
}

/// The most that was held.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Peak {
    /// Resident set.
    pub resident: u64,
    /// Bytes that the load's chunks were then.
    pub live: u64,
    /// The share of what the process had grown by that was in no chunk: headers, rounding, holes; from 0 to 1. Without
    /// the agent's bookkeeping. `None`: it had not grown enough to tell.
    pub fragmentation: Option<f64>,
}

/// Figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub seconds: f64,
    /// Allocations so far.
    pub allocations: u64,
    /// Allocations failed so far.
    pub errors: u64,
    /// How often all was freed so far.
    pub overflows: u64,
    /// Chunks overwritten so far.
    pub overwritten: u64,
    /// Bytes in chunks.
    pub live: u64,
    /// Chunks.
    pub chunks: u64,
    /// Resident set.
    pub resident: u64,
    /// Private memory.
    pub private: u64,
    /// As [`Peak::fragmentation`].
    pub fragmentation: Option<f64>,
}

/// A line of `samples.jsonl`: a sample, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleLine {
    /// The place of the process among those that are loaded, from 0.
    pub place: usize,
    /// The figures.
    #[serde(flatten)]
    pub sample: Sample,
}

/// How a process is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// A control group of version 1.
    CgroupV1,
    /// A control group of version 2.
    CgroupV2,
    /// Its address space.
    AddressSpace,
}

impl LimitKind {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            LimitKind::CgroupV1 => "a control group (v1)",
            LimitKind::CgroupV2 => "a control group (v2)",
            LimitKind::AddressSpace => "a limit of the address space",
        }
    }
}

/// The limit of a process, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How much more than it held before the load.
    pub bytes: u64,
    /// How it is limited.
    pub kind: LimitKind,
    /// How often the limit was met: for a control group by the kernel's count, else allocations failed.
    pub met: u64,
    /// Processes in the group that the kernel killed for want of memory.
    pub killed: u64,
    /// How the target took it, in a sentence.
    pub sentence: String,
}

/// A chunk that somebody else has written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overwrite {
    /// Address of the chunk, as `0x7f00`.
    pub address: String,
    /// Its size.
    pub size: u64,
    /// First byte that is not as it was.
    pub offset: u64,
    /// Bytes from there to the last one that is not as it was.
    pub length: u64,
    /// What should be there, in hexadecimal; its beginning.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// The test that it belongs to; `None`: it was allocated by a command.
    pub test: Option<u64>,
    /// Which allocation of that test, from 1.
    pub number: u64,
    /// The stack that allocated it, innermost frame first.
    pub stack: Vec<Frame>,
    /// The target's own blocks that may have to do with it, nearest first.
    pub suspects: Vec<Suspect>,
}

/// How a block of the target's lies to an overwritten chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// It lies just before the chunk: who writes past its end, writes here.
    Before,
    /// It was freed, and the chunk was put in its place: who still writes to it, writes here.
    Freed,
}

/// A block of the target's that lies, or lay, where it may be to blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// How it lies to the chunk.
    pub relation: Relation,
    /// Its address, as `0x7f00`.
    pub address: String,
    /// Its size.
    pub size: u64,
    /// Id of its site.
    pub site: String,
    /// The stack that allocated it, innermost frame first.
    pub stack: Vec<Frame>,
}

/// The probe: a command that asks the target something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The shell command.
    pub command: String,
    /// Before the load.
    pub unloaded: Timing,
    /// Under load.
    pub loaded: Timing,
    /// Under load, those that failed: the first of them.
    pub failures: Vec<ProbeFailure>,
    /// How many failed.
    pub failed: u64,
}

/// How long a probe takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// How often it ran to its end and succeeded.
    pub runs: u64,
    /// Median.
    pub median_ms: f64,
    /// 95 of 100 take no longer.
    pub p95_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// One failure of the probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeFailure {
    /// When.
    pub seconds: f64,
    /// How: `ended with status 1`.
    pub how: String,
    /// The end of what it printed.
    pub printed: String,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub seconds: f64,
    /// How: `was ended by SIGSEGV`; `ended` where nobody can tell.
    pub how: String,
    /// The end of what it printed, where memtrial started it.
    pub printed: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The target ended.
    Died,
    /// Chunks were overwritten in the same way: by the same suspect, or at the same offset with the same bytes.
    Overwritten,
    /// The probe failed.
    Unanswered,
}

/// Something that does not pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// All of it in one sentence.
    pub message: String,
    /// How often it was seen.
    pub count: u64,
    /// Pid of the process.
    pub pid: i32,
    /// Where the block of the target's to look at first was allocated; empty if there is none.
    pub stack: Vec<Frame>,
    /// Of overwritten chunks, the place in [`Loaded::overwritten`] of the one that stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<usize>,
    /// The command that shows it again.
    pub repro: String,
}

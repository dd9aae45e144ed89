//! What following the blocks of a process showed.

use serde::{Deserialize, Serialize};

use crate::model::Frame;

/// How the agent, or something in its stead, saw the blocks of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocateWay {
    /// The agent was loaded with the program.
    Preload,
    /// The agent was loaded into the running process at a safe point.
    Attach,
    /// Probes of the kernel in the allocator's functions, with copies of the stack.
    Uprobes,
}

impl LocateWay {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            LocateWay::Preload => "by the agent, loaded with the program",
            LocateWay::Attach => "by the agent, loaded into the running process",
            LocateWay::Uprobes => "by uprobes, from outside",
        }
    }
}

/// How the blocks of a site behave over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survival {
    /// Blocks of old rounds live as those of new rounds do: a leak.
    Leaking,
    /// Unreachable: nothing points to them any more. A leak whatever their number.
    Lost,
    /// Some live, none was freed so far: a cache that is not full yet looks like this.
    NeverFreed,
    /// Old blocks go as new ones come.
    Turnover,
}

impl Survival {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Survival::Leaking => "leaking",
            Survival::Lost => "lost",
            Survival::NeverFreed => "never freed so far",
            Survival::Turnover => "turnover",
        }
    }
}

/// The live blocks of one allocation site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedSite {
    /// Site id.
    pub site: String,
    /// How its blocks behave.
    pub survival: Survival,
    /// Blocks alive at the end that were allocated in the rounds followed.
    pub blocks: u64,
    /// Bytes of them, as asked for.
    pub bytes: u64,
    /// Rounds of which at least one block is alive.
    pub rounds_with: u32,
    /// Rounds followed.
    pub rounds: u32,
    /// Living blocks by the round they were allocated in, from the first round followed.
    pub by_round: Vec<u64>,
    /// Blocks that nothing points to any more; absent if nobody looked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unreachable: Option<u64>,
    /// Lowest and highest address of a living block.
    pub addresses: [u64; 2],
    /// The call stack that allocates, innermost first.
    pub stack: Vec<Frame>,
}

/// What of the growth is live blocks, and what the allocator holds beyond them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragmentation {
    /// Growth of private memory over the rounds followed.
    pub private_growth: i64,
    /// Growth of live blocks: allocated minus freed, those from before freed since counted too.
    pub live_growth: i64,
}

impl Fragmentation {
    /// What the allocator holds beyond live blocks, of what was added in the rounds followed.
    #[must_use]
    pub fn held(&self) -> i64 {
        self.private_growth - self.live_growth
    }
}

/// What following the blocks of one process showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Located {
    /// The process.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// How its blocks were seen.
    pub way: LocateWay,
    /// The allocator: a library's file name, or the program's that has it linked in.
    pub allocator: String,
    /// Rounds followed.
    pub rounds: u32,
    /// Mean bytes between two blocks followed; absent if each was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sampled: Option<u64>,
    /// For how long the target stood still when the agent came in, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped_ms: Option<f64>,
    /// Sites with living blocks, worst first.
    pub sites: Vec<LocatedSite>,
    /// Live blocks against what the allocator holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fragmentation: Option<Fragmentation>,
    /// Blocks freed that were allocated before anybody looked, and their bytes.
    pub freed_from_before: [u64; 2],
    /// Allocations that were seen but could not be kept; 0 means that the count is complete.
    pub dropped: u64,
    /// What this way can't see, and what stays in the process: each is a sentence.
    pub notes: Vec<String>,
}

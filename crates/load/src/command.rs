//! The commands, parsed: all sizes in bytes, all times in nanoseconds.
#![allow(missing_docs, reason = "fields are what the line above them says in capitals")]

/// The unit that sizes are given and answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Bytes.
    #[default]
    B,
    /// 1024 bytes.
    K,
    /// 1024 × 1024 bytes.
    M,
    /// 1024 × 1024 × 1024 bytes.
    G,
}

impl Unit {
    /// Its power of two.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Unit::B => 0,
            Unit::K => 10,
            Unit::M => 20,
            Unit::G => 30,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command<'r> {
    /// `help [METHOD]`: the methods and their usage.
    Help(Option<&'r str>),
    /// `mt.mem_alloc SIZE [UNIT]`
    Alloc { bytes: u64 },
    /// `mt.mem_free [SIZE] [UNIT]`; no size: everything.
    Free { bytes: Option<u64>, unit: Unit },
    /// `mt.mem_realloc SIZE [UNIT]`
    Realloc { bytes: u64, unit: Unit },
    /// `mt.mem_used [UNIT]`
    Used { unit: Unit },
    /// `mt.mem_rnd_alloc MIN MAX TOTAL [UNIT]`
    RandomAlloc { min: u64, max: u64, total: u64 },
    /// `mt.mem_test_start MIN MAX TOTAL MIN_INT MAX_INT TIME [UNIT]`
    TestStart(Plan<'r>),
    /// `mt.mem_test_stop ID`
    TestStop { id: u64 },
    /// `mt.mem_test_destroy [ID]`; without an id all, as -1 does.
    TestDestroy { id: Option<u64> },
    /// `mt.mem_test_destroy_all`
    TestDestroyAll,
    /// `mt.mem_test_list [ID] [UNIT]`
    TestList { id: Option<u64>, unit: Unit },
    /// `mt.mem_check`: looks at the contents of every chunk that was filled.
    Check,
    /// `cfg.set_now_int malloc_test NAME VALUE`
    Set(Setting, u64),
    /// `cfg.get malloc_test NAME`
    Get(Setting),
    /// `memtrial.status`: what the agent is doing, in numbers.
    Status,
    /// `memtrial.leave`: frees everything, ends all threads of the agent's.
    Leave,
}

/// A setting for what is done from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `check_content`, 0 or 1: chunks are filled, and looked at before they are resized or freed.
    CheckContent,
    /// `realloc_p`, 0 to 90: so many percent of the allocations of tests and `mt.mem_rnd_alloc` resize a chunk.
    ReallocPercent,
}

/// A test that is to be started. 0 < `min` ≤ `max` ≤ `total`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan<'r> {
    /// Smallest chunk.
    pub min: u64,
    /// Largest chunk.
    pub max: u64,
    /// When so much is held, all is freed, and it begins again.
    pub total: u64,
    /// Shortest and longest time between two allocations; both 0: as fast as it goes, which only the named parameter
    /// `unpaced` asks for.
    pub interval: (u64, u64),
    /// How long it runs.
    pub time: u64,
    /// How sizes are chosen.
    pub sizes: Sizes<'r>,
    /// By which all choices are made; `None`: a new one each time.
    pub seed: Option<u64>,
    /// For this test alone, instead of [`Setting::CheckContent`].
    pub check_content: Option<bool>,
    /// For this test alone, instead of [`Setting::ReallocPercent`].
    pub realloc_percent: Option<u8>,
}

/// How the sizes of a test's chunks are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sizes<'r> {
    /// Each from min to max alike.
    Uniform,
    /// Each power of two alike.
    Log,
    /// By a table in JSON, `[[SIZE, WEIGHT], …]`: each size as often as its weight says, of those from min to max.
    Table(&'r [u8]),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The allocator had no memory; how many allocations failed.
    NoMemory { failed: u64 },
    /// It would hold more than it may: bytes held with their bookkeeping, and the most.
    TooMuch { held: u64, most: u64 },
    /// No chunk is there to be resized.
    NoChunk,
    /// There is no such test.
    NoTest { id: u64 },
    /// All places for tests are taken; so many there are.
    TooManyTests { most: u64 },
    /// No thread could be started.
    NoThread,
    /// The agent has freed everything, and is leaving.
    Leaving,
    /// A table of sizes that is none, or has no size from min to max.
    BadTable,
}

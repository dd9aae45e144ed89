//! The blocks of a process that live, by the stacks that they were allocated from.

use memtrial_symbols::remote::RemoteFrame;

/// A block that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveBlock {
    /// Its address.
    pub address: u64,
    /// How many bytes were asked for.
    pub bytes: u64,
    /// The round in which it was allocated.
    pub round: u32,
    /// Index into [`LiveBlocks::stacks`].
    pub stack: u32,
}

/// What one stack has done, since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StackCounts {
    /// Blocks allocated.
    pub allocated: u64,
    /// Of them, freed.
    pub freed: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

/// The blocks that were allocated while the process was followed and live, and what is not known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveBlocks {
    /// By address.
    pub blocks: Vec<LiveBlock>,
    /// Each different, the innermost frame first; it begins with the caller of the allocator.
    pub stacks: Vec<Vec<RemoteFrame>>,
    /// For each of `stacks`.
    pub counts: Vec<StackCounts>,
    /// Blocks given back that are not known: from before the beginning, of another allocator, or lost.
    pub freed_unknown: u64,
    /// Hits of probes that did not fit into a ring. If it is not 0, blocks may be missing, or seem to live.
    pub lost: u64,
    /// Calls of which the return was not seen: lost, or left by an exception, or the thread has ended.
    pub unfinished: u64,
    /// Allocations of which the stack reaches beyond what is copied of it, so that outer frames are missing.
    pub cut_off: u64,
    /// Results of `posix_memalign` that could not be told.
    pub untold: u64,
}

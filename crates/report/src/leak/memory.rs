//! What a process holds: the figures of a round, and its mappings.

use serde::{Deserialize, Serialize};

/// The memory of one process after one round: a line of `samples.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Resident set.
    pub resident: u64,
    /// Proportional share of the resident set.
    pub proportional: u64,
    /// Private and unchanged since it was read from its file.
    pub private_clean: u64,
    /// Private and changed.
    pub private_dirty: u64,
    /// Of no file, or changed since it was read from one. Unlike the two private figures it does not change when
    /// another process that shares pages comes or goes.
    #[serde(default)]
    pub anonymous: u64,
    /// Swapped out.
    pub swap: u64,
    /// Given back lazily (`MADV_FREE`): still resident, though free.
    pub lazy_free: u64,
    /// Of anonymous huge pages.
    pub huge: u64,
    /// Number of mappings.
    pub mappings: u64,
    /// Number of threads.
    pub threads: u64,
    /// Number of open descriptors.
    pub descriptors: u64,
}

impl Figures {
    /// Resident memory that counts: with what is swapped out, without what is free but not yet taken back.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.resident.saturating_add(self.swap).saturating_sub(self.lazy_free)
    }

    /// Memory of its own that counts, by the same rule: the anonymous pages. Those that a forked child still shares
    /// with its parent are in it from the start, so that it does not change when the other one ends.
    #[must_use]
    pub fn held_privately(&self) -> u64 {
        self.anonymous.saturating_add(self.swap).saturating_sub(self.lazy_free)
    }
}

/// What one process held after one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The round, from 1; 0 is before the first.
    pub round: u32,
    /// When: seconds since the run began.
    pub seconds: f64,
    /// What it held.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What a mapping is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingClass {
    /// The heap that grows by `brk`.
    Heap,
    /// A heap of glibc's for threads.
    Arena,
    /// The stack of a thread, the main one's too.
    ThreadStack,
    /// Private memory of a file: code, data.
    File,
    /// Shared memory, with or without a file.
    Shared,
    /// Anonymous memory with a name (`PR_SET_VMA_ANON_NAME`).
    Named,
    /// Anonymous memory without a name: big blocks, other allocators' heaps.
    Anonymous,
    /// The kernel's own: `[vdso]` and the like.
    Kernel,
}

impl MappingClass {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            MappingClass::Heap => "heap",
            MappingClass::Arena => "glibc arena",
            MappingClass::ThreadStack => "thread stack",
            MappingClass::File => "file",
            MappingClass::Shared => "shared",
            MappingClass::Named => "named",
            MappingClass::Anonymous => "anonymous",
            MappingClass::Kernel => "kernel",
        }
    }
}

/// One mapping in which start and end of the run differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingChange {
    /// First address (of the end's mapping, where there is one).
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What it is used for.
    pub class: MappingClass,
    /// File or name; empty for none.
    pub name: String,
    /// Size before and after; 0 where it was not there.
    pub size: [u64; 2],
    /// Resident before and after.
    pub resident: [u64; 2],
    /// Private and changed, before and after.
    pub private_dirty: [u64; 2],
}

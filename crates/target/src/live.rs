//! The live blocks of a process in which the agent follows them, read from outside.

use std::io;
use std::sync::atomic::Ordering;

use memtrial_wire::live::{Block, END, LEAF_SPAN_BITS, LEAVES, LIST_AT, leaf_bytes, leaf_room};

use crate::copied::{Copied, Range, Room};
use crate::memory::SharedMemory;
use crate::memory_of::{self, read_u64};

/// A block that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveBlock {
    /// Where it begins.
    pub address: u64,
    /// What was kept of it; the site is an index as [`crate::memory::RawSite`] has it.
    pub block: Block,
}

/// The table of a process, where it lies in its memory.
#[derive(Debug, Clone)]
pub struct LiveTable {
    pid: i32,
    head: u64,
    granularity: u32,
    /// The pages of the agent's zeroed data.
    agent_data: (u64, u64),
    /// Span and address of each leaf.
    leaves: Vec<(u64, u64)>,
}

impl LiveTable {
    /// The table of the process `pid`, whose agent shares `memory`; `None` if the agent keeps none there.
    ///
    /// # Errors
    /// When the process's memory can't be read.
    pub fn of(pid: i32, memory: &SharedMemory) -> io::Result<Option<LiveTable>> {
        let control = memory.control();
        let head = control.live_table.load(Ordering::Acquire);
        if head == 0 || control.root_pid.load(Ordering::Relaxed).cast_signed() != pid {
            return Ok(None);
        }
        let unreadable = || io::Error::other(format!("the memory of process {pid} can't be read"));
        let granularity = (read_u64(pid, head).ok_or_else(unreadable)? >> 32) as u32;
        let used = read_u64(pid, head + 8).ok_or_else(unreadable)?;
        if !matches!(granularity, 3 | 4) {
            return Ok(None);
        }
        let used = usize::try_from(used).unwrap_or(LEAVES).min(LEAVES);
        let mut list = vec![0; used * 16];
        if memory_of::read(pid, head + LIST_AT as u64, &mut list)? != list.len() {
            return Err(unreadable());
        }
        let word = |at: usize| u64::from_ne_bytes(list[at..at + 8].try_into().unwrap_or_default());
        let leaves = (0..used).map(|n| (word(n * 16), word(n * 16 + 8))).filter(|(_, words)| *words != 0);
        let [data, data_end] = [0, 1].map(|i: usize| control.agent_data[i].load(Ordering::Relaxed));
        Ok(Some(LiveTable { pid, head, granularity, agent_data: (data, data_end), leaves: leaves.collect() }))
    }

    /// What the agent itself takes of the process's addresses: start and end of each range, by address. Ranges side by
    /// side are one, as the kernel makes one mapping of them.
    #[must_use]
    pub fn own_ranges(&self) -> Vec<(u64, u64)> {
        let length = leaf_room(self.granularity).next_multiple_of(4096) as u64;
        let leaves = self.leaves.iter().map(|(_, words)| (*words, words.saturating_add(length)));
        let head = (self.head, self.head.saturating_add(END as u64).next_multiple_of(4096));
        let mut all: Vec<(u64, u64)> = [self.agent_data, head].into_iter().chain(leaves).collect();
        all.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, end) in all {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        joined
    }

    /// Where the words of the table lie.
    #[must_use]
    pub fn words(&self) -> Vec<Range> {
        self.leaves.iter().map(|&(_, words)| self.words_of(words)).collect()
    }

    fn words_of(&self, words: u64) -> Range {
        let end = words.saturating_add(leaf_bytes(self.granularity) as u64);
        Range { start: words, end, whole: false }
    }

    /// The blocks that are alive, by address. A process that runs meanwhile may be seen in the middle of a change:
    /// each block is there or not, but two may not have been there at the same time.
    #[must_use]
    pub fn blocks(&self) -> Vec<LiveBlock> {
        let mut blocks = Vec::new();
        for leaf in &self.leaves {
            let range = [self.words_of(leaf.1)];
            if let Ok(Some(room)) = Room::of(self.pid, &range, u64::MAX)
                && let Ok(copied) = Copied::of(self.pid, &range, room)
            {
                self.decode(*leaf, &copied, &mut blocks);
            }
        }
        blocks.sort_unstable_by_key(|block| block.address);
        blocks
    }

    /// The same, from a copy of [`LiveTable::words`].
    #[must_use]
    pub fn blocks_in(&self, copied: &Copied) -> Vec<LiveBlock> {
        let mut blocks = Vec::new();
        self.leaves.iter().for_each(|leaf| self.decode(*leaf, copied, &mut blocks));
        blocks.sort_unstable_by_key(|block| block.address);
        blocks
    }

    fn decode(&self, (span, words): (u64, u64), copied: &Copied, blocks: &mut Vec<LiveBlock>) {
        let Range { start, end, .. } = self.words_of(words);
        for (address, bytes) in copied.between(start, end) {
            let found = bytes.chunks_exact(8).zip((address - words) / 8..);
            blocks.extend(found.filter_map(|(bytes, index)| {
                let block = Block::unpack(u64::from_ne_bytes(bytes.try_into().ok()?))?;
                let address = (span << LEAF_SPAN_BITS) | (index << self.granularity);
                Some(LiveBlock { address, block })
            }));
        }
    }
}

//! The table of live blocks, which the agent keeps in the target's own memory and the controller reads from there.
//!
//! One word for each place where a block can begin, found by the block's address in two steps: a directory by the
//! upper bits leads to a leaf, which has a word for every 16 (or 8) bytes of 16 MiB of addresses. It lies in the
//! target's private memory, and is empty in a forked child, which follows nothing of its own unless it joins too.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of addresses that one leaf stands for, as a power of two.
pub const LEAF_SPAN_BITS: u32 = 24;
/// Entries of the directory: user addresses have 47 bits.
pub const DIRECTORY: usize = 1 << (47 - LEAF_SPAN_BITS);
/// Most leaves: 64 GiB of heap.
pub const LEAVES: usize = 1 << 12;
/// Offset of the list of leaves from the head.
pub const LIST_AT: usize = 4096;
/// Offset of the directory from the head.
pub const DIRECTORY_AT: usize = LIST_AT + LEAVES * size_of::<Leaf>();
/// Length of head, list and directory.
pub const END: usize = DIRECTORY_AT + DIRECTORY * 8;

/// Start of the table.
#[repr(C)]
pub struct Head {
    /// 1 in the process that joined the trial; 0 in its forked children.
    pub own: AtomicU32,
    /// Blocks begin at multiples of two to this power: 4 for glibc, 3 for allocators that pack 8-byte blocks.
    pub granularity: AtomicU32,
    /// Leaves in use.
    pub leaves: AtomicU64,
}

/// One leaf: which addresses it stands for, and where it lies. The second is written last.
#[repr(C)]
pub struct Leaf {
    /// Address of a block, without its lower [`LEAF_SPAN_BITS`] bits.
    pub span: AtomicU64,
    /// Address of the leaf's words; 0 until it is there.
    pub words: AtomicU64,
}

/// Bytes of the words of a leaf whose blocks begin at multiples of two to the power of `granularity`.
#[must_use]
pub const fn leaf_bytes(granularity: u32) -> usize {
    8 << (LEAF_SPAN_BITS - granularity)
}

/// Addresses that one byte of a leaf's summary stands for, as a power of two.
pub const PAGE_BITS: u32 = 12;
/// Bytes of a leaf's summary, which lies behind its words.
pub const SUMMARY: usize = 1 << (LEAF_SPAN_BITS - PAGE_BITS);

/// Bytes that a leaf takes with its summary.
#[must_use]
pub const fn leaf_room(granularity: u32) -> usize {
    leaf_bytes(granularity) + SUMMARY
}

const ROUND_BITS: u32 = 14;
const SITE_BITS: u32 = 18;

/// The last round that can be told from those after it.
pub const LAST_ROUND: u32 = (1 << ROUND_BITS) - 1;

/// What stands for the round of a block while a load is watched over: it lives.
pub const ALIVE: u32 = 1;
/// The same: it was freed, and no other block has begun at its address since.
pub const FREED: u32 = 2;

const _: () = assert!(1 << SITE_BITS >= crate::layout::SITES);

/// What is kept of a live block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Index in the site table.
    pub site: u32,
    /// Round in which it was allocated, from 1 to [`LAST_ROUND`].
    pub round: u32,
    /// Bytes asked for; from 4 GiB on, 4 GiB less one.
    pub bytes: u64,
}

impl Block {
    /// The block as a word, which is never 0.
    #[inline]
    #[must_use]
    pub fn pack(self) -> u64 {
        let round = u64::from(if self.round < 1 { 1 } else { self.round.min(LAST_ROUND) });
        let bytes = if self.bytes > u64::from(u32::MAX) { u64::from(u32::MAX) } else { self.bytes };
        (u64::from(self.site) << (32 + ROUND_BITS)) | (round << 32) | bytes
    }

    /// The block that a word stands for; `None` for 0.
    #[must_use]
    pub fn unpack(word: u64) -> Option<Block> {
        let round = (word >> 32) as u32 & LAST_ROUND;
        let block =
            Block { site: (word >> (32 + ROUND_BITS)) as u32, round, bytes: word & u64::from(u32::MAX) };
        (round != 0).then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_packing() {
        for site in [0, 1, (1 << SITE_BITS) - 1] {
            for round in [1, 61, LAST_ROUND] {
                for bytes in [0, 64, u64::from(u32::MAX)] {
                    let block = Block { site, round, bytes };
                    assert_eq!(Block::unpack(block.pack()), Some(block));
                }
            }
        }
        assert_eq!(Block::unpack(0), None);
    }

    #[test]
    fn what_does_not_fit_is_bounded() {
        let block = Block { site: 3, round: LAST_ROUND + 7, bytes: 1 << 40 }.pack();
        let bounded = Block { site: 3, round: LAST_ROUND, bytes: u64::from(u32::MAX) };
        assert_eq!(Block::unpack(block), Some(bounded));
    }
}

//! Which blocks nothing points to any more: a conservative scan of a process's memory, as Boehm's collector and
//! LeakSanitizer do it.
//!
//! Every aligned word that could be the address of a block, or of a place inside one, is taken for a pointer. Words
//! outside of blocks are roots; words inside a block count once that block is reached. What is not known to be a block,
//! such as one allocated before anybody looked, is a root too: so a block called unreachable is one, while some that
//! are called reachable may not be.

use std::io;
use std::time::{Duration, Instant};

use memtrial_target::attach::Stopped;
use memtrial_target::copied::{Copied, Range, Room};
use memtrial_target::live::{LiveBlock, LiveTable};
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::{Area, mapped};

use super::seen::own_areas;

/// Most memory that is copied for a scan.
const MOST: u64 = 4 << 30;
/// Bytes below the stack pointer that a function may use (System V ABI, AMD64).
const RED_ZONE: u64 = 128;
const WORD: usize = 8;

/// The memory of a process, copied at one moment.
#[derive(Debug, Default)]
pub struct Copy {
    copied: Copied,
    /// Start and end of what can hold pointers.
    roots: Vec<(u64, u64)>,
    /// What the registers of all threads hold.
    registers: Vec<u64>,
}

/// The living blocks of a process and what points to them.
pub struct Scene {
    /// The blocks, by address.
    pub blocks: Vec<LiveBlock>,
    /// The memory of the same moment.
    pub copy: Copy,
    /// How long the process had to stand still.
    pub stood: Duration,
}

/// Why there is no scene.
#[derive(Debug, thiserror::Error)]
pub enum NoScene {
    /// The agent keeps no table there.
    #[error("the process ended before its blocks were looked at")]
    Gone,
    /// It holds too much.
    #[error("it holds more than 4 GiB, or more than half of the memory that this machine can spare")]
    TooMuch,
    /// It can't be stopped.
    #[error(transparent)]
    Stop(#[from] memtrial_target::attach::AttachError),
    /// It can't be read.
    #[error("its memory can't be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Scene {
    /// Stops the process, and copies what can hold pointers along with the agent's table.
    ///
    /// # Errors
    /// Why that can't be done; the process goes on in any case.
    pub fn of(pid: i32, memory: &SharedMemory) -> Result<Scene, NoScene> {
        let (_, ranges, _) = layout(pid, memory, &[])?;
        let room = Room::of(pid, &ranges, MOST)?.ok_or(NoScene::TooMuch)?;
        let stopped = Stopped::all(pid)?;
        let threads = stopped.words();
        let scene = Scene::standing(pid, memory, &threads, room);
        let since = stopped.since();
        drop(stopped);
        let stood = since.elapsed();
        scene.map(|(table, copy)| Scene { blocks: table.blocks_in(&copy.copied), copy, stood })
    }

    /// The same for a process that stands still already, because it is about to exit.
    ///
    /// # Errors
    /// As for [`Scene::of`].
    pub fn of_ending(pid: i32, memory: &SharedMemory) -> Result<Scene, NoScene> {
        let begun = Instant::now();
        let (_, ranges, _) = layout(pid, memory, &[])?;
        let room = Room::of(pid, &ranges, MOST)?.ok_or(NoScene::TooMuch)?;
        let (table, copy) = Scene::standing(pid, memory, &[], room)?;
        Ok(Scene { blocks: table.blocks_in(&copy.copied), copy, stood: begun.elapsed() })
    }

    fn standing(
        pid: i32,
        memory: &SharedMemory,
        threads: &[Vec<u64>],
        room: Room,
    ) -> Result<(LiveTable, Copy), NoScene> {
        // Mappings and leaves may have come since the room was made.
        let (table, ranges, roots) = layout(pid, memory, threads)?;
        let copied = Copied::of(pid, &ranges, room)?;
        let registers = threads.iter().flatten().copied().collect();
        Ok((table, Copy { copied, roots, registers }))
    }
}

type Layout = (LiveTable, Vec<Range>, Vec<(u64, u64)>);

/// The agent's table, all that is to be copied, and what of it can hold pointers. `threads` holds each thread's stack
/// pointer first, then its other registers.
fn layout(pid: i32, memory: &SharedMemory, threads: &[Vec<u64>]) -> Result<Layout, NoScene> {
    let table = LiveTable::of(pid, memory)?.ok_or(NoScene::Gone)?;
    let areas = mapped(pid)?;
    let own = table.own_ranges();
    let left_out = own_areas(&areas, &own);
    let holds_pointers = |area: &&Area| {
        let overlaps = |&(start, end): &(u64, u64)| area.start < end && start < area.end;
        area.permissions.starts_with("rw") && !left_out.iter().any(overlaps)
    };
    let mut ranges = table.words();
    let mut roots = Vec::new();
    for area in areas.iter().filter(holds_pointers) {
        // Below a stack pointer is what functions that have returned left behind.
        let stack =
            threads.iter().filter_map(|thread| thread.first()).find(|sp| (area.start..area.end).contains(sp));
        let start = stack.map_or(area.start, |sp| sp.saturating_sub(RED_ZONE).max(area.start) & !7);
        ranges.push(Range { start, end: area.end, whole: area.permissions.ends_with('s') });
        roots.push((start, area.end));
    }
    Ok((table, ranges, roots))
}

impl Copy {
    /// For each of `blocks` (by address) whether nothing points to it.
    #[must_use]
    pub fn unreachable(&self, blocks: &[LiveBlock]) -> Vec<bool> {
        let mut scan = Scan { blocks, reached: vec![false; blocks.len()], open: Vec::new() };
        self.registers.iter().for_each(|&word| scan.take(word));
        let parts = self.roots.iter().flat_map(|&(start, end)| self.copied.between(start, end));
        for (start, bytes) in parts {
            // Blocks and words both go by address, so one walk tells which words lie in a block.
            let mut next = blocks.partition_point(|block| end_of(block) <= start);
            for (word, address) in words(bytes).zip((start..).step_by(WORD)) {
                while blocks.get(next).is_some_and(|block| end_of(block) <= address) {
                    next += 1;
                }
                if blocks.get(next).is_none_or(|block| address < block.address) {
                    scan.take(word);
                }
            }
        }
        while let Some(index) = scan.open.pop() {
            self.inside(&blocks[index]).for_each(|word| scan.take(word));
        }
        scan.reached.iter().map(|reached| !reached).collect()
    }

    fn inside(&self, block: &LiveBlock) -> impl Iterator<Item = u64> {
        let end = block.address.saturating_add(block.block.bytes);
        self.copied.between(block.address, end).flat_map(|(_, bytes)| words(bytes))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(WORD).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
}

/// The first address behind a block; one of no bytes has its own address.
fn end_of(block: &LiveBlock) -> u64 {
    block.address.saturating_add(block.block.bytes.max(1))
}

struct Scan<'a> {
    blocks: &'a [LiveBlock],
    reached: Vec<bool>,
    /// Reached, but not looked into yet.
    open: Vec<usize>,
}

impl Scan<'_> {
    /// Takes a word for a pointer, if it could be one.
    fn take(&mut self, word: u64) {
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else { return };
        if word < first.address || word >= end_of(last) {
            return;
        }
        let Some(index) = self.blocks.partition_point(|block| block.address <= word).checked_sub(1) else {
            return;
        };
        if word < end_of(&self.blocks[index]) && !self.reached[index] {
            self.reached[index] = true;
            self.open.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrial_wire::live::Block;

    fn block(address: u64, bytes: u64) -> LiveBlock {
        LiveBlock { address, block: Block { site: 0, round: 1, bytes } }
    }

    fn part(start: u64, words: &[u64]) -> (u64, Vec<u8>) {
        (start, words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    fn of_parts(parts: &[(u64, Vec<u8>)], registers: &[u64]) -> Copy {
        let roots = parts.iter().map(|(start, bytes)| (*start, start + bytes.len() as u64)).collect();
        Copy { copied: Copied::from_parts(parts), roots, registers: registers.to_vec() }
    }

    #[test]
    fn what_a_root_leads_to_is_reachable_and_a_cycle_by_itself_is_not() {
        // The root points into the middle of the first block, that one to the second; the two last point to each other.
        let heap =
            part(0x1000, &[0, 0, 0x1040, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10a0, 0, 0, 0, 0, 0, 0, 0, 0x1060]);
        let copy = of_parts(&[part(0x100, &[7, 0x1018]), heap], &[]);
        let blocks = [block(0x1010, 16), block(0x1040, 16), block(0x1060, 16), block(0x10a0, 8)];
        assert_eq!(copy.unreachable(&blocks), [false, false, true, true]);
    }

    #[test]
    fn a_register_is_a_root_and_an_empty_block_can_be_pointed_to() {
        let copy = of_parts(&[], &[0x2000]);
        assert_eq!(copy.unreachable(&[block(0x2000, 0), block(0x3000, 0)]), [false, true]);
        assert_eq!(Copy::default().unreachable(&[]), Vec::<bool>::new());
    }
}

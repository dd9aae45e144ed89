//! Memory of another process, copied at one moment: into room made before, and without pages that are not there, for
//! the process must stand still meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use crate::memory_of::read_ranges;

const PAGE: u64 = 4096;
/// Entries of the page map that are read at once.
const ENTRIES: usize = 1 << 16;
/// Most bytes copied by one call, so that threads get equal shares.
const PIECE: usize = 1 << 20;
/// Most pieces of one call, by the kernel's limit (IOV_MAX).
const PIECES: usize = 1024;
/// Bytes for which a further thread is worth its start.
const SHARE: usize = 8 << 20;
/// Most threads that copy.
const THREADS: usize = 4;

/// Addresses to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The first behind them.
    pub end: u64,
    /// Whether pages count that the process has not touched itself: those of shared memory may hold what others wrote.
    pub whole: bool,
}

/// Room for a copy, made and touched before the process has to stand still.
#[derive(Debug)]
pub struct Room {
    bytes: Vec<u8>,
}

impl Room {
    /// Room for what `ranges` hold now and a sixteenth more; `None` if that is more than `most` bytes, or more than
    /// half of the memory that this machine can spare.
    ///
    /// # Errors
    /// When the page map of the process can't be read.
    pub fn of(pid: i32, ranges: &[Range], most: u64) -> io::Result<Option<Room>> {
        let held: u64 = present(pid, ranges)?.iter().map(|(start, end)| end - start).sum();
        let wanted = held + held / 16 + (1 << 20);
        if held > most || available_memory().is_some_and(|bytes| wanted > bytes / 2) {
            return Ok(None);
        }
        // Not zeros, of which the kernel would make pages only when they are written.
        Ok(usize::try_from(wanted).ok().map(|wanted| Room { bytes: vec![1; wanted] }))
    }
}

/// Bytes of memory that can be had, from `/proc/meminfo`.
#[must_use]
pub fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A copy.
#[derive(Debug, Default)]
pub struct Copied {
    bytes: Vec<u8>,
    /// Address, place in `bytes` and length of each part, by address.
    parts: Vec<(u64, usize, usize)>,
}

impl Copied {
    /// Copies `ranges`. What can't be read is as if it held zeros.
    ///
    /// # Errors
    /// When the page map of the process can't be read.
    pub fn of(pid: i32, ranges: &[Range], room: Room) -> io::Result<Copied> {
        let mut bytes = room.bytes;
        let mut parts = Vec::new();
        let mut pieces = Vec::new();
        let mut at = 0;
        for (start, end) in present(pid, ranges)? {
            let length = usize::try_from(end - start).unwrap_or(0);
            parts.push((start, at, length));
            let cut = (0..length).step_by(PIECE);
            pieces.extend(cut.map(|from| (start + from as u64, PIECE.min(length - from))));
            at += length;
        }
        bytes.resize(at, 1);
        read_all(pid, &pieces, &mut bytes);
        Ok(Copied { bytes, parts })
    }

    /// A copy of memory that has these parts.
    #[must_use]
    pub fn from_parts(parts: &[(u64, Vec<u8>)]) -> Copied {
        let mut copied = Copied::default();
        for (start, bytes) in parts {
            copied.parts.push((*start, copied.bytes.len(), bytes.len()));
            copied.bytes.extend(bytes);
        }
        copied.parts.sort_unstable();
        copied
    }

    /// What lies from `start` to before `end`: each stretch's address and bytes. Between them are zeros.
    pub fn between(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let first = self.parts.partition_point(|(address, _, length)| address + *length as u64 <= start);
        let parts = self.parts[first..].iter().take_while(move |(address, ..)| *address < end);
        parts.map(move |&(address, at, length)| {
            let from = usize::try_from(start.saturating_sub(address)).map_or(length, |from| from.min(length));
            let to = usize::try_from(end - address).map_or(length, |to| to.min(length)).max(from);
            (address + from as u64, &self.bytes[at + from..at + to])
        })
    }
}

/// Fills `bytes` with the pieces, one behind the other, by several threads.
fn read_all(pid: i32, pieces: &[(u64, usize)], bytes: &mut [u8]) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (bytes.len() / SHARE).clamp(1, processors.min(THREADS));
    let share = bytes.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let (mut pieces, mut bytes) = (pieces, bytes);
        while !pieces.is_empty() {
            let mut length = 0;
            let count = pieces.iter().take_while(|(_, piece)| {
                let begins = length < share;
                length += if begins { *piece } else { 0 };
                begins
            });
            let (ours, others) = pieces.split_at(count.count());
            let (room, rest) = bytes.split_at_mut(length);
            (pieces, bytes) = (others, rest);
            if pieces.is_empty() {
                read(pid, ours, room);
            } else {
                scope.spawn(move || read(pid, ours, room));
            }
        }
    });
}

fn read(pid: i32, pieces: &[(u64, usize)], mut bytes: &mut [u8]) {
    for some in pieces.chunks(PIECES) {
        let (room, rest) = bytes.split_at_mut(some.iter().map(|(_, length)| length).sum());
        bytes = rest;
        if read_ranges(pid, some, room) == room.len() {
            continue;
        }
        // Some page is gone, or of a device: the others one by one.
        let mut room = room;
        for &(start, length) in some {
            let (page, rest) = room.split_at_mut(length);
            room = rest;
            for (address, page) in (start..).step_by(PAGE as usize).zip(page.chunks_mut(PAGE as usize)) {
                if read_ranges(pid, &[(address, page.len())], page) != page.len() {
                    page.fill(0);
                }
            }
        }
    }
}

/// The parts of `ranges` that have pages, in memory or swapped out, by address.
fn present(pid: i32, ranges: &[Range]) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable_by_key(|range| range.start);
    let map = File::open(format!("/proc/{pid}/pagemap"))?;
    let mut buffer = vec![0; ENTRIES * 8];
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut take = |start: u64, end: u64| match found.last_mut() {
        Some(last) if start <= last.1 => last.1 = last.1.max(end),
        _ => found.push((start, end)),
    };
    for range in ranges {
        if range.whole {
            take(range.start, range.end);
            continue;
        }
        let (mut page, last) = (range.start / PAGE, range.end.div_ceil(PAGE));
        while page < last {
            let wanted = usize::try_from(last - page).unwrap_or(ENTRIES).min(ENTRIES) * 8;
            let read = map.read_at(&mut buffer[..wanted], page * 8)? / 8;
            if read == 0 {
                break;
            }
            for entry in buffer[..read * 8].chunks_exact(8) {
                if is_there(u64::from_ne_bytes(entry.try_into().unwrap_or_default())) {
                    take((page * PAGE).max(range.start), ((page + 1) * PAGE).min(range.end));
                }
                page += 1;
            }
        }
    }
    Ok(found)
}

/// Bits 63 and 62 of an entry: present, swapped (Documentation/admin-guide/mm/pagemap.rst).
fn is_there(entry: u64) -> bool {
    entry >> 62 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(ranges: &[Range]) -> Copied {
        let pid = std::process::id().cast_signed();
        let room = Room::of(pid, ranges, 1 << 30).expect("our own page map").expect("enough memory");
        Copied::of(pid, ranges, room).expect("our own page map")
    }

    #[test]
    fn our_own_memory_is_copied_in_several_shares_and_pages_never_touched_are_not() {
        let mut memory = vec![0u64; 6 << 20];
        let start = memory.as_ptr() as u64;
        let end = start + memory.len() as u64 * 8;
        let touched: Vec<usize> = (0..memory.len()).step_by(512).filter(|n| n / 512 % 7 != 3).collect();
        touched.iter().for_each(|&n| memory[n] = n as u64 + 1);
        let copied = copy(&[Range { start, end, whole: false }]);
        let mut words = Vec::new();
        for (address, bytes) in copied.between(start, end) {
            let addresses = (address..).step_by(8);
            let these =
                bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")));
            words.extend(addresses.zip(these).filter(|(_, word)| *word != 0));
        }
        let expected: Vec<(u64, u64)> =
            touched.iter().map(|&n| (start + n as u64 * 8, n as u64 + 1)).collect();
        assert_eq!(words, expected);
        assert!(!copied.bytes.is_empty());
    }

    #[test]
    fn a_part_is_cut_where_asked_and_what_was_not_copied_is_left_out() {
        let copied = Copied::from_parts(&[(0x2000, vec![5; 16]), (0x1000, (0..64).collect())]);
        let cut: Vec<_> = copied.between(0x1010, 0x2008).collect();
        assert_eq!(cut, [(0x1010, &(16..64).collect::<Vec<u8>>()[..]), (0x2000, &[5; 8][..])]);
        assert_eq!(copied.between(0x1800, 0x1900).count(), 0);
    }

    #[test]
    fn what_is_too_much_is_not_copied_and_a_hole_reads_as_zeros() {
        let pid = std::process::id().cast_signed();
        let hole = Range { start: 0x1000, end: 0x3000, whole: true };
        assert!(Room::of(pid, &[hole], 4096).expect("our own page map").is_none());
        assert!(copy(&[hole]).between(0, 0x4000).all(|(_, bytes)| bytes.iter().all(|byte| *byte == 0)));
    }
}

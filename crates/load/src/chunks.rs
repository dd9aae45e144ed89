//! The chunks of one owner: an array without holes, and where they are to be found by size, an index.

use core::ptr::NonNull;

use crate::budget::Budget;
use crate::by_size::BySize;
use crate::host::Host;
use crate::mapped::Zeroable;
use crate::segments::Segments;

/// A chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Where it is.
    pub address: NonNull<u8>,
    /// Its size, which is not 0.
    pub bytes: u64,
    /// Which allocation of its owner it came from, from 1.
    pub number: u64,
    /// Whether it is filled with the pattern.
    pub filled: bool,
}

/// A chunk as it is kept.
#[derive(Debug, Clone, Copy)]
struct Entry {
    address: *mut u8,
    bytes: u64,
    /// Twice the number; 1 more if it is filled.
    number: u64,
}

// SAFETY: a null pointer and two numbers.
unsafe impl Zeroable for Entry {}

impl Entry {
    fn new(chunk: Chunk) -> Entry {
        let number = chunk.number << 1 | u64::from(chunk.filled);
        Entry { address: chunk.address.as_ptr(), bytes: chunk.bytes, number }
    }
}

/// All chunks of an owner.
#[derive(Debug, Default)]
pub struct Chunks {
    entries: Segments<Entry>,
    bytes: u64,
    by_size: Option<BySize>,
}

impl Chunks {
    /// None yet; they can be found by size.
    #[must_use]
    pub fn by_size() -> Chunks {
        Chunks { by_size: Some(BySize::default()), ..Chunks::default() }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Bytes in all.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes sure that a chunk of this size can be added, or one be made that size; says whether it can.
    #[must_use]
    #[inline]
    pub fn prepare<H: Host>(&mut self, bytes: u64, host: &H, budget: &Budget) -> bool {
        self.entries.prepare(host, budget)
            && self.by_size.as_mut().is_none_or(|by_size| by_size.prepare(bytes, host, budget))
    }

    /// Adds a chunk; [`Chunks::prepare`] made room for it.
    #[inline]
    pub fn push(&mut self, chunk: Chunk) {
        self.entries.push(Entry::new(chunk));
        self.bytes += chunk.bytes;
        if let Some(by_size) = &mut self.by_size {
            by_size.appended(chunk.bytes);
        }
    }

    /// A chunk, by its place, which changes when others are removed.
    #[must_use]
    #[inline]
    pub fn get(&self, index: u32) -> Option<Chunk> {
        if index >= self.len() {
            return None;
        }
        let entry = self.entries.get(index);
        let (number, filled) = (entry.number >> 1, entry.number & 1 != 0);
        NonNull::new(entry.address).map(|address| Chunk { address, bytes: entry.bytes, number, filled })
    }

    /// Puts a chunk in place of another; [`Chunks::prepare`] made room for its size.
    pub fn replace(&mut self, index: u32, chunk: Chunk) {
        let old = self.entries.get(index).bytes;
        self.entries.set(index, Entry::new(chunk));
        self.bytes = self.bytes - old + chunk.bytes;
        if let Some(by_size) = &mut self.by_size {
            by_size.resized(index, old, chunk.bytes);
        }
    }

    /// Takes a chunk out; the last one gets its place.
    pub fn remove<H: Host>(&mut self, index: u32, host: &H, budget: &Budget) {
        let removed = self.entries.get(index);
        let Some(last) = self.entries.pop(host, budget) else { return };
        if index < self.len() {
            self.entries.set(index, last);
        }
        self.bytes -= removed.bytes;
        if let Some(by_size) = &mut self.by_size {
            by_size.removed(index, removed.bytes, last.bytes, host, budget);
        }
    }

    /// A chunk to be freed when so many bytes are wanted: one that is not larger, as large as there are; else the
    /// smallest.
    #[must_use]
    pub fn to_free(&self, bytes: u64) -> Option<u32> {
        let by_size = self.by_size.as_ref()?;
        let size = |index| self.entries.get(index).bytes;
        by_size.at_most(bytes, size).or_else(|| by_size.larger(bytes, size))
    }

    /// Forgets all chunks and gives the memory of the bookkeeping back.
    pub fn clear<H: Host>(&mut self, host: &H, budget: &Budget) {
        self.entries.clear(host, budget);
        self.bytes = 0;
        if let Some(by_size) = &mut self.by_size {
            by_size.clear(host, budget);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn a_chunk_is_kept_whole_and_the_last_takes_the_place_of_a_removed_one() {
        let (host, budget) = (Fake::default(), Budget::new(1 << 30));
        let mut chunks = Chunks::by_size();
        let chunk = |number: u64| Chunk {
            address: NonNull::without_provenance(
                core::num::NonZero::new(number as usize * 64).expect("not 0"),
            ),
            bytes: number * 10,
            number,
            filled: number % 2 == 1,
        };
        for number in 1..=4 {
            assert!(chunks.prepare(number * 10, &host, &budget));
            chunks.push(chunk(number));
        }
        assert_eq!((chunks.len(), chunks.bytes()), (4, 100));
        chunks.remove(1, &host, &budget);
        assert_eq!([0, 1, 2].map(|index| chunks.get(index)), [1, 4, 3].map(|number| Some(chunk(number))));
        assert_eq!(chunks.get(3), None);
        assert_eq!((chunks.to_free(39), chunks.to_free(5)), (Some(2), Some(0)));
        chunks.remove(2, &host, &budget);
        assert_eq!((chunks.to_free(39), chunks.bytes()), (Some(0), 50));
        chunks.clear(&host, &budget);
        assert_eq!((chunks.len(), chunks.bytes(), budget.held(), host.mapped()), (0, 0, 0, 0));
    }
}

//! What is known of chunks that somebody else has written to.

use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::budget::Budget;
use crate::chunks::Chunk;
use crate::host::{Host, Surroundings};
use crate::mapped::{Mapped, Zeroable};
use crate::pattern::{self, Difference};

/// Records kept; what is found later is counted.
pub const RECORDS: usize = 64;
/// Bytes of a record's evidence.
const EVIDENCE: u64 = 32;
/// What the records take.
const TABLE_BYTES: u64 = match Mapped::<Slot>::bytes(RECORDS) {
    Some(bytes) => bytes as u64,
    None => 0,
};

/// Whose a chunk is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin {
    /// The test; 0: it was allocated by a command.
    pub test: u64,
    /// The host's number for the call stack.
    pub stack: u32,
}

/// A chunk that was found overwritten.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Where it is.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
    /// Where it differs.
    pub difference: Difference,
    /// What should be there.
    expected: [u8; EVIDENCE as usize],
    /// What is.
    found: [u8; EVIDENCE as usize],
    /// Which allocation of its owner it came from.
    pub number: u64,
    /// Its owner.
    pub origin: Origin,
    /// The number of the command that found it; 0: a test did.
    pub finder: u64,
    /// What the host knew of its surroundings when it was found.
    pub surroundings: Surroundings,
}

impl Record {
    fn new(chunk: &Chunk, difference: Difference, origin: Origin, finder: u64) -> Record {
        let mut record = Record {
            address: chunk.address.addr().get() as u64,
            bytes: chunk.bytes,
            difference,
            expected: [0; EVIDENCE as usize],
            found: [0; EVIDENCE as usize],
            number: chunk.number,
            origin,
            finder,
            surroundings: [0; 4],
        };
        let length = record.evidence();
        for (offset, byte) in (difference.offset..).zip(&mut record.expected[..length]) {
            *byte = pattern::expected(chunk.address, offset);
        }
        // SAFETY: a chunk that is not freed; the difference lies in it.
        unsafe { pattern::read(chunk.address, difference.offset as usize, &mut record.found[..length]) };
        record
    }

    fn evidence(&self) -> usize {
        self.difference.length.min(EVIDENCE) as usize
    }

    /// What should be at the place that differs, its first bytes.
    #[must_use]
    pub fn expected(&self) -> &[u8] {
        &self.expected[..self.evidence()]
    }

    /// What is there.
    #[must_use]
    pub fn found(&self) -> &[u8] {
        &self.found[..self.evidence()]
    }
}

/// Room for a record.
struct Slot {
    written: AtomicBool,
    record: UnsafeCell<Record>,
}

// SAFETY: false and numbers.
unsafe impl Zeroable for Slot {}

/// All that was found.
#[derive(Debug)]
pub struct Overwritten {
    count: AtomicU64,
    /// RECORDS of them; null: there is no room.
    slots: AtomicPtr<Slot>,
}

impl Overwritten {
    /// Nothing found yet. Where there is no room for records, it counts only.
    pub fn new<H: Host>(host: &H, budget: &Budget) -> Overwritten {
        let mut slots = null_mut();
        if budget.take_bookkeeping(TABLE_BYTES) {
            match host.map(TABLE_BYTES as usize) {
                Some(memory) => slots = memory.cast().as_ptr(),
                None => budget.give_back_bookkeeping(TABLE_BYTES),
            }
        }
        Overwritten { count: AtomicU64::new(0), slots: AtomicPtr::new(slots) }
    }

    /// Keeps what was found. The chunk must not be freed.
    pub fn add<H: Host>(&self, host: &H, chunk: &Chunk, difference: Difference, origin: Origin, finder: u64) {
        let place = self.count.fetch_add(1, Ordering::Relaxed);
        let slots = self.slots.load(Ordering::Acquire);
        if place >= RECORDS as u64 || slots.is_null() {
            return;
        }
        let mut record = Record::new(chunk, difference, origin, finder);
        record.surroundings = host.surroundings(record.address, difference.offset);
        // SAFETY: there is room for RECORDS slots, and the count gave this one to this caller alone.
        let slot = unsafe { &*slots.add(place as usize) };
        // SAFETY: nobody reads it before it is said to be written.
        unsafe { *slot.record.get() = record };
        slot.written.store(true, Ordering::Release);
    }

    /// How many chunks were found overwritten.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The records so far.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let slots = self.slots.load(Ordering::Acquire);
        (0..if slots.is_null() { 0 } else { RECORDS }).filter_map(move |place| {
            // SAFETY: there is room for RECORDS slots, zeroed or written to by `add`.
            let slot = unsafe { &*slots.add(place) };
            // SAFETY: once it is said to be written, nobody writes to it any more.
            slot.written.load(Ordering::Acquire).then(|| unsafe { &*slot.record.get() })
        })
    }

    /// Gives the records' memory back; from now on it counts only.
    ///
    /// # Safety
    /// No other thread may use it any more, and nobody hold a record.
    pub unsafe fn end<H: Host>(&self, host: &H, budget: &Budget) {
        let slots = self.slots.swap(null_mut(), Ordering::AcqRel);
        if let Some(memory) = core::ptr::NonNull::new(slots) {
            // SAFETY: mapped by `new` with this length; the caller promises that it is not used any more.
            unsafe { host.unmap(memory.cast(), TABLE_BYTES as usize) };
            budget.give_back_bookkeeping(TABLE_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use std::ptr::NonNull;

    #[test]
    fn the_first_are_kept_and_all_are_counted() {
        let (host, budget) = (Fake::default(), Budget::new(1 << 20));
        let overwritten = Overwritten::new(&host, &budget);
        let memory = [7_u64; 16];
        std::thread::scope(|scope| {
            for test in 1..=4 {
                let (host, overwritten, memory) = (&host, &overwritten, &memory);
                scope.spawn(move || {
                    let address = NonNull::from(memory).cast();
                    let chunk = Chunk { address, bytes: 128, number: 5, filled: true };
                    for _ in 0..20 {
                        let difference = Difference { offset: 8, length: test };
                        overwritten.add(host, &chunk, difference, Origin { test, stack: 0 }, 0);
                    }
                });
            }
        });
        assert_eq!(overwritten.count(), 80);
        let records: Vec<_> = overwritten.records().copied().collect();
        assert_eq!(records.len(), RECORDS);
        for record in records {
            assert_eq!(record.difference.length, record.origin.test, "no record is mixed of two");
            assert_eq!(record.found(), &7_u64.to_ne_bytes()[..record.origin.test as usize]);
        }
        // SAFETY: all threads have ended, and the records above are copies.
        unsafe { overwritten.end(&host, &budget) };
        assert_eq!((overwritten.records().count(), overwritten.count()), (0, 80));
        assert_eq!((budget.held(), host.mapped()), (0, 0));
    }
}

//! What is counted of an owner's chunks, to be read by other threads at any time.

use core::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes it this one.
    #[inline]
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Adds to it, for its one writer.
    #[inline]
    pub fn add(&self, number: u64) {
        self.set(self.get().wrapping_add(number));
    }
}

/// The numbers of an owner.
#[derive(Debug, Default)]
pub struct Counters {
    /// Allocations tried, those that resize a chunk among them.
    pub allocations: Counter,
    /// Those that resize a chunk.
    pub reallocs: Counter,
    /// Those that failed.
    pub errors: Counter,
    /// How often the total was reached and all was freed.
    pub overflows: Counter,
    /// Bytes allocated in all.
    pub allocated: Counter,
    /// Bytes in chunks, without those overwritten.
    pub live: Counter,
    /// Chunks, without those overwritten.
    pub chunks: Counter,
    /// Chunks whose contents were looked at.
    pub checked: Counter,
    /// Chunks found overwritten, all of which are still there.
    pub overwritten: Counter,
    /// Their bytes.
    pub overwritten_bytes: Counter,
}

/// Chunks, or what happened to some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many were found overwritten instead.
    pub overwritten: u64,
}

impl Counters {
    /// All chunks that are there.
    #[must_use]
    pub fn present(&self) -> Sum {
        Sum {
            chunks: self.chunks.get() + self.overwritten.get(),
            bytes: self.live.get() + self.overwritten_bytes.get(),
            overwritten: self.overwritten.get(),
        }
    }
}

impl core::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Sum) {
        self.chunks += other.chunks;
        self.bytes += other.bytes;
        self.overwritten += other.overwritten;
    }
}

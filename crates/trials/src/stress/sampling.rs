//! Figures of a process while it is loaded: often enough to see its peaks, never more than can be kept.

use std::time::Duration;

use memtrial_report::stress::{Memory, Peak, Sample};
use memtrial_target::observe::Reading;

use super::answers::{Status, Totals};

/// Between two samples at first.
const APART: Duration = Duration::from_millis(250);
/// Before the second sample, then twice as long each time: a process may not live for long.
const FIRST: Duration = Duration::from_millis(10);
/// With so many, every second one is left out, and the others are taken half as often.
const MOST: usize = 2000;
/// A process that has grown by less tells nothing about how memory is used.
const LEAST_GROWTH: u64 = 1 << 20;

/// The samples of one process, and the most that it held.
#[derive(Debug)]
pub struct Series {
    /// By time.
    pub samples: Vec<Sample>,
    /// Of all that were ever taken.
    pub peak: Peak,
    /// Resident memory at the moment that the rest of the peak is from.
    fullest: u64,
    apart: Duration,
    before: Memory,
    /// Memory of the agent's own before the load.
    bookkeeping: u64,
}

/// What a reading says of memory, as the report has it.
#[must_use]
pub fn memory(reading: &Reading) -> Memory {
    let private = reading.anonymous.saturating_add(reading.swap).saturating_sub(reading.lazy_free);
    Memory { resident: reading.resident, private }
}

/// The share of what a process has grown by that is in no chunk, from 0 to 1; `None` below a growth of 1 MiB.
#[must_use]
pub fn fragmentation(live: u64, growth: u64) -> Option<f64> {
    (growth >= LEAST_GROWTH).then(|| (1.0 - live as f64 / growth as f64).clamp(0.0, 1.0))
}

impl Series {
    /// No samples yet of a process that held so much before, `bookkeeping` of it the agent's.
    #[must_use]
    pub fn new(before: Memory, bookkeeping: u64) -> Series {
        Series { samples: Vec::new(), peak: Peak::default(), fullest: 0, apart: APART, before, bookkeeping }
    }

    /// How long to wait for the next one.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let doubled = u32::try_from(self.samples.len()).ok().and_then(|number| 2u32.checked_pow(number));
        doubled.and_then(|factor| FIRST.checked_mul(factor)).map_or(self.apart, |first| first.min(self.apart))
    }

    /// What the process holds under load, `seconds` after it began.
    #[must_use]
    pub fn sample(&self, seconds: f64, totals: &Totals, status: &Status, now: Memory) -> Sample {
        let bookkeeping = status.bookkeeping.saturating_sub(self.bookkeeping);
        let growth = now.private.saturating_sub(self.before.private).saturating_sub(bookkeeping);
        Sample {
            seconds,
            allocations: totals.allocations,
            errors: totals.errors,
            overflows: totals.overflows,
            overwritten: totals.overwritten.max(status.overwritten_count),
            live: totals.live,
            chunks: totals.chunks,
            resident: now.resident,
            private: now.private,
            fragmentation: fragmentation(totals.live, growth),
        }
    }

    /// Takes a sample in.
    pub fn push(&mut self, sample: Sample) {
        self.peak.resident = self.peak.resident.max(sample.resident);
        // Allocators keep what is freed, so that memory stays at its peak while there are hardly any chunks: of all
        // moments near the peak the one with the most in chunks tells what they take.
        let near = |resident: u64| resident >= self.peak.resident - self.peak.resident / 20;
        if near(sample.resident) && (sample.live > self.peak.live || !near(self.fullest)) {
            self.fullest = sample.resident;
            self.peak.live = sample.live;
            self.peak.fragmentation = sample.fragmentation;
        }
        if self.samples.len() >= MOST {
            let mut number = 0;
            self.samples.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.apart *= 2;
        }
        self.samples.push(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_in_no_chunk_is_fragmentation() {
        assert_eq!(fragmentation(3 * MIB, 4 * MIB), Some(0.25));
        assert_eq!(fragmentation(5 * MIB, 4 * MIB), Some(0.0));
        assert_eq!(fragmentation(0, 4 * MIB), Some(1.0));
        assert_eq!(fragmentation(0, MIB - 1), None);
    }

    #[test]
    fn the_agents_own_memory_is_no_overhead_of_the_allocator() {
        let before = Memory { resident: 10 * MIB, private: 8 * MIB };
        let series = Series::new(before, MIB);
        let totals = Totals { live: 6 * MIB, ..Totals::default() };
        let status = Status { bookkeeping: 3 * MIB, ..Status::default() };
        let now = Memory { resident: 30 * MIB, private: 18 * MIB };
        // Grown by 10 MiB, 2 MiB of them the agent's.
        assert_eq!(series.sample(1.0, &totals, &status, now).fragmentation, Some(0.25));
    }

    #[test]
    fn a_long_run_keeps_its_peak_and_thins_out_the_rest() {
        let mut series = Series::new(Memory::default(), 0);
        let at = |number: u64| Sample {
            seconds: number as f64,
            resident: if number == 1001 { 500 } else { number % 400 },
            live: number,
            ..Sample::default()
        };
        (0..10_000).for_each(|number| series.push(at(number)));
        assert!((1000..=MOST).contains(&series.samples.len()), "{}", series.samples.len());
        assert!(series.samples.windows(2).all(|pair| pair[0].seconds < pair[1].seconds));
        assert_eq!(series.samples[0].seconds, 0.0);
        assert_eq!((series.peak.resident, series.peak.live), (500, 1001));
        assert!(series.pause() > APART);
    }

    #[test]
    fn what_is_kept_after_freeing_is_not_taken_for_what_chunks_need() {
        let mut series = Series::new(Memory::default(), 0);
        let at = |resident, live, fragmentation| Sample {
            resident: resident * MIB,
            live: live * MIB,
            fragmentation: Some(fragmentation),
            ..Sample::default()
        };
        for sample in [at(50, 49, 0.02), at(100, 90, 0.1), at(101, 2, 0.98), at(99, 60, 0.4)] {
            series.push(sample);
        }
        let peak = Peak { resident: 101 * MIB, live: 90 * MIB, fragmentation: Some(0.1) };
        assert_eq!(series.peak, peak);
    }

    proptest! {
        #[test]
        fn any_figures_give_a_share_or_none(live in any::<u64>(), growth in any::<u64>()) {
            if let Some(share) = fragmentation(live, growth) {
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }
    }
}

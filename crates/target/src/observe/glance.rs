//! Full readings no more often than the watching may cost, and the kernel's counters in between.

use std::io;
use std::time::{Duration, Instant};

use super::place::Reading;
use super::procfs::Counters;

/// How many times what a full reading costs must pass before the next one: two thirds of a percent of one core.
const REST: u32 = 150;

/// The last full reading of a process.
#[derive(Debug)]
pub(super) struct Kept {
    full: Reading,
    counters: Option<Counters>,
    made: Instant,
    cost: Duration,
}

impl Kept {
    /// Makes a full reading and keeps it beside the counters of the same moment.
    pub fn of(
        counters: Option<Counters>,
        read: impl FnOnce() -> io::Result<Reading>,
    ) -> io::Result<(Reading, Kept)> {
        let before = processor_time();
        let full = read()?;
        let cost = processor_time().saturating_sub(before);
        Ok((full, Kept { full, counters, made: Instant::now(), cost }))
    }

    /// Whether a full reading may be made again.
    pub fn is_due(&self) -> bool {
        self.counters.is_none() || self.made.elapsed() >= self.cost * REST
    }

    /// The full reading, changed by what the counters have changed. What they do not tell apart stays as it was, or
    /// is what it mostly is: new anonymous memory is private and dirty.
    pub fn changed_by(&self, now: Counters) -> Reading {
        let Some(then) = self.counters else { return self.full };
        let full = self.full;
        let add = |figure: u64, then: u64, now: u64| figure.saturating_add(now).saturating_sub(then);
        let all = |counters: Counters| counters.anonymous + counters.file + counters.shared;
        Reading {
            resident: add(full.resident, all(then), all(now)),
            proportional: add(full.proportional, then.anonymous, now.anonymous),
            private_dirty: add(full.private_dirty, then.anonymous, now.anonymous),
            anonymous: add(full.anonymous, then.anonymous, now.anonymous),
            swap: add(full.swap, then.swap, now.swap),
            ..full
        }
    }
}

/// Processor time that this thread has used.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn counters_change_what_they_tell_of() {
        let full = Reading {
            resident: 100 * KIB,
            proportional: 90 * KIB,
            private_clean: 7 * KIB,
            private_dirty: 80 * KIB,
            anonymous: 80 * KIB,
            swap: 8 * KIB,
            lazy_free: 4 * KIB,
            ..Reading::default()
        };
        let then = Counters { anonymous: 80 * KIB, file: 20 * KIB, shared: 0, swap: 8 * KIB };
        let (same, kept) = Kept::of(Some(then), || Ok(full)).expect("a reading");
        assert_eq!(same, full);
        assert_eq!(kept.changed_by(then), full);
        let now = Counters { anonymous: 84 * KIB, file: 19 * KIB, shared: 2 * KIB, swap: 0 };
        let expected = Reading {
            resident: 105 * KIB,
            proportional: 94 * KIB,
            private_dirty: 84 * KIB,
            anonymous: 84 * KIB,
            swap: 0,
            ..full
        };
        assert_eq!(kept.changed_by(now), expected);
    }

    #[test]
    fn the_dearer_a_reading_the_rarer_it_is() {
        let kept = |cost, counters| Kept { full: Reading::default(), counters, made: Instant::now(), cost };
        assert!(kept(Duration::ZERO, Some(Counters::default())).is_due());
        assert!(!kept(Duration::from_secs(60), Some(Counters::default())).is_due());
        assert!(kept(Duration::from_secs(60), None).is_due(), "without counters there is no other way");
    }
}

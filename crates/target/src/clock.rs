//! Clocks: the processor's time stamp counter, and how the clocks of the system lie to each other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::processes::monotonic;

/// Names what the kernel counts time by.
const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// Between the two readings that are compared.
const APART: Duration = Duration::from_millis(25);
/// How often a reading is tried: the shortest counts, as it was not interrupted.
const TRIES: usize = 16;

/// Ticks a second of the time stamp counter, measured for 25 ms; `None` where the kernel itself does not rely on it, and
/// so where it may not run at one rate on all processors.
#[must_use]
pub fn ticks_per_second() -> Option<u64> {
    if std::fs::read_to_string(SOURCE).ok()?.trim() != "tsc" {
        return None;
    }
    let first = reading();
    std::thread::sleep(APART);
    let second = reading();
    rate(first, second)
}

/// What is added to the time of day in UTC to get the local time, in seconds, as of now.
#[must_use]
pub fn local_offset() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = libc::time_t::try_from(now).unwrap_or(0);
    // SAFETY: plain data that the call fills in.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both live; without a time zone the call leaves UTC.
    unsafe { libc::localtime_r(&raw const now, &raw mut local) };
    local.tm_gmtoff
}

/// The counter and CLOCK_MONOTONIC at one moment.
fn reading() -> (u64, u64) {
    let (before, nanoseconds, after) = shortest(ticks, monotonic);
    (before / 2 + after / 2, nanoseconds)
}

/// Reads `inner` between two readings of `outer`, which are as close together as can be had.
fn shortest(outer: impl Fn() -> u64, inner: impl Fn() -> u64) -> (u64, u64, u64) {
    let once = || (outer(), inner(), outer());
    let width = |(before, _, after): &(u64, u64, u64)| after.wrapping_sub(*before);
    (1..TRIES).fold(once(), |best, _| {
        let next = once();
        if width(&next) < width(&best) { next } else { best }
    })
}

/// Ticks a second by two readings of ticks and nanoseconds.
fn rate(first: (u64, u64), second: (u64, u64)) -> Option<u64> {
    let ticks = u128::from(second.0.checked_sub(first.0)?);
    let nanoseconds = u128::from(second.1.checked_sub(first.1)?);
    let rate = (ticks * 1_000_000_000).checked_div(nanoseconds)?;
    u64::try_from(rate).ok().filter(|rate| *rate > 0)
}

fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; where the kernel forbids it (prctl(PR_SET_TSC)), it does not
    // count time by it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_runs_at_one_rate() {
        let Some(rate) = ticks_per_second() else { return };
        let first = reading();
        std::thread::sleep(Duration::from_millis(50));
        let second = reading();
        let estimate = (second.0 - first.0) as f64 / rate as f64 * 1e9;
        let truth = (second.1 - first.1) as f64;
        assert!((estimate / truth - 1.0).abs() < 0.01, "{estimate} ns for {truth}");
    }

    #[test]
    fn readings_that_make_no_sense_have_no_rate() {
        assert_eq!(rate((0, 0), (3, 1)), Some(3_000_000_000));
        assert_eq!(rate((5, 5), (4, 6)), None);
        assert_eq!(rate((5, 5), (6, 5)), None);
        assert_eq!(rate((5, 5), (5, 6)), None);
    }

    #[test]
    fn local_time_is_within_a_day_of_utc() {
        assert!(local_offset().abs() <= 26 * 3600);
    }
}

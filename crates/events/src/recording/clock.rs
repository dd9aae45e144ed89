//! Times of a recording as nanoseconds of CLOCK_MONOTONIC.

/// Distance of two moments, in nanoseconds, from which on they tell the rate of ticks better than what was measured
/// before the start.
const WORTH: u64 = 100_000_000;

/// A moment: ticks, and nanoseconds of CLOCK_MONOTONIC.
pub(super) type Moment = (u64, u64);

/// What times are counted in.
#[derive(Debug, Clone)]
pub(super) enum Clock {
    Monotonic,
    Ticks { per_second: u64, first: Option<Moment>, last: Option<Moment> },
}

impl Clock {
    /// One that ticks so often in a second; not 0.
    pub fn ticks(per_second: u64) -> Clock {
        Clock::Ticks { per_second, first: None, last: None }
    }

    /// Takes a moment that is known in both.
    pub fn know(&mut self, moment: Moment) {
        if let Clock::Ticks { first, last, .. } = self {
            if first.is_none_or(|first| moment.1 < first.1) {
                *first = Some(moment);
            }
            if last.is_none_or(|last| moment.1 > last.1) {
                *last = Some(moment);
            }
        }
    }

    /// Nanoseconds of CLOCK_MONOTONIC, counted from a moment near by.
    pub fn nanoseconds(&self, time: u64, moment: Moment) -> u64 {
        let Clock::Ticks { .. } = self else { return time };
        let (ticks, nanoseconds) = self.rate();
        let (base, from) = moment;
        let distance = u128::from(time.abs_diff(base)) * u128::from(nanoseconds) / u128::from(ticks);
        let distance = u64::try_from(distance).unwrap_or(u64::MAX);
        if time < base { from.saturating_sub(distance) } else { from.saturating_add(distance) }
    }

    /// So many ticks are so many nanoseconds.
    fn rate(&self) -> (u64, u64) {
        let Clock::Ticks { per_second, first, last } = self else { return (1, 1) };
        let measured = (*per_second, 1_000_000_000);
        let (Some(first), Some(last)) = (first, last) else { return measured };
        let (ticks, nanoseconds) = (last.0.saturating_sub(first.0), last.1.saturating_sub(first.1));
        // What differs much from the measured rate comes from a damaged chunk.
        let expected = u128::from(nanoseconds) * u128::from(*per_second) / 1_000_000_000;
        let near = expected.abs_diff(u128::from(ticks)) <= expected / 1000;
        if nanoseconds >= WORTH && near && ticks > 0 { (ticks, nanoseconds) } else { measured }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_counted_from_the_moment_near_by() {
        let clock = Clock::ticks(2_000_000_000);
        assert_eq!(clock.nanoseconds(1_000, (500, 7_000)), 7_250);
        assert_eq!(clock.nanoseconds(100, (500, 7_000)), 6_800);
        assert_eq!(Clock::Monotonic.nanoseconds(1_000, (500, 7_000)), 1_000);
    }

    #[test]
    fn moments_far_apart_correct_the_rate() {
        let mut clock = Clock::ticks(2_000_000_000);
        clock.know((0, 0));
        clock.know((2_001_000_000, 1_000_000_000));
        assert_eq!(clock.nanoseconds(2_001_000, (0, 0)), 1_000_000);
    }

    #[test]
    fn a_moment_that_can_not_be_does_not() {
        let mut clock = Clock::ticks(2_000_000_000);
        clock.know((0, 0));
        clock.know((5_000_000_000, 1_000_000_000));
        assert_eq!(clock.nanoseconds(2_000_000, (0, 0)), 1_000_000);
    }

    proptest! {
        #[test]
        fn any_numbers_are_survived(rate in 1u64.., moments in proptest::collection::vec(any::<(u64, u64)>(), 0..4), time: u64) {
            let mut clock = Clock::ticks(rate);
            for moment in moments {
                clock.know(moment);
                let _ = clock.nanoseconds(time, moment);
            }
        }
    }
}

//! The verdict on one series of figures, one figure a round.
//!
//! The usual trend tests call a leak in most programs that have none, since the figures of one round inherit
//! those of the round before. A leak is called here only if the series is shown to rise by a test that holds in
//! spite of that, the rise amounts to something and lasts to the end, and no curve that flattens fits it better.

use memtrial_report::leak::{Reason, Verdict};

use super::least_squares::line;
use super::shape::{self, LEAST_GROWTH, Shape};
use super::trend::{Estimate, PAGE, Trend};

/// What is asked of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Growth in bytes a round that passes, if any is tolerated by intent: it is taken off the series before
    /// anything is called a leak, and a series is clean if it is shown to grow by less. `None` tolerates no
    /// growth that is shown; what is not shown is clean if it is shown to be below [`NEGLIGIBLE`].
    pub tolerated: Option<f64>,
    /// Number of series judged at once, at least 1: the chance of a false alarm is divided among them.
    pub series: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { tolerated: None, series: 1 }
    }
}

/// Growth in bytes a round below which a series that is not shown to grow is clean: 1 KiB.
pub const NEGLIGIBLE: f64 = 1024.0;

/// Rounds that must be left after the warm-up.
pub const LEAST_ROUNDS: usize = 16;

/// A series that stays within two pages after the warm-up does not grow, in bytes.
const FLAT: u64 = 8192;

/// What one look at a series comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// What it seems. One look alone decides nothing: see [`super::looks`].
    pub verdict: Verdict,
    /// Why the series can't tell; for `inconclusive`.
    pub reason: Option<Reason>,
    /// Estimated growth after the warm-up, in bytes a round.
    pub slope: f64,
    /// 90 % interval of the growth in these rounds, in bytes a round; `None` with too few of them. Where a warm-up goes
    /// on beyond those that are dropped it is part of the growth. The upper end of a clean series
    /// is below what is tolerated, the lower end of a leak above.
    pub interval: Option<[f64; 2]>,
    /// The smallest growth, in bytes a round, that one look at so many rounds of such noise would have shown nine
    /// times of ten (eight of ten with fewer than 100 rounds whose noise has a long memory): what passes the more
    /// powerful of the trend tests that hold and is not taken for a step, and on top of it the 16 KiB that a growth must
    /// come to over the rounds looked at.
    pub detectable: Option<f64>,
    /// Rounds dropped as warm-up.
    pub warm_up: u32,
}

/// Rounds of so many that count as warm-up: three of ten, at least 10.
#[must_use]
pub fn warm_up(rounds: usize) -> usize {
    (rounds * 3 / 10).max(10).min(rounds)
}

/// One look at a whole series: the bytes held after each round, in order.
///
/// A series is called a leak if it is shown to rise, by least squares where it returns to a line, or by the
/// minima of blocks of rounds; if the rise comes to 16 KiB at least, no more than half of it from one
/// block to the next, and its last third is not much less than a third; and if it does not get slower and slower.
#[must_use]
pub fn judge(series: &[u64], rules: &Rules) -> Look {
    let warm_up = warm_up(series.len());
    let dropped = u32::try_from(warm_up).unwrap_or(u32::MAX);
    let (figures, range) = after_warm_up(series, warm_up);
    if figures.len() < LEAST_ROUNDS {
        let rounds: Vec<f64> = (0..figures.len()).map(|t| t as f64).collect();
        return Look {
            verdict: Verdict::Inconclusive,
            reason: Some(Reason::TooFewRounds),
            slope: line(&rounds, &figures).slope,
            interval: None,
            detectable: None,
            warm_up: dropped,
        };
    }
    let tolerated = rules.tolerated.unwrap_or(0.0);
    let beyond: Vec<f64> = figures.iter().enumerate().map(|(t, y)| y - tolerated * t as f64).collect();
    let trend = Trend::of(&beyond, rules.series);
    let window = (trend.blocks - 1) as f64 / trend.blocks as f64 * figures.len() as f64;
    let detectable =
        tolerated + trend.detectable().max(shape::detectable(&beyond, trend.blocks)) + LEAST_GROWTH / window;
    let mut estimate = trend.estimate();
    estimate.slope += tolerated;
    let flat = range <= FLAT;
    if flat {
        estimate = flat_estimate(range, figures.len());
    }
    let interval = estimate.interval();
    let limit = rules.tolerated.unwrap_or(NEGLIGIBLE);
    let rises = trend.rises() && !flat;
    let shape = if rises {
        Shape::of(&figures, &beyond, warm_up, &trend)
    } else {
        Shape::of_noise(&figures, warm_up, &trend)
    };
    let (verdict, reason) = match shape {
        Shape::Steady if rises => (Verdict::Leak, None),
        // A rise that has come to rest may go on: it is not clean, however small it was on average.
        Shape::Small | Shape::Steady if interval[1] < limit => (Verdict::Clean, None),
        Shape::Step | Shape::Decelerating if !rises && interval[1] < limit => (Verdict::Clean, None),
        Shape::Step => (Verdict::Inconclusive, Some(Reason::Step)),
        Shape::Decelerating => (Verdict::Inconclusive, Some(Reason::Decelerating)),
        Shape::Small | Shape::Steady => (Verdict::Inconclusive, Some(Reason::Noise)),
    };
    Look {
        verdict,
        reason,
        slope: estimate.slope,
        interval: Some(interval),
        detectable: Some(detectable),
        warm_up: dropped,
    }
}

/// The slope of a series with its error, by the same rules as [`judge`]; `None` with too few rounds.
pub(super) fn estimate(series: &[u64]) -> Option<Estimate> {
    let (figures, range) = after_warm_up(series, warm_up(series.len()));
    if figures.len() < LEAST_ROUNDS {
        return None;
    }
    Some(if range <= FLAT { flat_estimate(range, figures.len()) } else { Trend::of(&figures, 1).estimate() })
}

/// The figures after the warm-up, from the lowest of them up, and their range. Taken off as integers, so that
/// neither size nor offset costs precision.
fn after_warm_up(series: &[u64], warm_up: usize) -> (Vec<f64>, u64) {
    let kept = &series[warm_up..];
    let lowest = kept.iter().copied().min().unwrap_or(0);
    let range = kept.iter().copied().max().unwrap_or(0) - lowest;
    (kept.iter().map(|&y| (y - lowest) as f64).collect(), range)
}

/// No slope, and as interval the fastest growth that stays within such a range: one page more may have been
/// begun before the first of these rounds and not be full by the last.
fn flat_estimate(range: u64, rounds: usize) -> Estimate {
    let estimate = Estimate { slope: 0.0, error: 1.0, freedom: 1e9 };
    Estimate { error: (range as f64 + PAGE) / (rounds - 1) as f64 / estimate.reach(), ..estimate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn look(series: &[u64]) -> Look {
        judge(series, &Rules::default())
    }

    /// Noise of some pages that depends on the round alone.
    fn pages(t: u64, pages: u64) -> u64 {
        let mixed = t.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33) % pages * 4096
    }

    #[test]
    fn a_constant_series_is_clean_and_has_no_slope() {
        for figure in [0, 4096, 20 * MIB, u64::MAX] {
            let look = look(&[figure; 60]);
            assert_eq!((look.verdict, look.reason, look.slope), (Verdict::Clean, None, 0.0));
            let [low, high] = look.interval.unwrap();
            // The page that may be all but full: 4096 bytes in 41 rounds.
            assert!((high - 4096.0 / 41.0).abs() < 1.0 && (low + high).abs() < 1e-9, "{low} {high}");
            assert_eq!(look.warm_up, 18);
        }
    }

    #[test]
    fn a_line_is_a_leak_of_its_slope() {
        for slope in [512u64, 4096, 65536, MIB] {
            let look = look(&(0..60).map(|t| (20 * MIB + t * slope) / 4096 * 4096).collect::<Vec<_>>());
            assert_eq!(look.verdict, Verdict::Leak, "{look:?}");
            let [low, high] = look.interval.unwrap();
            assert!(low > 0.0 && low <= slope as f64 && high >= slope as f64, "{slope}: {look:?}");
            assert!((look.slope - slope as f64).abs() < 30.0, "{slope}: {look:?}");
        }
    }

    #[test]
    fn a_line_downwards_is_clean() {
        let look = look(&(0..60).map(|t| 20 * MIB - t * 4096).collect::<Vec<_>>());
        assert_eq!(look.verdict, Verdict::Clean);
        assert!((look.slope + 4096.0).abs() < 1.0);
    }

    #[test]
    fn one_step_is_neither_leak_nor_clean() {
        let look =
            look(&(0..60).map(|t| 20 * MIB + u64::from(t > 40) * MIB + pages(t, 5)).collect::<Vec<_>>());
        assert_eq!((look.verdict, look.reason), (Verdict::Inconclusive, Some(Reason::Step)), "{look:?}");
    }

    #[test]
    fn a_warm_up_that_goes_on_is_told_from_a_leak() {
        let warming = |t: u64| 20 * MIB + (2e6 * (t as f64 + 1.0).ln()) as u64 + pages(t, 3);
        let look = look(&(0..120).map(warming).collect::<Vec<_>>());
        assert_eq!(
            (look.verdict, look.reason),
            (Verdict::Inconclusive, Some(Reason::Decelerating)),
            "{look:?}"
        );
    }

    #[test]
    fn too_few_rounds_give_no_interval() {
        for rounds in [0, 1, 9, 10, 11, 25] {
            let look = look(&(0..rounds).map(|t| t * MIB).collect::<Vec<_>>());
            assert_eq!((look.verdict, look.reason), (Verdict::Inconclusive, Some(Reason::TooFewRounds)));
            assert_eq!((look.interval, look.detectable), (None, None));
            let expected = if rounds > 11 { MIB as f64 } else { 0.0 };
            assert!((look.slope - expected).abs() < 1e-3, "{rounds}: {}", look.slope);
        }
        assert!(look(&[0; 26]).interval.is_some());
    }

    #[test]
    fn huge_figures_lose_nothing() {
        let small: Vec<u64> = (0..120).map(|t| t * 4096 + pages(t, 4)).collect();
        let huge: Vec<u64> = small.iter().map(|y| u64::MAX - 200 * 4096 + y).collect();
        assert_eq!(look(&small), look(&huge));
        assert_eq!(look(&small).verdict, Verdict::Leak);
    }

    #[test]
    fn what_is_tolerated_passes_and_what_is_beyond_does_not() {
        let series: Vec<u64> = (0..120).map(|t| 20 * MIB + t * 8192 + pages(t, 4)).collect();
        let tolerating = |bytes| judge(&series, &Rules { tolerated: Some(bytes), series: 1 });
        assert_eq!(tolerating(0.0).verdict, Verdict::Leak);
        assert_eq!(tolerating(4096.0).verdict, Verdict::Leak);
        let unsure = tolerating(8192.0);
        assert_eq!((unsure.verdict, unsure.reason), (Verdict::Inconclusive, Some(Reason::Noise)));
        assert_eq!(tolerating(16384.0).verdict, Verdict::Clean);
        // What is tolerated does not move the estimate.
        assert!((tolerating(0.0).slope - tolerating(4096.0).slope).abs() < 1.0);
    }

    #[test]
    fn a_shown_growth_below_what_is_negligible_is_a_leak_unless_it_is_tolerated() {
        let series: Vec<u64> = (0..240).map(|t| 20 * MIB + t * 512 / 4096 * 4096).collect();
        assert_eq!(judge(&series, &Rules::default()).verdict, Verdict::Leak);
        assert_eq!(judge(&series, &Rules { tolerated: Some(1024.0), series: 1 }).verdict, Verdict::Clean);
    }

    proptest! {
        #[test]
        fn any_series_is_survived(
            series in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..100_000, Just(0), Just(u64::MAX)], 0..200),
            tolerated in prop::option::of(0f64..1e9),
            at_once in 0usize..50,
        ) {
            let look = judge(&series, &Rules { tolerated, series: at_once });
            prop_assert!(look.slope.is_finite());
            for value in look.interval.iter().flatten().chain(&look.detectable) {
                prop_assert!(value.is_finite(), "{:?}", look);
            }
            if let Some([low, high]) = look.interval {
                prop_assert!(low <= look.slope && look.slope <= high, "{:?}", look);
                match look.verdict {
                    Verdict::Leak => prop_assert!(low > tolerated.unwrap_or(0.0) - 1e-6, "{:?}", look),
                    Verdict::Clean => prop_assert!(high < tolerated.unwrap_or(NEGLIGIBLE), "{:?}", look),
                    Verdict::Inconclusive => prop_assert!(look.reason.is_some()),
                }
            }
            prop_assert_eq!(look.reason.is_some(), look.verdict == Verdict::Inconclusive);
        }

        #[test]
        fn a_constant_on_top_changes_nothing(
            series in prop::collection::vec(0u64..1 << 40, 0..200),
            constant in 0u64..1 << 62,
        ) {
            let raised: Vec<u64> = series.iter().map(|y| y + constant).collect();
            prop_assert_eq!(look(&series), look(&raised));
        }
    }
}

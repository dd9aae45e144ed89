//! How fast a series rises, how far that can be trusted, and whether it is shown to rise at all.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::least_squares::{dickey_fuller, dot, line, mean};

/// A page: what the kernel counts resident memory in, in bytes.
pub(super) const PAGE: f64 = 4096.0;

/// Smallest standard deviation believed of figures from round to round, in bytes: what counting in pages does
/// to them by itself.
const QUANTISATION: f64 = 1024.0;

/// The same for the rise from block to block, in bytes.
const QUANTISED_RISE: f64 = 512.0;

/// Chance of taking a line without a slope for a rising one, for one series.
const LINE_ALPHA: f64 = 0.005;

/// The same for the minima of blocks, in each of the two tests that must both be passed.
const MINIMA_ALPHA: f64 = 0.01;

/// Statistic of the unit-root test below which a series is taken to return to a line. The value for a chance
/// of 5 % is -3.50 with 50 rounds and -3.45 with 100 (Fuller 1976).
const UNIT_ROOT: f64 = -3.7;

/// The chance with which a slope must pass each of two tests for it to be called detectable: both are then passed nine
/// times of ten at least.
pub(super) const POWER: f64 = 0.95;

/// An estimated slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// In bytes a round.
    pub slope: f64,
    /// Its standard error, in bytes a round.
    pub error: f64,
    /// Degrees of freedom of the error.
    pub freedom: f64,
}

impl Estimate {
    /// Chance of a slope at least this big if there were none.
    fn chance(&self) -> f64 {
        let statistic = self.slope / self.error;
        // Beyond this the two distributions differ by less than what the incomplete beta function is good to.
        let tail = if self.freedom > 1e5 {
            Normal::standard().sf(statistic)
        } else {
            StudentsT::new(0.0, 1.0, self.freedom).map_or(1.0, |t| t.sf(statistic))
        };
        if tail.is_nan() { 1.0 } else { tail }
    }

    /// Half the width of the 90 % interval.
    pub fn reach(&self) -> f64 {
        quantile(0.95, self.freedom) * self.error
    }

    /// The 90 % interval: each end is a one-sided bound of 95 %.
    pub fn interval(&self) -> [f64; 2] {
        [self.slope - self.reach(), self.slope + self.reach()]
    }

    /// The slope that would pass a test at `alpha` with a chance of [`POWER`].
    fn detectable(&self, alpha: f64) -> f64 {
        (quantile(1.0 - alpha, self.freedom) + quantile(POWER, self.freedom)) * self.error
    }
}

/// The value that Student's t of so many degrees of freedom stays below with probability `p`.
pub(super) fn quantile(p: f64, freedom: f64) -> f64 {
    let value = if freedom > 1e5 {
        Normal::standard().inverse_cdf(p)
    } else {
        StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(p))
    };
    if value.is_finite() { value } else { f64::MAX.sqrt() }
}

/// What the trend tests make of a series.
pub(super) struct Trend {
    /// By least squares, with the error widened for what one round inherits from the one before.
    line: Estimate,
    /// By the minima of blocks of rounds. Holds for a random walk too, and a sawtooth does not disturb it.
    minima: Estimate,
    /// Chance of the order of these minima if there were no trend (Mann and Kendall).
    order: f64,
    /// Whether the series returns to a line, without which `line` means nothing.
    pub stationary: bool,
    /// Number of independent rounds that these rounds are worth.
    pub effective: f64,
    /// Number of blocks.
    pub blocks: usize,
    /// By how many series the chances are divided.
    series: f64,
}

impl Trend {
    /// Looks at figures after the warm-up, at least 16 of them; `series` is the number of series judged at once.
    pub fn of(figures: &[f64], series: usize) -> Trend {
        let (line, effective) = by_line(figures);
        let blocks = block_count(figures.len());
        let (minima, length) =
            by_block(figures, blocks, |block| block.iter().copied().fold(f64::INFINITY, f64::min));
        Trend {
            line,
            minima: by_rises(&minima, length),
            order: mann_kendall(&minima),
            stationary: dickey_fuller(figures) < UNIT_ROOT,
            effective,
            blocks,
            series: series.max(1) as f64,
        }
    }

    fn line_rises(&self) -> bool {
        self.stationary && self.line.chance() < LINE_ALPHA / self.series
    }

    fn minima_rise(&self) -> bool {
        self.minima.chance() < MINIMA_ALPHA / self.series && self.order < MINIMA_ALPHA / self.series
    }

    /// Whether it is shown to rise.
    pub fn rises(&self) -> bool {
        self.line_rises() || self.minima_rise()
    }

    /// The estimate to report: the narrower of those that hold. Where the series is shown to rise it is one that
    /// shows it.
    pub fn estimate(&self) -> Estimate {
        let (line, minima) =
            if self.rises() { (self.line_rises(), self.minima_rise()) } else { (self.stationary, true) };
        match (line, minima) {
            (true, true) if self.line.reach() < self.minima.reach() => self.line,
            (true, false) => self.line,
            _ => self.minima,
        }
    }

    /// The smallest slope, in bytes a round, that the trend tests would have found in this noise, by [`POWER`].
    pub fn detectable(&self) -> f64 {
        let minima = self.minima.detectable(MINIMA_ALPHA / self.series);
        if self.stationary { minima.min(self.line.detectable(LINE_ALPHA / self.series)) } else { minima }
    }
}

/// Slope by least squares; the number of independent rounds that the rounds are worth.
///
/// The error is multiplied by √((1 + r) / (1 − r)) for an autocorrelation r of what the line leaves, which is
/// corrected for being estimated too small in few rounds.
fn by_line(figures: &[f64]) -> (Estimate, f64) {
    let count = figures.len() as f64;
    let rounds: Vec<f64> = (0..figures.len()).map(|t| t as f64).collect();
    let fit = line(&rounds, figures);
    let last = fit.residuals.len().saturating_sub(1);
    let raw =
        if fit.squares > 0.0 { dot(&fit.residuals[..last], &fit.residuals[1..]) / fit.squares } else { 0.0 };
    let correlation = (raw + (1.0 + 4.0 * raw.max(0.0)) / count).clamp(0.0, 0.99);
    let inflation = (1.0 + correlation) / (1.0 - correlation);
    let effective = (count / inflation).max(3.0);
    let variance = (fit.squares / (count - 2.0)).max(QUANTISATION.powi(2));
    let error = (variance / fit.spread * inflation).sqrt();
    (Estimate { slope: fit.slope, error, freedom: (effective - 2.0).max(1.0) }, effective)
}

/// How many blocks so many rounds are cut into.
pub(super) fn block_count(rounds: usize) -> usize {
    (rounds / 7).clamp(6, 12)
}

/// A figure for each of so many blocks of equal length, the last one ending with the series; and that length.
pub(super) fn by_block(figures: &[f64], blocks: usize, figure: impl Fn(&[f64]) -> f64) -> (Vec<f64>, usize) {
    let length = (figures.len() / blocks).max(1);
    let start = figures.len().saturating_sub(blocks * length);
    (figures[start..].chunks_exact(length).map(figure).collect(), length)
}

/// Slope by the mean rise from each block to the next.
fn by_rises(blocks: &[f64], length: usize) -> Estimate {
    let rises: Vec<f64> = blocks.windows(2).map(|w| w[1] - w[0]).collect();
    let (count, middle) = (rises.len() as f64, mean(&rises));
    let freedom = (count - 1.0).max(1.0);
    let variance = rises.iter().map(|rise| (rise - middle).powi(2)).sum::<f64>() / freedom;
    let error = variance.sqrt().max(QUANTISED_RISE) / count.max(1.0).sqrt();
    let length = length as f64;
    Estimate { slope: middle / length, error: error / length, freedom }
}

/// One-sided chance of so rising an order of values if there were no trend, by the normal approximation with
/// ties and continuity (Mann 1945, Kendall 1975).
fn mann_kendall(values: &[f64]) -> f64 {
    let mut score = 0i64;
    for (i, a) in values.iter().enumerate() {
        for b in &values[i + 1..] {
            score += i64::from(b > a) - i64::from(b < a);
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tied| weight(tied.len())).sum();
    let variance = (weight(values.len()) - ties) / 18.0;
    if variance <= 0.0 {
        return 1.0;
    }
    let statistic = (score - score.signum()) as f64 / variance.sqrt();
    Normal::standard().sf(statistic)
}

fn weight(count: usize) -> f64 {
    let count = count as f64;
    count * (count - 1.0) * (2.0 * count + 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Student's t, one-sided.
        for (p, freedom, value) in [
            (0.95, 1.0, 6.314),
            (0.95, 5.0, 2.015),
            (0.995, 5.0, 4.032),
            (0.95, 40.0, 1.684),
            (0.995, 40.0, 2.704),
            (0.9, 11.0, 1.363),
            (0.95, 1e6, 1.645),
        ] {
            assert!((quantile(p, freedom) - value).abs() < 6e-4, "{p} {freedom}: {}", quantile(p, freedom));
        }
        let estimate = Estimate { slope: 2.015, error: 1.0, freedom: 5.0 };
        assert!((estimate.chance() - 0.05).abs() < 1e-4);
    }

    #[test]
    fn an_order_that_only_rises_is_rare_and_one_that_does_not_change_says_nothing() {
        // S = 66, variance 212.67: z = 65 / 14.58.
        let rising: Vec<f64> = (0..12).map(f64::from).collect();
        assert!((mann_kendall(&rising) - 4.15e-6).abs() < 1e-7, "{}", mann_kendall(&rising));
        assert!((mann_kendall(&[5.0; 12]) - 1.0).abs() < 1e-12);
        let falling: Vec<f64> = rising.iter().map(|v| -v).collect();
        assert!(mann_kendall(&falling) > 0.9999);
    }

    #[test]
    fn blocks_end_with_the_series() {
        let figures: Vec<f64> = (0..20).map(f64::from).collect();
        let (minima, length) = by_block(&figures, 6, |block| block[0]);
        assert_eq!((minima, length), (vec![2.0, 5.0, 8.0, 11.0, 14.0, 17.0], 3));
    }

    #[test]
    fn what_one_round_inherits_from_the_one_before_widens_the_error() {
        let white: Vec<f64> = (0..100u64).map(|t| (t.wrapping_mul(7919) % 97) as f64 * PAGE).collect();
        let slow: Vec<f64> = (0..100u64).map(|t| ((t / 10).wrapping_mul(7919) % 97) as f64 * PAGE).collect();
        let (white, slow) = (by_line(&white), by_line(&slow));
        assert!(white.1 > 80.0 && slow.1 < 20.0, "{} {}", white.1, slow.1);
        assert!(slow.0.error > 2.0 * white.0.error);
    }

    #[test]
    fn a_trend_that_one_series_shows_may_be_chance_among_many() {
        let mixed = |t: u64| t.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let pages = |t: u64| (mixed(t) ^ (mixed(t) >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33;
        let figures: Vec<f64> = (0..84).map(|t| (t * 600 + pages(t) % 30 * 4096) as f64).collect();
        let [one, many] = [1, 1_000_000].map(|series| Trend::of(&figures, series));
        assert!(one.rises() && !many.rises(), "{}", one.line.chance());
        assert!(many.detectable() > one.detectable());
        assert!((Trend::of(&figures, 0).detectable() - one.detectable()).abs() < 1e-9);
    }
}

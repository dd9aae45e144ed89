//! What a rise looks like: steady, all at once, or slower and slower.

use super::least_squares::{line, mean};
use super::trend::{PAGE, POWER, Trend, by_block, quantile};

/// A rise of less than this over the rounds looked at is none: four pages, in bytes.
pub(super) const LEAST_GROWTH: f64 = 4.0 * PAGE;

/// The largest share of the whole rise that may come from one block to the next.
const LARGEST_JUMP: f64 = 0.5;

/// The share of a third of the rise that the last third must have at least.
const LAST_THIRD: f64 = 0.25;

/// Variance, in bytes², that counting in pages leaves beside a line: less can't have a shape.
const QUANTISED: f64 = 1.5 * 1024.0 * 1024.0;

/// The shape of a rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It rises throughout.
    Steady,
    /// Most of it came at once.
    Step,
    /// It rises more and more slowly.
    Decelerating,
    /// It does not amount to anything.
    Small,
}

impl Shape {
    /// The shape of figures after a warm-up of so many rounds. `beyond` are the same figures with what is
    /// tolerated taken off: whether the rise amounts to something and lasts is asked of these.
    pub fn of(figures: &[f64], beyond: &[f64], warm_up: usize, trend: &Trend) -> Shape {
        let fits = Fits::of(figures, warm_up);
        if fits.decelerate(trend) {
            return if fits.step < fits.curve { Shape::Step } else { Shape::Decelerating };
        }
        let (medians, _) = by_block(beyond, trend.blocks, median);
        let total = medians[medians.len() - 1] - medians[0];
        let jump = medians.windows(2).map(|w| w[1] - w[0]).fold(f64::NEG_INFINITY, f64::max);
        let third = medians.len() / 3;
        let (earlier, last) = medians[medians.len() - 2 * third..].split_at(third);
        let late = mean(last) - mean(earlier);
        if total < LEAST_GROWTH {
            Shape::Small
        } else if total - jump < (1.0 - LARGEST_JUMP) * total {
            Shape::Step
        } else if late <= LAST_THIRD * total * third as f64 / trend.blocks as f64 {
            Shape::Decelerating
        } else {
            Shape::Steady
        }
    }

    /// The shape of figures that are not shown to rise: one step up is told from noise.
    pub fn of_noise(figures: &[f64], warm_up: usize, trend: &Trend) -> Shape {
        let fits = Fits::of(figures, warm_up);
        if fits.height >= LEAST_GROWTH && fits.step < 0.5 * fits.line && fits.step < fits.curve {
            Shape::Step
        } else if fits.decelerate(trend) {
            Shape::Decelerating
        } else {
            Shape::Small
        }
    }
}

/// The smallest slope, in bytes a round, whose rise is not taken for a step in noise like that of these figures, by
/// [`POWER`]: the largest rise from one block to the next is then no more than half of the whole.
pub(super) fn detectable(figures: &[f64], blocks: usize) -> f64 {
    let (medians, length) = by_block(figures, blocks, median);
    let rises: Vec<f64> = medians.windows(2).map(|w| w[1] - w[0]).collect();
    let (count, middle) = (rises.len() as f64, mean(&rises));
    let deviation = (rises.iter().map(|rise| (rise - middle).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let largest = quantile(POWER.powf(1.0 / count), count - 1.0) * deviation;
    largest / (LARGEST_JUMP * count - 1.0) / length as f64
}

/// Squared errors of what can be laid through a series.
struct Fits {
    /// A line.
    line: f64,
    /// The best of the curves that rise more and more slowly; infinite if none rises.
    curve: f64,
    /// The best single step upwards; infinite if there is none.
    step: f64,
    /// How high that step is.
    height: f64,
    rounds: f64,
}

impl Fits {
    /// The curves are a logarithm, a square root and two exponential approaches to a limit. Their time counts
    /// from the first round, not from the end of the warm-up.
    fn of(figures: &[f64], warm_up: usize) -> Fits {
        let rounds: Vec<f64> = (0..figures.len()).map(|t| (t + warm_up + 1) as f64).collect();
        let all = (figures.len() + warm_up) as f64;
        let curves: [&dyn Fn(f64) -> f64; 4] =
            [&f64::ln, &f64::sqrt, &|t| -(-8.0 * t / all).exp(), &|t| -(-4.0 * t / all).exp()];
        let curve = curves
            .iter()
            .map(|curve| line(&rounds.iter().map(|&t| curve(t)).collect::<Vec<_>>(), figures))
            .filter(|fit| fit.slope > 0.0)
            .map(|fit| fit.squares)
            .fold(f64::INFINITY, f64::min);
        let (step, height) = step(figures);
        Fits { line: line(&rounds, figures).squares, curve, step, height, rounds: figures.len() as f64 }
    }

    /// Whether a curve fits so much better than the line that it is no accident.
    fn decelerate(&self, trend: &Trend) -> bool {
        let independent = if trend.stationary { trend.effective } else { trend.blocks as f64 };
        self.line > self.rounds * QUANTISED && self.curve < self.line * (1.0 - (8.0 / independent).min(0.5))
    }
}

/// Squared error and height of the best single step upwards.
fn step(figures: &[f64]) -> (f64, f64) {
    let middle = mean(figures);
    let squares: f64 = figures.iter().map(|y| (y - middle).powi(2)).sum();
    let count = figures.len() as f64;
    let mut best = (f64::INFINITY, 0.0);
    let mut below = 0.0;
    for (i, y) in figures[..figures.len() - 1].iter().enumerate() {
        below += y - middle;
        let (left, right) = ((i + 1) as f64, count - (i + 1) as f64);
        let height = -below / right - below / left;
        let error = squares - below * below / left - below * below / right;
        if height > 0.0 && error < best.0 {
            best = (error.max(0.0), height);
        }
    }
    best
}

/// The median; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_step_is_found_where_it_is() {
        let figures: Vec<f64> = (0..40).map(|t| if t < 25 { 100.0 } else { 300.0 }).collect();
        let (error, height) = step(&figures);
        assert!(error < 1e-6 && (height - 200.0).abs() < 1e-9, "{error} {height}");
        let down: Vec<f64> = figures.iter().rev().copied().collect();
        assert_eq!(step(&down), (f64::INFINITY, 0.0));
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn a_line_is_steady_and_a_logarithm_is_not() {
        let line: Vec<f64> = (0..84).map(|t| f64::from(t) * 65536.0).collect();
        let trend = Trend::of(&line, 1);
        assert_eq!(Shape::of(&line, &line, 36, &trend), Shape::Steady);
        let curve: Vec<f64> = (0..84).map(|t| f64::from(t + 37).ln() * 1e7).collect();
        let trend = Trend::of(&curve, 1);
        assert_eq!(Shape::of(&curve, &curve, 36, &trend), Shape::Decelerating);
    }
}

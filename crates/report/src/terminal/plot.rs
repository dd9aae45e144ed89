//! Figures over rounds or time, drawn in text.

use std::fmt::Write;

use textplots::{Chart, Plot, Shape};

/// Lines of a plot in a report, with its axis.
pub const PLOT_HEIGHT: usize = 9;

/// Columns that the labels of the axis of sizes take, with the blank behind them.
const LABELS: usize = 13;
/// The library's own lower limits, in columns and lines.
const LEAST: (usize, usize) = (17, 2);

/// What the points of a plot lie along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Rounds.
    Rounds,
    /// Milliseconds.
    Time,
}

impl Along {
    /// The labels of both ends.
    fn ends(self, from: u32, to: u32) -> (String, String) {
        let seconds = |time: u32| format!("{:.1} s", f64::from(time) / 1000.0);
        match self {
            Along::Rounds => (format!("round {from}"), to.to_string()),
            Along::Time => (seconds(from), seconds(to)),
        }
    }
}

/// A line through these points, each a round (or a time) and a size in bytes: `width` columns with its labels (at
/// least 30), `height` lines (at least 3) with the axis of rounds. Empty for less than two rounds.
pub fn plot(along: Along, points: &[(u32, u64)], width: usize, height: usize) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    if first.0 >= last.0 {
        return String::new();
    }
    let axis = Axis::of(points);
    let columns = width.saturating_sub(LABELS).max(LEAST.0);
    let lines = height.saturating_sub(1).max(LEAST.1);
    let scaled = points
        .iter()
        .map(|&(round, size)| (short(u64::from(round.saturating_sub(first.0))), short(size - axis.low)));
    let scaled: Vec<(f32, f32)> = scaled.collect();
    let shape = Shape::Lines(&scaled);
    let mut chart = Chart::new_with_y_range(
        // A column has two dots, a line four; both ends of the range are drawn.
        dots(columns * 2 - 1),
        dots(lines * 4 - 1),
        0.0,
        short(u64::from(last.0 - first.0)),
        0.0,
        short(axis.high - axis.low),
    );
    let chart = chart.lineplot(&shape);
    chart.figures();
    let mut text = String::new();
    for (number, line) in chart.frame().lines().enumerate() {
        let label = if number == 0 {
            axis.label(axis.high)
        } else if number == lines - 1 {
            axis.label(axis.low)
        } else if number == lines / 2 && lines > 4 {
            let share = (axis.high - axis.low) / (lines as u64 - 1) * number as u64;
            axis.label(axis.high - share)
        } else {
            String::new()
        };
        let _ = writeln!(text, "{label:>labels$} {}", line.trim_end(), labels = LABELS - 1);
    }
    let (from, to) = along.ends(first.0, last.0);
    let gap = columns.saturating_sub(to.len());
    let _ = writeln!(text, "{:labels$}{from:gap$}{to}", "", labels = LABELS);
    text
}

/// The axis of sizes: its ends, and in what unit and with how many decimals they differ visibly.
struct Axis {
    low: u64,
    high: u64,
    unit: (&'static str, u64),
    decimals: usize,
}

impl Axis {
    fn of(points: &[(u32, u64)]) -> Axis {
        let sizes = || points.iter().map(|point| point.1);
        let (low, high) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
        // What is flat is drawn at the bottom of a small range.
        let high = high.max(low.saturating_add(4096));
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let unit = units.into_iter().find(|unit| high >= unit.1).unwrap_or(("B", 1));
        let mut step = unit.1;
        let mut decimals = 0;
        while unit.1 > 1 && step > (high - low) / 10 && decimals < 6 {
            step /= 10;
            decimals += 1;
        }
        Axis { low, high, unit, decimals }
    }

    #[expect(clippy::cast_precision_loss, reason = "a label")]
    fn label(&self, size: u64) -> String {
        format!("{:.*} {}", self.decimals, size as f64 / self.unit.1 as f64, self.unit.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a dot is coarser")]
fn short(value: u64) -> f32 {
    value as f32
}

fn dots(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_fits_and_names_its_ends() {
        let points: Vec<(u32, u64)> =
            (0..=120).map(|round| (round, 6_000_000 + u64::from(round) * 4096)).collect();
        let text = plot(Along::Rounds, &points, 78, 9);
        assert_eq!(text.lines().count(), 9, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 78), "{text}");
        assert!(text.contains("6.19 MiB") && text.contains("5.72 MiB"), "{text}");
        assert!(text.contains("round 0") && text.trim_end().ends_with("120"), "{text}");
    }

    #[test]
    fn time_is_in_seconds() {
        let text = plot(Along::Time, &[(0, 5), (1500, 9000), (60_000, 5)], 60, 6);
        assert!(text.contains(" 0.0 s") && text.trim_end().ends_with("60.0 s"), "{text}");
    }

    #[test]
    fn what_is_flat_or_huge_or_short_is_drawn_too() {
        assert_eq!(plot(Along::Rounds, &[], 78, 9), "");
        assert_eq!(plot(Along::Rounds, &[(3, 1)], 78, 9), "");
        assert!(plot(Along::Rounds, &[(0, 5), (1, 5)], 0, 0).contains('⣀'));
        let text = plot(Along::Rounds, &[(1, 0), (2, u64::MAX)], 40, 5);
        assert!(text.contains("GiB"), "{text}");
        assert!(plot(Along::Rounds, &[(0, 4 << 30), (1, (4 << 30) + 4096)], 60, 5).contains("4.000004 GiB"));
    }
}

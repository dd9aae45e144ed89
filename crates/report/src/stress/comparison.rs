//! Several that were loaded, side by side: the columns of their table, the best figure of each marked.

use super::{Load, Loaded};
use crate::wording::{bytes, grouped, percent, rate, share};

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// A cell for each that was loaded, and whether it is the best.
    pub cells: Vec<(String, bool)>,
}

/// The columns behind the names. What has ended is not ranked; nor is how fast a load was whose rate was given.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "sizes are compared, and shown with one decimal")]
pub fn columns(load: &Load, loaded: &[Loaded]) -> Vec<Column> {
    let speed = |one: &Loaded| Some((one.rate(), rate(one.rate())));
    let size = |size: u64| (size as f64, bytes(size));
    let fragmentation = |one: &Loaded| one.peak.fragmentation.map(|part| (part, share(part)));
    let returned = |one: &Loaded| {
        let (back, grown) = (one.returned()?, one.grown());
        (grown > 0).then(|| (back as f64 / grown as f64, percent(back, grown)))
    };
    let by_speed = if load.rate.is_none() { Better::More } else { Better::Neither };
    vec![
        column("allocations/s", by_speed, loaded, speed),
        column("peak RSS", Better::Less, loaded, |one| Some(size(one.peak.resident))),
        column("fragmentation", Better::Less, loaded, fragmentation),
        column("RSS after", Better::Less, loaded, |one| one.after.map(|after| size(after.resident))),
        column("came back", Better::More, loaded, returned),
        column("errors", Better::Less, loaded, |one| Some((one.errors as f64, grouped(one.errors)))),
    ]
}

/// A column of what this figure is, and how it is shown.
fn column(
    title: &'static str,
    better: Better,
    loaded: &[Loaded],
    figure: impl Fn(&Loaded) -> Option<(f64, String)>,
) -> Column {
    let figures: Vec<Option<(f64, String)>> = loaded.iter().map(&figure).collect();
    let ranked = figures.iter().zip(loaded).map(|(figure, one)| match figure {
        Some((figure, _)) if one.end.is_none() => Some(*figure),
        _ => None,
    });
    let best = best(&ranked.collect::<Vec<_>>(), better);
    let shown = figures.into_iter().map(|figure| figure.map_or_else(|| "–".to_owned(), |(_, text)| text));
    Column { title, cells: shown.zip(best).collect() }
}

/// Which figure is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    /// The bigger one.
    More,
    /// The smaller one.
    Less,
    /// They are not ranked.
    Neither,
}

/// Marks the best of these figures, each of them where several are: none where fewer than two can be compared, or all
/// are alike, for then none is better.
fn best(figures: &[Option<f64>], better: Better) -> Vec<bool> {
    let known = || figures.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let best = match better {
        Better::More => Some(high),
        Better::Less => Some(low),
        Better::Neither => None,
    };
    figures.iter().map(|figure| low < high && figure.is_some() && *figure == best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::End;
    use crate::testing::allocators_report;

    #[test]
    fn the_best_is_marked_where_there_is_one() {
        let figures = [Some(1.0), None, Some(3.0), Some(1.0)];
        assert_eq!(best(&figures, Better::More), [false, false, true, false]);
        assert_eq!(best(&figures, Better::Less), [true, false, false, true]);
        assert_eq!(best(&figures, Better::Neither), [false; 4]);
        assert_eq!(best(&[Some(2.0), Some(2.0)], Better::Less), [false; 2]);
        assert_eq!(best(&[Some(2.0), None], Better::Less), [false; 2]);
        assert_eq!(best(&[], Better::Less), [false; 0]);
    }

    #[test]
    fn what_ended_is_not_the_best() {
        let mut report = allocators_report();
        let marked = |report: &crate::stress::Report, title: &str| {
            let columns = columns(&report.load, &report.loaded);
            let column = columns.into_iter().find(|column| column.title == title).unwrap();
            column.cells.into_iter().map(|(_, best)| best).collect::<Vec<_>>()
        };
        assert_eq!(marked(&report, "allocations/s"), [false, false, true]);
        assert_eq!(marked(&report, "errors"), [false; 3]);
        report.loaded[2].end =
            Some(End { seconds: 1.0, how: "was ended by SIGSEGV".to_owned(), printed: String::new() });
        assert_eq!(marked(&report, "allocations/s"), [false, true, false]);
        report.load.rate = Some(1000.0);
        assert_eq!(marked(&report, "allocations/s"), [false; 3]);
    }
}

//! Several that were loaded, side by side: their table and bars of what it says.

use std::fmt::{self, Write};

use super::pieces::STRONG;
use super::table::{self, Align};
use crate::stress::comparison::columns;
use crate::stress::{Loaded, Report};
use crate::wording::{bytes, printable, rate};

/// Columns of the longest bar.
const LONGEST: usize = 40;
/// Columns of a name at most.
const NAME: usize = 20;

/// The table and the bars.
pub fn write(out: &mut String, report: &Report) -> fmt::Result {
    let columns = columns(&report.load, &report.loaded);
    let header: Vec<&str> = ["loaded"].into_iter().chain(columns.iter().map(|column| column.title)).collect();
    let rows: Vec<Vec<String>> = report
        .loaded
        .iter()
        .enumerate()
        .map(|(row, loaded)| {
            let cells = columns.iter().map(|column| {
                let (text, best) = &column.cells[row];
                // So that figures stay below each other.
                format!("{text}{}", if *best { '*' } else { ' ' })
            });
            [name(loaded)].into_iter().chain(cells).collect()
        })
        .collect();
    table::write(out, &header, &[Align::Left], &rows)?;
    if columns.iter().any(|column| column.cells.iter().any(|(_, best)| *best)) {
        writeln!(out, "* the best of its column")?;
    }
    writeln!(out)?;
    let width = report.loaded.iter().map(|one| name(one).chars().count()).max().unwrap_or(0);
    write_speed(out, &report.loaded, width)?;
    write_memory(out, &report.loaded, width)
}

fn write_speed(out: &mut String, loaded: &[Loaded], width: usize) -> fmt::Result {
    let most = loaded.iter().map(Loaded::rate).fold(0.0, f64::max);
    writeln!(out, "{STRONG}allocations a second{STRONG:#}")?;
    for one in loaded {
        let bar = "█".repeat(columns_of(one.rate(), most));
        writeln!(out, "  {:<width$} {bar} {}", name(one), rate(one.rate()))?;
    }
    writeln!(out)
}

#[expect(clippy::cast_precision_loss, reason = "a column is coarser")]
fn write_memory(out: &mut String, loaded: &[Loaded], width: usize) -> fmt::Result {
    let most = loaded.iter().map(|one| one.peak.resident).max().unwrap_or(0) as f64;
    writeln!(out, "{STRONG}resident memory{STRONG:#}: █ held after freeing, ░ given back, ▒ not known")?;
    for one in loaded {
        let whole = columns_of(one.peak.resident as f64, most);
        let bar = match one.after {
            Some(after) => {
                let kept = columns_of(after.resident as f64, most).min(whole);
                format!("{}{}", "█".repeat(kept), "░".repeat(whole - kept))
            }
            None => "▒".repeat(whole),
        };
        let after = one.after.map_or("–".to_owned(), |after| bytes(after.resident));
        writeln!(out, "  {:<width$} {bar} {} of {}", name(one), after, bytes(one.peak.resident))?;
    }
    writeln!(out)
}

/// The length of a bar: what is not nothing has one column at least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the longest")]
fn columns_of(value: f64, most: f64) -> usize {
    if most <= 0.0 || value <= 0.0 {
        return 0;
    }
    ((value / most * LONGEST as f64).round() as usize).clamp(1, LONGEST)
}

/// A name, of a path its end.
fn name(loaded: &Loaded) -> String {
    let name = printable(&loaded.name);
    let count = name.chars().count();
    if count <= NAME {
        return name;
    }
    format!("…{}", name.chars().skip(count + 1 - NAME).collect::<String>())
}

//! Tables of text whose columns are as wide as they need to be.

use std::fmt::{self, Write};

use super::pieces::FAINT;

/// To which side the cells of a column go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// Rows below their header; columns that `align` does not name go to the right. A row may be shorter.
pub fn write(out: &mut String, header: &[&str], align: &[Align], rows: &[Vec<String>]) -> fmt::Result {
    let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = std::iter::once(&header).chain(rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    writeln!(out, "{FAINT}{}{FAINT:#}", line(&header, &widths, align))?;
    for row in rows {
        writeln!(out, "{}", line(row, &widths, align))?;
    }
    Ok(())
}

fn line(cells: &[String], widths: &[usize], align: &[Align]) -> String {
    let mut text = String::new();
    for (number, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if number == 0 { "" } else { "  " };
        // Writing to a string never fails.
        let _ = match align.get(number) {
            Some(Align::Left) => write!(text, "{gap}{cell:<width$}"),
            _ => write!(text, "{gap}{cell:>width$}"),
        };
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "1,000".to_owned()]];
        let mut text = String::new();
        write(&mut text, &["name", "count"], &[Align::Left], &rows).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["a         1", "bcd   1,000"]);
    }
}

//! How often each event happened, the most frequent first.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use memtrial_events::{Hit, Table, Value};

use super::Sink;
use super::lines::Lines;
use crate::wording::printable;

/// Counts hits, and writes a table at the end.
pub struct Counts {
    lines: Lines,
    counts: HashMap<usize, Count>,
    lost: u64,
}

#[derive(Default)]
struct Count {
    hits: u64,
    missing: u64,
}

impl Counts {
    /// Writes the table to a stream.
    #[must_use]
    pub fn new(stream: Box<dyn Write>) -> Counts {
        Counts { lines: Lines::new(stream), counts: HashMap::new(), lost: 0 }
    }

    /// Adds hits of an event that somebody else has counted.
    pub fn add(&mut self, event: usize, hits: u64) {
        self.counts.entry(event).or_default().hits += hits;
    }
}

impl Sink for Counts {
    fn hit(&mut self, _: &Table, hit: &Hit) -> io::Result<()> {
        let count = self.counts.entry(hit.event).or_default();
        count.hits += 1;
        count.missing += u64::from(hit.values.iter().any(|value| matches!(value, Value::Missing(_))));
        Ok(())
    }

    fn lost(&mut self, _: &Table, hits: u64, _: u64) -> io::Result<()> {
        self.lost += hits;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, table: &Table) -> io::Result<()> {
        let mut rows: Vec<(String, Count)> = self
            .counts
            .drain()
            .filter_map(|(event, count)| Some((table.events.get(event)?.full_name(), count)))
            .collect();
        rows.sort_unstable_by(|(a, first), (b, second)| (second.hits, a).cmp(&(first.hits, b)));
        let text = &mut self.lines.text;
        let _ = writeln!(text, "{:>12}  event", "hits");
        for (name, count) in rows {
            let _ = write!(text, "{:>12}  {}", count.hits, printable(&name));
            if count.missing > 0 {
                let _ = write!(text, "  ({} with missing arguments)", count.missing);
            }
            text.push('\n');
        }
        if self.lost > 0 {
            let _ = writeln!(text, "{:>12}  lost", self.lost);
        }
        self.lines.flush()
    }
}

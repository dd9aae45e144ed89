//! Tables for spreadsheets: the samples of `memtrial leak` and `memtrial stress`, the outcomes of `memtrial oom`.

use crate::leak::Report;
use crate::model::{End, Outcome, Way};
use crate::stress;

/// The samples, one a line: whose, when, and all figures (bytes and counts).
#[must_use]
pub fn samples(report: &Report) -> String {
    let mut table = Table::new(&[
        "role",
        "pid",
        "started",
        "name",
        "round",
        "seconds",
        "resident",
        "proportional",
        "private_clean",
        "private_dirty",
        "swap",
        "anonymous",
        "lazy_free",
        "huge",
        "mappings",
        "threads",
        "descriptors",
        "held",
        "held_privately",
    ]);
    for process in &report.processes {
        for sample in &process.samples {
            let figures = &sample.figures;
            let mut row = vec![
                process.role.word().to_owned(),
                process.pid.to_string(),
                process.started.to_string(),
                process.name.clone(),
                sample.round.to_string(),
                format!("{:.3}", sample.seconds),
            ];
            let numbers = [
                figures.resident,
                figures.proportional,
                figures.private_clean,
                figures.private_dirty,
                figures.swap,
                figures.anonymous,
                figures.lazy_free,
                figures.huge,
                figures.mappings,
                figures.threads,
                figures.descriptors,
                figures.held(),
                figures.held_privately(),
            ];
            row.extend(numbers.map(|number| number.to_string()));
            table.add(&row);
        }
    }
    table.text()
}

/// The samples of a load, one a line: what was loaded, when, and all figures (bytes, counts and a share).
#[must_use]
pub fn load_samples(report: &stress::Report) -> String {
    let mut table = Table::new(&[
        "loaded",
        "pid",
        "seconds",
        "allocations",
        "errors",
        "overflows",
        "overwritten",
        "live",
        "chunks",
        "resident",
        "private",
        "fragmentation",
    ]);
    for loaded in &report.loaded {
        for sample in &loaded.samples {
            let mut row = vec![loaded.name.clone(), loaded.pid.to_string(), format!("{:.3}", sample.seconds)];
            let numbers = [
                sample.allocations,
                sample.errors,
                sample.overflows,
                sample.overwritten,
                sample.live,
                sample.chunks,
                sample.resident,
                sample.private,
            ];
            row.extend(numbers.map(|number| number.to_string()));
            row.push(sample.fragmentation.map_or_else(String::new, |share| format!("{share:.4}")));
            table.add(&row);
        }
    }
    table.text()
}

/// The outcomes, one a line.
#[must_use]
pub fn outcomes(outcomes: &[Outcome]) -> String {
    let mut table = Table::new(&["hash", "nth", "ordinal", "way", "end", "status", "verdict"]);
    for outcome in outcomes {
        let way = match outcome.way {
            Way::Snapshot => "snapshot",
            Way::Rerun => "rerun",
        };
        let (end, status) = match outcome.end {
            End::Exit(status) => ("exit", status.to_string()),
            End::Signal(signal) => ("signal", signal.to_string()),
            End::Timeout => ("timeout", String::new()),
            End::Flood => ("flood", String::new()),
        };
        table.add(&[
            outcome.hash.clone(),
            outcome.nth.to_string(),
            outcome.ordinal.to_string(),
            way.to_owned(),
            end.to_owned(),
            status,
            outcome.verdict.word().to_owned(),
        ]);
    }
    table.text()
}

struct Table(::csv::Writer<Vec<u8>>);

impl Table {
    fn new(header: &[&str]) -> Table {
        let mut table = Table(::csv::Writer::from_writer(Vec::new()));
        table.write(header);
        table
    }

    fn add(&mut self, row: &[String]) {
        self.write(row);
    }

    fn write<T: AsRef<[u8]>>(&mut self, row: &[T]) {
        // Writing to memory never fails, and every row is as long as the header.
        let _ = self.0.write_record(row);
    }

    fn text(self) -> String {
        String::from_utf8(self.0.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, allocators_report, leak_report};

    #[test]
    fn there_is_a_line_for_each_sample_whatever_the_process_is_called() {
        let report = leak_report();
        let text = samples(&report);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let names: Vec<String> =
            reader.records().map(|record| record.unwrap().get(3).unwrap().to_owned()).collect();
        let expected: Vec<&str> = report
            .processes
            .iter()
            .flat_map(|process| process.samples.iter().map(|_| &*process.name))
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn an_outcome_is_a_line() {
        let text = outcomes(&[testing::outcome(2)]);
        assert_eq!(text.lines().nth(1), Some("00000000000000aa,2,2,snapshot,exit,1,handled"));
    }

    #[test]
    fn samples_of_a_load_begin_with_what_was_loaded() {
        let report = allocators_report();
        let text = load_samples(&report);
        let lines: usize = report.loaded.iter().map(|loaded| loaded.samples.len()).sum();
        assert_eq!(text.lines().count(), lines + 1);
        assert_eq!(text.lines().nth(1), Some("glibc,5001,0.000,0,0,0,0,0,0,2097152,1048576,"));
        assert!(text.lines().last().unwrap_or_default().starts_with("mimalloc,5003,10.000,"));
    }
}

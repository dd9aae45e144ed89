//! What a report and an output folder say, in the form that tests compare.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use memtrial_report::model::{Outcome, Report, Verdict};

/// The verdicts that occur.
#[must_use]
pub fn verdicts(report: &Report) -> BTreeSet<Verdict> {
    report.verdicts.iter().map(|(verdict, _)| *verdict).collect()
}

/// How many outcomes have this verdict.
#[must_use]
pub fn count(report: &Report, verdict: Verdict) -> u64 {
    report.verdicts.iter().filter(|(found, _)| *found == verdict).map(|(_, count)| count).sum()
}

/// The verdict of each failed allocation, by site and number, as the output folder keeps them.
///
/// # Panics
/// When it keeps none.
#[must_use]
pub fn kept(folder: &Path) -> BTreeMap<(String, u64), Verdict> {
    let path = folder.join("outcomes.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // A later line about the same allocation counts.
    let outcomes = text.lines().map(|line| {
        let outcome: Outcome =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()));
        ((outcome.hash, outcome.nth), outcome.verdict)
    });
    outcomes.collect()
}

/// The report with what may vary from run to run taken out of it.
#[must_use]
pub fn pretty(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_else(|error| error.to_string())
}

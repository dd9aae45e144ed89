//! Reports as pages that need nothing else: no network, no other file.

mod bars;
mod document;
mod flame;
mod leak;
mod load;
mod memory;
mod oom;
mod pieces;
mod series;
mod stress;

use crate::trial::TrialReport;

/// The report of any trial as a page.
#[must_use]
pub fn page(report: &TrialReport) -> String {
    match report {
        TrialReport::Oom(report) => oom::page(report),
        TrialReport::Leak(report) => leak::page(report),
        TrialReport::Stress(report) => stress::page(report),
    }
}

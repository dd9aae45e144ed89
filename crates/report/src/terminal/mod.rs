//! Reports as people read them on a terminal.

mod comparison;
pub mod leak;
mod load;
pub mod oom;
pub(crate) mod pieces;
mod plot;
pub mod stress;
mod table;

use crate::trial::TrialReport;

pub(crate) use pieces::{BAD, DOUBTFUL, FAINT, GOOD, STRONG};

/// A report of any trial. Coloured by escape sequences, which whoever prints it strips where they do not belong.
#[must_use]
pub fn report(report: &TrialReport) -> String {
    match report {
        TrialReport::Oom(report) => oom::report(report),
        TrialReport::Leak(report) => leak::report(report),
        TrialReport::Stress(report) => stress::report(report),
    }
}

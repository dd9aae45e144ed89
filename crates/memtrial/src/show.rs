//! `memtrial show`: a stored run printed again.

use anstream::{eprintln, print};
use memtrial_report::trial::TrialReport;
use memtrial_report::{csv, html, store, terminal};

use crate::arguments::{Format, Show};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::renderings;

/// Prints the run; the exit status is the run's own.
pub fn run(arguments: &Show) -> Result<ExitStatus, Failure> {
    let report = store::read_report(&arguments.folder).map_err(|error| {
        Failure::new(ExitStatus::Usage, format!("cannot show a run: {error}")).help(
            "name the folder of a finished run; one that was killed is finished by `memtrial oom --resume`, or `leak --resume`",
        )
    })?;
    let text = match arguments.format {
        Format::Text => {
            print!("{}", terminal::report(&report));
            String::new()
        }
        Format::Json => renderings::json(&report)?,
        Format::Junit => renderings::junit(&report)?,
        Format::Sarif => renderings::sarif(&report)?,
        Format::Html => html::page(&report),
        Format::Csv => table(&report, arguments)?,
    };
    renderings::print_as_it_is(&text)?;
    Ok(ExitStatus::from_code(report.exit_status()))
}

fn table(report: &TrialReport, arguments: &Show) -> Result<String, Failure> {
    match report {
        TrialReport::Leak(report) => Ok(csv::samples(report)),
        TrialReport::Stress(report) => Ok(csv::load_samples(report)),
        TrialReport::Oom(_) => {
            let (outcomes, unreadable) = store::read_outcomes(&arguments.folder)?;
            if unreadable > 0 {
                eprintln!("warning: {unreadable} outcomes could not be read");
            }
            Ok(csv::outcomes(&outcomes))
        }
    }
}

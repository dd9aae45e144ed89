//! `memtrial show`: a stored run printed again.

use anstream::{print, println};
use memtrial_report::{json, store, terminal};

use crate::arguments::{Format, Show};
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Prints the run; the exit status is the run's own.
pub fn run(arguments: &Show) -> Result<ExitStatus, Failure> {
    let report = store::read_report(&arguments.folder).map_err(|error| {
        Failure::new(ExitStatus::Usage, format!("cannot show a run: {error}")).help(
            "name the folder of a finished run; one that was killed is finished by `memtrial oom --resume`",
        )
    })?;
    match arguments.format {
        Format::Text => print!("{}", terminal::report(&report)),
        Format::Json => {
            let text = json::report(&report).map_err(|error| {
                Failure::new(ExitStatus::Bug, format!("cannot print the report: {error}"))
            })?;
            println!("{text}");
        }
    }
    Ok(ExitStatus::from_code(report.exit_status))
}

//! Files that a trial writes beside its results, in formats that other programs read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstream::{eprintln, print};
use memtrial_report::results::Results;
use memtrial_report::trial::TrialReport;
use memtrial_report::{html, json, junit, sarif, store, terminal};

use crate::arguments::Renderings;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Asks before anything runs whether the files can be written, so that no trial is made in vain.
pub fn check(renderings: &Renderings) -> Result<(), Failure> {
    for path in paths(renderings).into_iter().flatten() {
        if path.exists() {
            // Without truncating it: the trial may fail.
            OpenOptions::new().append(true).open(path).map_err(|error| unwritable(path, &error))?;
        } else {
            let absolute = std::path::absolute(path).map_err(|error| unwritable(path, &error))?;
            store::check_writable(absolute.parent().unwrap_or(&absolute))?;
        }
    }
    Ok(())
}

/// Writes the files that were asked for, and prints the report: as JSON, or for people, after the folder that results are
/// kept in. Returns how memtrial is to end.
pub fn deliver(
    renderings: &Renderings,
    as_json: bool,
    folder: Option<&Path>,
    report: &TrialReport,
) -> Result<ExitStatus, Failure> {
    write(renderings, report)?;
    if as_json {
        print!("{}", json(report)?);
    } else {
        if let Some(folder) = folder {
            eprintln!("results in {}", folder.display());
        }
        print!("{}", terminal::report(report));
    }
    Ok(ExitStatus::from_code(report.exit_status()))
}

fn write(renderings: &Renderings, report: &TrialReport) -> Result<(), Failure> {
    let [junit_file, sarif_file, html_file] = paths(renderings);
    let text = |wanted: Option<&PathBuf>, render: &dyn Fn() -> Result<String, Failure>| match wanted {
        Some(path) => write_file(path, &render()?).map_err(|error| unwritable(path, &error)),
        None => Ok(()),
    };
    text(junit_file, &|| junit(report))?;
    text(sarif_file, &|| sarif(report))?;
    text(html_file, &|| Ok(html::page(report)))?;
    Ok(())
}

fn paths(renderings: &Renderings) -> [Option<&PathBuf>; 3] {
    [renderings.junit.as_ref(), renderings.sarif.as_ref(), renderings.html.as_ref()]
}

/// In place, for it may be a pipe or a device.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitStatus::Usage, format!("cannot write {}: {error}", path.display()))
}

/// The report as JSON.
pub fn json(report: &TrialReport) -> Result<String, Failure> {
    json::report(report).map(|text| text + "\n").map_err(|error| unprintable(&error))
}

/// The report as JUnit XML.
pub fn junit(report: &TrialReport) -> Result<String, Failure> {
    junit::render(&Results::of(report)).map_err(|error| unprintable(&error))
}

/// The report as SARIF.
pub fn sarif(report: &TrialReport) -> Result<String, Failure> {
    sarif::render(&Results::of(report)).map(|text| text + "\n").map_err(|error| unprintable(&error))
}

/// Writes a text to stdout as it is, without looking for escape sequences: a file is meant, or another program. Whoever
/// reads may have read enough.
pub fn print_as_it_is(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitStatus::Barred, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitStatus::Bug, format!("cannot print the report: {error}"))
}

//! The output folder of a run: what is kept there, and how it is read back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::trial::TrialReport;
use crate::{csv, html, leak, model, stress};

/// Name of the output folder, unless the user gives one.
pub const DEFAULT_FOLDER: &str = "memtrial.out";

/// Facts of the run, for `--resume`.
const RUN: &str = "run.json";
/// Journal of `memtrial oom`: an outcome a line, as they come.
pub const OUTCOMES: &str = "outcomes.jsonl";
/// Journal of `memtrial leak`, what was seen after each round, and of `memtrial stress`, a
/// [`stress::SampleLine`] each: as they come.
pub const SAMPLES: &str = "samples.jsonl";
/// The report.
const FINDINGS: &str = "findings.json";
/// The report, to be looked at.
const PAGE: &str = "report.html";
/// The samples of `memtrial leak` and `memtrial stress`, for spreadsheets.
const SAMPLES_TABLE: &str = "samples.csv";
/// The target's stdin.
const STDIN: &str = "stdin";

/// Why a stored run can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file can't be read or written.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what memtrial has written.
    #[error("{}: not a memtrial result: {error}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
}

/// An output folder that is being filled: it lies beside its final place as `FOLDER.part`, so that what is there
/// from the run before stays until this one has a report.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    part: PathBuf,
    journal: File,
}

impl Store {
    /// Begins a new run, with a journal of this name.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn create(folder: &Path, journal: &str) -> Result<Store, StoreError> {
        let part = part_of(folder);
        if part.join(RUN).exists() {
            // A run that was killed, and is not gone on with.
            replace(&part, &beside(folder, ".old"))?;
        }
        DirBuilder::new().mode(0o700).recursive(true).create(&part).map_err(at(&part))?;
        // For targets that search their folder: results are not what they search for.
        write(&part.join(".gitignore"), b"*\n")?;
        write(&part.join(".ignore"), b"*\n")?;
        Store::append_to(folder, part, journal)
    }

    /// Goes on with a run that was killed or interrupted.
    ///
    /// # Errors
    /// When there is none, or its journal can't be appended to.
    pub fn resume(folder: &Path, journal: &str) -> Result<Store, StoreError> {
        let part = part_of(folder);
        if !part.exists() {
            fs::rename(folder, &part).map_err(at(folder))?;
        }
        Store::append_to(folder, part, journal)
    }

    fn append_to(folder: &Path, part: PathBuf, journal: &str) -> Result<Store, StoreError> {
        let path = part.join(journal);
        let mut journal =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(at(&path))?;
        // A line that was cut off when the run was killed must not swallow the next.
        if fs::read(&path).map_err(at(&path))?.last().is_some_and(|&last| last != b'\n') {
            journal.write_all(b"\n").map_err(at(&path))?;
        }
        Ok(Store { folder: folder.to_owned(), part, journal })
    }

    /// Takes back a run that has come to nothing: one without a line in its journal.
    pub fn discard(self) {
        if self.journal.metadata().is_ok_and(|facts| facts.len() == 0) {
            self.abandon();
        }
    }

    /// Takes back a run, whatever its journal has.
    pub fn abandon(self) {
        let _ = fs::remove_dir_all(&self.part);
    }

    /// Keeps the facts of the run.
    ///
    /// # Errors
    /// Those of writing.
    pub fn keep_run(&self, run: &impl Serialize) -> Result<(), StoreError> {
        self.write_json(RUN, run)
    }

    /// Keeps the target's stdin.
    ///
    /// # Errors
    /// Those of writing.
    pub fn keep_stdin(&self, stdin: &[u8]) -> Result<(), StoreError> {
        write(&stdin_in(&self.part), stdin)
    }

    /// Appends a line to the journal, at once.
    ///
    /// # Errors
    /// Those of writing.
    pub fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.journal.write_all(&line)
    }

    /// Keeps the report of `memtrial oom`, and for each finding a folder with what the target said. Then the
    /// results take the place of those of the run before, which become `FOLDER.old`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish_oom(self, report: &mut model::Report, outputs: &[[Vec<u8>; 2]]) -> Result<(), StoreError> {
        let kept = report.findings.iter_mut().zip(outputs);
        for (finding, [stdout, stderr]) in kept.filter(|(_, outputs)| outputs.iter().any(|o| !o.is_empty())) {
            let name = format!("findings/{}-{}-{}", finding.verdict.word(), finding.site, finding.nth);
            let folder = self.part.join(&name);
            DirBuilder::new().mode(0o700).recursive(true).create(&folder).map_err(at(&folder))?;
            write(&folder.join("stdout"), stdout)?;
            write(&folder.join("stderr"), stderr)?;
            finding.folder = Some(name);
        }
        self.finish(&report.clone().into())
    }

    /// Keeps the report of `memtrial leak`, and its samples as a table. Then the results take the place of those
    /// of the run before, which become `FOLDER.old`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish_leak(self, report: &leak::Report) -> Result<(), StoreError> {
        write(&self.part.join(SAMPLES_TABLE), csv::samples(report).as_bytes())?;
        self.finish(&report.clone().into())
    }

    /// Keeps the report of `memtrial stress`, and its samples as a table. Then the results take the place of those
    /// of the run before, which become `FOLDER.old`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish_stress(self, report: &stress::Report) -> Result<(), StoreError> {
        write(&self.part.join(SAMPLES_TABLE), csv::load_samples(report).as_bytes())?;
        self.finish(&report.clone().into())
    }

    fn finish(self, report: &TrialReport) -> Result<(), StoreError> {
        self.write_json(FINDINGS, report)?;
        write(&self.part.join(PAGE), html::page(report).as_bytes())?;
        if self.folder.join(RUN).exists() {
            replace(&self.folder, &beside(&self.folder, ".old"))?;
        }
        move_into(&self.part, &self.folder)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let path = self.part.join(name);
        let text = serde_json::to_vec_pretty(value)
            .map_err(|error| StoreError::Malformed { path: path.clone(), error })?;
        write(&path, &text)
    }
}

/// Where a run that is not finished keeps its results; to be hidden from the target, for they grow.
#[must_use]
pub fn part_of(folder: &Path) -> PathBuf {
    beside(folder, ".part")
}

/// Where the results of the newest run lie: one that was killed counts, for `--resume`.
#[must_use]
pub fn newest(folder: &Path) -> PathBuf {
    let part = part_of(folder);
    if part.join(RUN).exists() { part } else { folder.to_owned() }
}

fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Moves a run to where another may be, which goes; but never what is not a run.
fn replace(from: &Path, to: &Path) -> Result<(), StoreError> {
    if to.join(RUN).exists() {
        fs::remove_dir_all(to).map_err(at(to))?;
    }
    fs::rename(from, to).map_err(at(to))
}

/// Moves a run to its final place; a folder that is there already and is no run keeps what else is in it.
fn move_into(part: &Path, folder: &Path) -> Result<(), StoreError> {
    if !folder.exists() {
        return fs::rename(part, folder).map_err(at(folder));
    }
    for entry in fs::read_dir(part).map_err(at(part))?.flatten() {
        let to = folder.join(entry.file_name());
        fs::rename(entry.path(), &to).map_err(at(&to))?;
    }
    fs::remove_dir_all(part).map_err(at(part))
}

/// The report of a stored run.
///
/// # Errors
/// When it is not there, or not memtrial's.
pub fn read_report(folder: &Path) -> Result<TrialReport, StoreError> {
    read_json(&folder.join(FINDINGS))
}

/// The facts of a stored run.
///
/// # Errors
/// When they are not there, or not memtrial's.
pub fn read_run<T: DeserializeOwned>(folder: &Path) -> Result<T, StoreError> {
    read_json(&folder.join(RUN))
}

/// Where the target's stdin of a run is kept.
#[must_use]
pub fn stdin_in(folder: &Path) -> PathBuf {
    folder.join(STDIN)
}

/// Whether results could be kept in this folder; makes nothing.
///
/// # Errors
/// When it, or the next folder above that is there, can't be written to.
pub fn check_writable(folder: &Path) -> Result<(), StoreError> {
    let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(folder);
    let facts = fs::metadata(there).map_err(at(there))?;
    if !facts.is_dir() {
        return Err(at(there)(io::ErrorKind::NotADirectory.into()));
    }
    // The only way to know is to try: the user may be root, the file system read-only.
    tempfile::tempfile_in(there).map(drop).map_err(at(there))
}

/// The target's stdin of a stored run; empty if none was kept.
#[must_use]
pub fn read_stdin(folder: &Path) -> Vec<u8> {
    fs::read(stdin_in(folder)).unwrap_or_default()
}

/// The lines of a stored run's journal, and how many could not be read.
///
/// # Errors
/// When the file can't be read.
pub fn read_journal<T: DeserializeOwned>(
    folder: &Path,
    journal: &str,
) -> Result<(Vec<T>, usize), StoreError> {
    let path = folder.join(journal);
    let bytes = fs::read(&path).map_err(at(&path))?;
    let lines = bytes.split(|&c| c == b'\n').filter(|line| !line.is_empty());
    let (good, bad): (Vec<_>, Vec<_>) = lines.map(serde_json::from_slice).partition(Result::is_ok);
    Ok((good.into_iter().flatten().collect(), bad.len()))
}

/// The outcomes of a stored run of `memtrial oom`, and how many lines could not be read. A later line about the
/// same allocation counts.
///
/// # Errors
/// When the file can't be read.
pub fn read_outcomes(folder: &Path) -> Result<(Vec<model::Outcome>, usize), StoreError> {
    read_journal(folder, OUTCOMES)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&bytes).map_err(|error| StoreError::Malformed { path: path.to_owned(), error })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(bytes)).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{leak_report, oom_report, outcome, stress_report};

    fn make(folder: &Path, run: i32) {
        let store = Store::create(folder, OUTCOMES).unwrap();
        store.keep_run(&run).unwrap();
        store.finish_oom(&mut oom_report(), &[]).unwrap();
    }

    #[test]
    fn outcomes_survive_a_run_that_was_killed_in_the_middle_of_a_line() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        let mut store = Store::create(&folder, OUTCOMES).unwrap();
        store.keep_run(&1).unwrap();
        store.append(&outcome(1)).unwrap();
        store.journal.write_all(b"{\"hash\":\"00").unwrap();
        let mut store = Store::resume(&folder, OUTCOMES).unwrap();
        store.append(&outcome(2)).unwrap();
        assert_eq!(read_outcomes(&newest(&folder)).unwrap(), (vec![outcome(1), outcome(2)], 1));
        store.finish_oom(&mut oom_report(), &[]).unwrap();
        assert_eq!(newest(&folder), folder);
    }

    #[test]
    fn the_run_before_becomes_old_when_the_new_one_is_finished() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        (0..3).for_each(|run| make(&folder, run));
        let unfinished = Store::create(&folder, OUTCOMES).unwrap();
        assert_eq!(read_run::<i32>(&folder).unwrap(), 2);
        assert_eq!(read_run::<i32>(&place.path().join("out.old")).unwrap(), 1);
        unfinished.discard();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_not_memtrials_in_the_folder_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("mine"), "x").unwrap();
        make(&folder, 1);
        assert!(folder.join("mine").exists());
        assert_eq!(read_report(&folder).unwrap(), oom_report().into());
    }

    #[test]
    fn a_leak_run_is_kept_with_its_samples_as_a_table() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        let mut store = Store::create(&folder, SAMPLES).unwrap();
        store.keep_run(&1).unwrap();
        store.append(&"any line").unwrap();
        store.finish_leak(&leak_report()).unwrap();
        assert_eq!(read_report(&folder).unwrap(), leak_report().into());
        assert_eq!(read_journal::<String>(&folder, SAMPLES).unwrap(), (vec!["any line".to_owned()], 0));
        assert!(fs::read_to_string(folder.join(SAMPLES_TABLE)).unwrap().starts_with("role,pid,"));
    }

    #[test]
    fn a_stress_run_is_kept_with_its_samples_as_they_came_and_as_a_table() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        let mut store = Store::create(&folder, SAMPLES).unwrap();
        store.keep_run(&1).unwrap();
        let report = stress_report();
        let line = stress::SampleLine { place: 0, sample: report.loaded[0].samples[3] };
        store.append(&line).unwrap();
        store.finish_stress(&report).unwrap();
        assert_eq!(read_report(&folder).unwrap(), report.into());
        assert_eq!(read_journal::<stress::SampleLine>(&folder, SAMPLES).unwrap(), (vec![line], 0));
        assert!(fs::read_to_string(folder.join(SAMPLES_TABLE)).unwrap().starts_with("loaded,pid,"));
    }
}

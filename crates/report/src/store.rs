//! The output folder of a run: what is kept there, and how it is read back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Outcome, Report};

/// Name of the output folder, unless the user gives one.
pub const DEFAULT_FOLDER: &str = "memtrial.out";

/// Facts of the run, for `--resume`.
const RUN: &str = "run.json";
/// One outcome a line, as they come.
const OUTCOMES: &str = "outcomes.jsonl";
/// The report.
const FINDINGS: &str = "findings.json";
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

/// An output folder that is being filled.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    outcomes: File,
}

impl Store {
    /// Begins a new run: a folder that is there already becomes `FOLDER.old`, in place of the one before.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn create(folder: &Path) -> Result<Store, StoreError> {
        if folder.join(RUN).exists() {
            let mut old = folder.as_os_str().to_owned();
            old.push(".old");
            let old = PathBuf::from(old);
            if old.join(RUN).exists() {
                fs::remove_dir_all(&old).map_err(at(&old))?;
            }
            fs::rename(folder, &old).map_err(at(folder))?;
        }
        DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(at(folder))?;
        // So that a target that looks at its repository does not see the results grow.
        write(&folder.join(".gitignore"), b"*\n")?;
        Store::open(folder)
    }

    /// Goes on with a run.
    ///
    /// # Errors
    /// When the outcomes can't be appended to.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        let path = folder.join(OUTCOMES);
        let mut outcomes =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(at(&path))?;
        // A line that was cut off when the run was killed must not swallow the next.
        if fs::read(&path).map_err(at(&path))?.last().is_some_and(|&last| last != b'\n') {
            outcomes.write_all(b"\n").map_err(at(&path))?;
        }
        Ok(Store { folder: folder.to_owned(), outcomes })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
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
        write(&stdin_in(&self.folder), stdin)
    }

    /// Appends an outcome, at once.
    ///
    /// # Errors
    /// Those of writing.
    pub fn append(&mut self, outcome: &Outcome) -> io::Result<()> {
        let mut line = serde_json::to_vec(outcome)?;
        line.push(b'\n');
        self.outcomes.write_all(&line)
    }

    /// Keeps the report, and for each finding a folder with what the target said.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(&self, report: &mut Report, outputs: &[[Vec<u8>; 2]]) -> Result<(), StoreError> {
        let kept = report.findings.iter_mut().zip(outputs);
        for (finding, [stdout, stderr]) in kept.filter(|(_, outputs)| outputs.iter().any(|o| !o.is_empty())) {
            let name = format!("findings/{}-{}-{}", finding.verdict.word(), finding.site, finding.nth);
            let folder = self.folder.join(&name);
            DirBuilder::new().mode(0o700).recursive(true).create(&folder).map_err(at(&folder))?;
            write(&folder.join("stdout"), stdout)?;
            write(&folder.join("stderr"), stderr)?;
            finding.folder = Some(name);
        }
        self.write_json(FINDINGS, report)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let text = serde_json::to_vec_pretty(value)
            .map_err(|error| StoreError::Malformed { path: path.clone(), error })?;
        write(&path, &text)
    }
}

/// The report of a stored run.
///
/// # Errors
/// When it is not there, or not memtrial's.
pub fn read_report(folder: &Path) -> Result<Report, StoreError> {
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

/// The outcomes of a stored run, and how many lines could not be read. A later line about the same allocation
/// counts.
///
/// # Errors
/// When the file can't be read.
pub fn read_outcomes(folder: &Path) -> Result<(Vec<Outcome>, usize), StoreError> {
    let path = folder.join(OUTCOMES);
    let bytes = fs::read(&path).map_err(at(&path))?;
    let lines = bytes.split(|&c| c == b'\n').filter(|line| !line.is_empty());
    let (good, bad): (Vec<_>, Vec<_>) = lines.map(serde_json::from_slice).partition(Result::is_ok);
    Ok((good.into_iter().flatten().collect(), bad.len()))
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
    use crate::model::{End, Verdict, Way};

    fn outcome(nth: u64) -> Outcome {
        Outcome {
            hash: "00000000000000aa".to_owned(),
            nth,
            ordinal: nth,
            way: Way::Snapshot,
            end: End::Exit(1),
            verdict: Verdict::Handled,
            grade: None,
            instead_of: None,
        }
    }

    #[test]
    fn outcomes_survive_a_run_that_was_killed_in_the_middle_of_a_line() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        let mut store = Store::create(&folder).unwrap();
        store.append(&outcome(1)).unwrap();
        store.outcomes.write_all(b"{\"hash\":\"00").unwrap();
        let mut store = Store::open(&folder).unwrap();
        store.append(&outcome(2)).unwrap();
        assert_eq!(read_outcomes(&folder).unwrap(), (vec![outcome(1), outcome(2)], 1));
    }

    #[test]
    fn the_folder_before_becomes_old() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        for run in 0..3 {
            Store::create(&folder).unwrap().keep_run(&run).unwrap();
        }
        assert_eq!(read_run::<i32>(&folder).unwrap(), 2);
        assert_eq!(read_run::<i32>(&place.path().join("out.old")).unwrap(), 1);
    }

    #[test]
    fn a_folder_that_is_not_memtrials_is_never_moved() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("mine"), "x").unwrap();
        Store::create(&folder).unwrap();
        assert!(folder.join("mine").exists());
        assert!(matches!(read_report(&folder), Err(StoreError::Io { .. })));
    }
}

//! A process under a limit, and what was there before, kept so that it can be put back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address_space::{self, AddressSpace};
use super::group::{self, Group};
use crate::observe;

/// How the files begin in a scratch folder in which limits are kept, for whoever has to lift them.
const KEPT: &str = "limit-";

/// How a process is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By a control group of version 1.
    CgroupV1,
    /// By a control group of version 2.
    CgroupV2,
    /// By its address space.
    AddressSpace,
}

/// A process that may have no more than so much memory beside what it had. Dropping this lifts nothing.
#[derive(Debug)]
pub struct Limited {
    record: Record,
    kept: PathBuf,
    /// Why it is not a better kind.
    note: Option<String>,
}

/// All that lifting the limit takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// When the process was started, in clock ticks: its pid may be another's by then.
    started: u64,
    by: By,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum By {
    Group(Group),
    AddressSpace(AddressSpace),
}

/// Why a process can't be limited.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// There is no way for this user.
    #[error("process {pid} can't be limited: {error}")]
    Refused {
        /// The process.
        pid: i32,
        /// What the kernel said.
        error: io::Error,
    },
    /// It can't be put back to where it was.
    #[error("the limit of process {pid} can't be lifted: {error}")]
    Kept {
        /// The process.
        pid: i32,
        /// What the kernel said.
        error: io::Error,
    },
    /// What lifting it takes can't be kept.
    #[error("{}: {error}", .file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The file in a scratch folder by which the limit of the process `pid` can be lifted, should this process be killed.
#[must_use]
pub fn record_of(scratch: &Path, pid: i32) -> PathBuf {
    scratch.join(format!("{KEPT}{pid}"))
}

/// Lifts all limits that are recorded in a scratch folder.
pub fn clean_up(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(KEPT)
            && let Ok(text) = fs::read(entry.path())
            && let Ok(record) = serde_json::from_slice::<Record>(&text)
        {
            let _ = record.lift();
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Limited {
    /// Limits the process `pid` to `bytes` beside the memory it has: by a control group of its own, whose pages are
    /// only those it gets from now on, else by its address space. What lifting it takes is kept in the file `keep`,
    /// see [`record_of`].
    ///
    /// # Errors
    /// When there is no way for this user.
    pub fn apply(pid: i32, bytes: u64, keep: &Path) -> Result<Limited, LimitError> {
        let refused = |error| LimitError::Refused { pid, error };
        let stat = observe::stat_of(pid).map_err(|error| refused(io::Error::other(error.to_string())))?;
        let record = |by| Record { pid, started: stat.started, by };
        let mut note = None;
        for group in group::places(pid).unwrap_or_default() {
            let record = record(By::Group(group.clone()));
            // Before it is made, so that there is no moment in which nobody would remove it.
            record.keep(keep)?;
            match group.enter(pid, bytes) {
                Ok(()) => return Ok(Limited { record, kept: keep.to_owned(), note: None }),
                Err(error) => {
                    // The others are farther from the process: who may not here, may not there.
                    note.get_or_insert_with(|| format!("no control group could be made: {error}"));
                    let _ = group.leave();
                    let _ = fs::remove_file(keep);
                }
            }
        }
        let space = address_space::limit(pid, bytes).map_err(refused)?;
        let record = record(By::AddressSpace(space));
        if let Err(error) = record.keep(keep) {
            let _ = record.lift();
            return Err(error);
        }
        Ok(Limited { record, kept: keep.to_owned(), note })
    }

    /// How it is limited.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.record.by {
            By::Group(Group { unified: true, .. }) => Kind::CgroupV2,
            By::Group(_) => Kind::CgroupV1,
            By::AddressSpace(_) => Kind::AddressSpace,
        }
    }

    /// Why it is not limited in a better way.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// How often the limit was met, as the kernel counts; `None` where it does not.
    #[must_use]
    pub fn met(&self) -> Option<u64> {
        match &self.record.by {
            By::Group(group) => Some(group.met()),
            By::AddressSpace(_) => None,
        }
    }

    /// How many of the processes under this limit the kernel has killed for want of memory.
    #[must_use]
    pub fn killed(&self) -> u64 {
        match &self.record.by {
            By::Group(group) => group.killed(),
            By::AddressSpace(_) => 0,
        }
    }

    /// Puts the process, and what it has started meanwhile, back where it was.
    ///
    /// # Errors
    /// When something stays in the group, or the group stays.
    pub fn release(self) -> Result<(), LimitError> {
        let pid = self.record.pid;
        self.record.lift().map_err(|error| LimitError::Kept { pid, error })?;
        let _ = fs::remove_file(&self.kept);
        Ok(())
    }
}

impl Record {
    fn keep(&self, file: &Path) -> Result<(), LimitError> {
        let written =
            serde_json::to_vec(self).map_err(io::Error::from).and_then(|text| fs::write(file, text));
        written.map_err(|error| LimitError::Record { file: file.to_owned(), error })
    }

    fn lift(&self) -> io::Result<()> {
        match &self.by {
            By::Group(group) => group.leave(),
            By::AddressSpace(space) => {
                if observe::stat_of(self.pid).is_ok_and(|stat| stat.started == self.started) {
                    space.lift(self.pid);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "limited_tests.rs"]
mod tests;

//! Switching memory events in a process that another memtrial traces.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memtrial_symbols::remote::{Mapping, parse_maps};
use memtrial_wire::layout::{Control, MAGIC, VERSION, mode, offset};
use memtrial_wire::tracing::Tracing;

/// Where the word is that says which events are enabled.
const ENABLED: u64 = (offset_of!(Control, tracing) + offset_of!(Tracing, enabled)) as u64;

/// Why events of a process can't be switched.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The process has ended, or there never was one.
    #[error("there is no process {0}")]
    Gone(i32),
    /// The process may not be looked into.
    #[error("cannot look into process {pid}: {error}")]
    Forbidden {
        /// The process.
        pid: i32,
        /// Why.
        error: io::Error,
    },
    /// No agent in it tells of events.
    #[error("process {0} is not being traced by memtrial")]
    Untraced(i32),
    /// Another version of memtrial traces it.
    #[error("process {pid} is being traced by another version of memtrial")]
    Version {
        /// The process.
        pid: i32,
    },
}

/// The memory that the agent in a process shares with the memtrial that traces it.
#[derive(Debug)]
pub struct Switches {
    pid: i32,
    file: File,
}

impl Switches {
    /// Finds the memory.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: i32) -> Result<Switches, SwitchError> {
        let text = fs::read_to_string(format!("/proc/{pid}/maps"));
        let text = text.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SwitchError::Gone(pid),
            // Of a process that is about to end.
            _ if error.raw_os_error() == Some(ESRCH) => SwitchError::Gone(pid),
            _ => SwitchError::Forbidden { pid, error },
        })?;
        // Of several, that of the trace which goes on: the others' files are removed.
        let fits = |mapping: &Mapping| {
            mapping.offset == 0
                && mapping.end - mapping.start == (offset::END as u64).next_multiple_of(4096)
                && !mapping.is_deleted()
        };
        for mapping in parse_maps(&text).into_iter().filter(fits) {
            let path = PathBuf::from(format!("/proc/{pid}/root"))
                .join(mapping.path.strip_prefix("/").unwrap_or(&mapping.path));
            let file = match open(&path, pid) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) => return Err(SwitchError::Forbidden { pid, error }),
            };
            match read_head(&file) {
                Some((MAGIC, VERSION, mode::TRACE)) => return Ok(Switches { pid, file }),
                Some((MAGIC, version, _)) if version != VERSION => return Err(SwitchError::Version { pid }),
                _ => {}
            }
        }
        Err(SwitchError::Untraced(pid))
    }

    /// Switches the events of `bits` on or off; returns those that are enabled now.
    ///
    /// # Errors
    /// When the memory can't be written.
    pub fn switch(&self, bits: u64, on: bool) -> Result<u64, SwitchError> {
        let failed = |error| SwitchError::Forbidden { pid: self.pid, error };
        // Two that switch at once wait for each other. The file is closed, and so let go, by both.
        self.file.lock().map_err(failed)?;
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, ENABLED).map_err(failed)?;
        let before = u64::from_le_bytes(word);
        let now = if on { before | bits } else { before & !bits };
        self.file.write_all_at(&now.to_le_bytes(), ENABLED).map_err(failed)?;
        Ok(now)
    }
}

/// `O_NOFOLLOW | O_NONBLOCK`: what was a file may be a link or a pipe by now.
const UNMOVED: i32 = 0o404_000;
/// No such process.
const ESRCH: i32 = 3;

/// Opens a file that a process has mapped, if it belongs to whom that is expected of: anybody could map a file that looks
/// like memtrial's.
fn open(path: &Path, pid: i32) -> io::Result<Option<File>> {
    let file = match OpenOptions::new().read(true).write(true).custom_flags(UNMOVED).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let facts = file.metadata()?;
    let theirs = fs::metadata(format!("/proc/{pid}"))?.uid();
    let expected = facts.is_file() && facts.len() == offset::END as u64 && [theirs, 0].contains(&facts.uid());
    Ok(expected.then_some(file))
}

/// The words by which the memory is known: magic, version, mode.
fn read_head(file: &File) -> Option<(u64, u32, u32)> {
    let mut head = [0; offset_of!(Control, mode) + 4];
    file.read_exact_at(&mut head, 0).ok()?;
    let word = |at: usize| head.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let magic = u64::from_le_bytes(*head.first_chunk()?);
    Some((magic, word(offset_of!(Control, version))?, word(offset_of!(Control, mode))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::backends::Backends;
    use crate::trace::memory_events::MemoryEvents;
    use std::sync::atomic::Ordering;

    #[test]
    fn events_are_switched_in_the_memory_that_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let me = std::process::id().cast_signed();
        let events = MemoryEvents::prepare(folder.path(), &Backends::default(), 1, &[], true, false).unwrap();
        let file = open(events.memory().path(), me).unwrap().unwrap();
        assert_eq!(read_head(&file), Some((MAGIC, VERSION, mode::TRACE)));
        let switches = Switches { pid: me, file };
        assert_eq!(switches.switch(6, true).unwrap(), 7);
        assert_eq!(switches.switch(3, false).unwrap(), 4);
        assert_eq!(events.memory().control().tracing.enabled.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_process_that_is_not_there_or_not_traced_is_said_to_be_so() {
        assert!(matches!(Switches::of(i32::MAX), Err(SwitchError::Gone(_))));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let found = Switches::of(child.id().cast_signed());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(found, Err(SwitchError::Untraced(_))), "{found:?}");
    }
}

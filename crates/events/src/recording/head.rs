//! The head of a recording, and the table behind it.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memtrial_wire::recording::{self as wire, CHUNK, HEAD, MAGIC, MAX_TABLE, VERSION, clock};

use super::clock::Clock;
use super::error::{RecordingError, seems_to_be};
use super::table;
use crate::hit::Table;

/// A recording whose head and table are in order.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: File,
    pub table: Table,
    pub clock: Clock,
    /// Where the first chunk begins.
    pub chunks_at: u64,
}

/// What changes in the head while the recording is being written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// Chunks taken.
    pub taken: u64,
    /// Hits that found no room.
    pub dropped: u64,
}

/// Opens a file, and reads its head and its table.
pub(super) fn open(path: &Path) -> Result<Opened, RecordingError> {
    let unreadable = |source| RecordingError::Io { path: path.to_owned(), source };
    let damaged = |why: String| RecordingError::Damaged { path: path.to_owned(), why };
    let other = |what| RecordingError::Other { path: path.to_owned(), what };
    let kind = std::fs::metadata(path).map_err(unreadable)?.file_type();
    if kind.is_dir() {
        return Err(other("a folder"));
    } else if !kind.is_file() {
        // A pipe would be waited for.
        return Err(other("a device or a pipe"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = [0; size_of::<wire::Head>()];
    let read = read_at_most(&file, &mut bytes, 0).map_err(unreadable)?;
    let bytes = &bytes[..read];
    if u64_at(bytes, offset_of!(wire::Head, magic)) != Some(MAGIC) {
        return Err(other(seems_to_be(bytes)));
    }
    let cut = || damaged("its head is cut".to_owned());
    let word = |offset| u32_at(bytes, offset).ok_or_else(cut);
    let long = |offset| u64_at(bytes, offset).ok_or_else(cut);
    let found = word(offset_of!(wire::Head, version))?;
    if found != VERSION {
        return Err(RecordingError::Version { path: path.to_owned(), found });
    }
    // The counters at its end are read again and again.
    if bytes.len() < size_of::<wire::Head>() {
        return Err(cut());
    }
    let per_second = long(offset_of!(wire::Head, ticks_per_second))?;
    let clock = match word(offset_of!(wire::Head, clock))? {
        clock::MONOTONIC => Clock::Monotonic,
        clock::TICKS if per_second > 0 => Clock::ticks(per_second),
        other => {
            return Err(damaged(format!("it has no clock of number {other}, {per_second} ticks a second")));
        }
    };
    let wall_offset = long(offset_of!(wire::Head, wall_offset))?.cast_signed();
    let length = long(offset_of!(wire::Head, table))?;
    let chunks_at = long(offset_of!(wire::Head, chunks_at))?;
    let room = chunks_at.saturating_sub(HEAD as u64);
    if length > MAX_TABLE as u64 || length > room || chunks_at % CHUNK as u64 != 0 {
        return Err(damaged(format!("{length} bytes of table do not fit before {chunks_at}")));
    }
    // Not more than there is, whatever the head claims.
    let length = length as usize;
    let there = file.metadata().map_err(unreadable)?.len().saturating_sub(HEAD as u64);
    if there < length as u64 {
        return Err(damaged("its table is cut".to_owned()));
    }
    let mut text = vec![0; length];
    file.read_exact_at(&mut text, HEAD as u64).map_err(unreadable)?;
    let text = String::from_utf8(text).map_err(|_| damaged("its table is no text".to_owned()))?;
    let events = table::read(&text).map_err(damaged)?;
    Ok(Opened { file, table: Table { events, wall_offset }, clock, chunks_at })
}

impl Opened {
    /// Reads what changes.
    pub fn counters(&self) -> io::Result<Counters> {
        const FROM: usize = offset_of!(wire::Head, taken);
        const DROPPED: usize = offset_of!(wire::Head, dropped) - FROM;
        let mut bytes = [0; DROPPED + 8];
        self.file.read_exact_at(&mut bytes, FROM as u64)?;
        let long = |offset| u64_at(&bytes, offset).unwrap_or(0);
        Ok(Counters { taken: long(0), dropped: long(DROPPED) })
    }

    /// How many chunks begin within the file as it is now.
    pub fn present(&self) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        Ok(length.saturating_sub(self.chunks_at).div_ceil(CHUNK as u64))
    }

    /// Where a chunk begins. The number is less than that of [`Opened::present`].
    pub fn chunk_at(&self, number: u64) -> u64 {
        self.chunks_at.saturating_add(number.saturating_mul(CHUNK as u64))
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_at_most(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at.saturating_add(read as u64)) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// The word at an offset.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The long word at an offset.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

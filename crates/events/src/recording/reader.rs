//! A recording that is complete, read in the order of times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use memtrial_wire::recording::{Before, CHUNK_HEAD, RECORD_HEAD};

use super::chunk::{self, ChunkHead, State};
use super::error::RecordingError;
use super::head::{self, Opened, read_at_most};
use super::record;
use crate::hit::{Hit, Table};

/// A recording. What is written to it after [`Recording::open`] is not seen.
#[derive(Debug)]
pub struct Recording {
    opened: Opened,
    chunks: Vec<Start>,
    dropped: u64,
    damaged: u64,
    absent: u64,
}

/// A chunk that has records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    /// Time of the first record, as it is recorded: moments of chunks differ by more than two records may lie apart.
    time: u64,
    number: u64,
}

impl Recording {
    /// Opens a recording, and looks at the beginning of each chunk.
    ///
    /// # Errors
    /// When it is something else, or its head or its table are damaged. Damaged chunks are counted instead.
    pub fn open(path: &Path) -> Result<Recording, RecordingError> {
        let opened = head::open(path)?;
        let mut recording = Recording { opened, chunks: Vec::new(), dropped: 0, damaged: 0, absent: 0 };
        recording.look().map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        Ok(recording)
    }

    /// What its hits refer to.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.opened.table
    }

    /// Hits that found no room when it was written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Its hits, in the order of their times.
    #[must_use]
    pub fn hits(&self) -> Hits<'_> {
        Hits {
            recording: self,
            next: 0,
            open: Vec::new(),
            first: BinaryHeap::new(),
            last: 0,
            damaged: self.damaged,
            absent: self.absent,
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let counters = self.opened.counters()?;
        let present = self.opened.present()?.min(counters.taken);
        (self.dropped, self.absent) = (counters.dropped, counters.taken - present);
        for number in 0..present {
            let mut bytes = [0; CHUNK_HEAD + RECORD_HEAD];
            let read = read_at_most(&self.opened.file, &mut bytes, self.opened.chunk_at(number))?;
            match chunk::head(&bytes[..read]) {
                State::NotYet if read < CHUNK_HEAD => self.absent += 1,
                State::NotYet => {}
                State::Damaged => self.damaged += 1,
                State::Open(head) => {
                    self.opened.clock.know(head.moment);
                    let opened = head.moment.0;
                    let time = record::time(&bytes[CHUNK_HEAD..read], &Before::at(opened));
                    if head.used > CHUNK_HEAD {
                        self.chunks.push(Start { time: time.unwrap_or(opened), number });
                    }
                }
            }
        }
        self.chunks.sort_unstable();
        Ok(())
    }
}

/// The hits of a recording, in the order of their times.
#[derive(Debug)]
pub struct Hits<'a> {
    recording: &'a Recording,
    /// The chunk that begins next.
    next: usize,
    open: Vec<Option<Cursor>>,
    /// The next hit of each open chunk: its time as it is recorded, the number of its chunk, and its index in `open`.
    first: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// Time of the last hit, in nanoseconds.
    last: u64,
    damaged: u64,
    absent: u64,
}

/// A chunk that is being read.
#[derive(Debug)]
struct Cursor {
    head: ChunkHead,
    bytes: Vec<u8>,
    at: usize,
    /// What the record there is read against.
    before: Before,
    next: Hit,
}

/// A hit with its time as it is recorded, and where the next one is.
struct Read {
    hit: Hit,
    time: u64,
    at: usize,
}

impl Hits<'_> {
    /// Chunks met so far that are damaged or cut; what is before the damage is read.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Chunks that were taken but are not in the file.
    #[must_use]
    pub fn absent(&self) -> u64 {
        self.absent
    }

    fn advance(&mut self) -> io::Result<Option<Hit>> {
        // All chunks that begin before the first hit of those that are open.
        while let Some(start) = self.recording.chunks.get(self.next) {
            if self
                .first
                .peek()
                .is_some_and(|Reverse((time, number, _))| (*time, *number) < (start.time, start.number))
            {
                break;
            }
            self.next += 1;
            self.enter(start.number)?;
        }
        let Some(Reverse((_, number, index))) = self.first.pop() else { return Ok(None) };
        let Some(mut cursor) = self.open[index].take() else { return Ok(None) };
        let following = self.read(&cursor.head, &cursor.bytes, cursor.at, &mut cursor.before);
        let mut hit = match following {
            Some(Read { hit: next, time, at }) => {
                self.first.push(Reverse((time, number, index)));
                let hit = std::mem::replace(&mut cursor.next, next);
                cursor.at = at;
                self.open[index] = Some(cursor);
                hit
            }
            None => cursor.next,
        };
        self.last = self.last.max(hit.time);
        hit.time = self.last;
        Ok(Some(hit))
    }

    /// Opens a chunk.
    fn enter(&mut self, number: u64) -> io::Result<()> {
        let opened = &self.recording.opened;
        let at = opened.chunk_at(number);
        let mut head = [0; CHUNK_HEAD];
        let read = read_at_most(&opened.file, &mut head, at)?;
        let State::Open(head) = chunk::head(&head[..read]) else {
            self.damaged += 1;
            return Ok(());
        };
        let mut bytes = vec![0; head.used - CHUNK_HEAD];
        let read = read_at_most(&opened.file, &mut bytes, at + CHUNK_HEAD as u64)?;
        bytes.truncate(read);
        // What the head claims and the file has not is damage, found when the rest has been read.
        let mut before = Before::at(head.moment.0);
        if let Some(Read { hit: next, time, at }) = self.read(&head, &bytes, 0, &mut before) {
            let cursor = Some(Cursor { head, bytes, at, before, next });
            let index = match self.open.iter().position(Option::is_none) {
                Some(index) => index,
                None => {
                    self.open.push(None);
                    self.open.len() - 1
                }
            };
            self.open[index] = cursor;
            self.first.push(Reverse((time, number, index)));
        }
        Ok(())
    }

    /// The hit at an offset; none at the end, or where it is damaged.
    fn read(&mut self, head: &ChunkHead, bytes: &[u8], at: usize, before: &mut Before) -> Option<Read> {
        let Opened { table, clock, .. } = &self.recording.opened;
        if at + CHUNK_HEAD >= head.used {
            return None;
        }
        let Some(record) = record::read(&bytes[at..], &table.events, before) else {
            self.damaged += 1;
            return None;
        };
        let time = clock.nanoseconds(record.time, head.moment);
        let hit = Hit {
            event: record.event,
            time,
            pid: head.pid,
            tid: head.tid,
            values: record.values,
            stack: None,
        };
        Some(Read { hit, time: record.time, at: at + record.size })
    }
}

impl Iterator for Hits<'_> {
    type Item = io::Result<Hit>;

    fn next(&mut self) -> Option<io::Result<Hit>> {
        self.advance().transpose()
    }
}

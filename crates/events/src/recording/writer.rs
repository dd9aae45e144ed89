//! A recording written by the controller, of hits of any source.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memtrial_wire::recording::{
    self as wire, Before, CHUNK, CHUNK_HEAD, HEAD, MAGIC, MAX_TABLE, VERSION, clock,
};

use super::chunk::{self, ChunkHead};
use super::record;
use super::table;
use crate::event::Event;
use crate::hit::{Hit, Table};

/// Bytes of the table besides those that it begins with: events become known while a trace goes on.
const ROOM: usize = 1 << 20;

/// Writes a recording. A chunk is a thread's, as in those that the agent writes; times are nanoseconds of CLOCK_MONOTONIC.
/// Call stacks are not written.
#[derive(Debug)]
pub struct Writer {
    file: File,
    chunks_at: u64,
    /// Events whose lines are written.
    events: usize,
    /// Bytes of the table.
    table: usize,
    /// Chunks that are not full, by process and thread.
    open: HashMap<(u32, u32), Open>,
    taken: u64,
    dropped: u64,
}

/// A chunk that is not full.
#[derive(Debug)]
struct Open {
    number: u64,
    head: ChunkHead,
    /// What the next record is written against.
    before: Before,
    /// Records that are not in the file yet; they end at `head.used`.
    pending: Vec<u8>,
}

impl Open {
    /// Appends a hit if there is room for it.
    fn append(&mut self, number: u16, event: &Event, hit: &Hit) -> bool {
        let (from, room) = (self.pending.len(), CHUNK - self.head.used);
        let (into, before) = (&mut self.pending, &mut self.before);
        let written = record::write(into, room, number, event, hit.time, &hit.values, before);
        self.head.used += self.pending.len() - from;
        written
    }
}

impl Writer {
    /// Makes a recording of an empty or new file, with the events that are known by now.
    ///
    /// # Errors
    /// When the file can't be written, or can't be written at any place of it, as a pipe; or the table is too big.
    pub fn create(path: &Path, table: &Table) -> io::Result<Writer> {
        let file = File::create(path)?;
        let text: usize = table.events.iter().map(|event| table::line(event).len()).sum();
        let chunks_at = (HEAD + text + ROOM).next_multiple_of(CHUNK) as u64;
        let (open, taken, dropped) = (HashMap::new(), 0, 0);
        let mut writer = Writer { file, chunks_at, events: 0, table: 0, open, taken, dropped };
        let mut head = [0; size_of::<wire::Head>()];
        let mut put = |offset: usize, value: &[u8]| head[offset..offset + value.len()].copy_from_slice(value);
        put(offset_of!(wire::Head, magic), &MAGIC.to_le_bytes());
        put(offset_of!(wire::Head, version), &VERSION.to_le_bytes());
        put(offset_of!(wire::Head, clock), &clock::MONOTONIC.to_le_bytes());
        put(offset_of!(wire::Head, wall_offset), &table.wall_offset.to_le_bytes());
        put(offset_of!(wire::Head, chunks_at), &chunks_at.to_le_bytes());
        writer.file.write_all_at(&head, 0)?;
        writer.extend_table(table)?;
        Ok(writer)
    }

    /// Takes a hit; it is in the file after [`Writer::flush`] at the latest.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()> {
        if hit.event >= self.events {
            self.extend_table(table)?;
        }
        let event = table.events.get(hit.event).filter(|_| hit.event < self.events);
        let Some((event, number)) = event.zip(u16::try_from(hit.event).ok()) else {
            self.dropped += 1;
            return Ok(());
        };
        let key = (hit.pid, hit.tid);
        // A chunk that has not the room is full; in an empty one there is all the room that there can be.
        if self.open.get_mut(&key).is_some_and(|open| !open.append(number, event, hit))
            && let Some(mut full) = self.open.remove(&key)
        {
            self.write(&mut full)?;
        }
        if self.open.contains_key(&key) {
            return Ok(());
        }
        let moment = (hit.time, hit.time);
        let head =
            ChunkHead { used: CHUNK_HEAD, ended: false, writing: false, pid: hit.pid, tid: hit.tid, moment };
        let before = Before::at(hit.time);
        let mut open = Open { number: self.taken, head, before, pending: Vec::new() };
        if open.append(number, event, hit) {
            self.taken += 1;
            self.open.insert(key, open);
        } else {
            self.dropped += 1;
        }
        Ok(())
    }

    /// Counts hits that were lost.
    pub fn lost(&mut self, hits: u64) {
        self.dropped += hits;
    }

    /// Writes all that is pending.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut open = std::mem::take(&mut self.open);
        let written = open.values_mut().try_for_each(|open| self.write(open));
        self.open = open;
        written?;
        self.file.write_all_at(&self.taken.to_le_bytes(), offset_of!(wire::Head, taken) as u64)?;
        self.file.write_all_at(&self.dropped.to_le_bytes(), offset_of!(wire::Head, dropped) as u64)
    }

    /// Writes what is pending of a chunk: first the records, then the head, which says that they are there.
    fn write(&mut self, open: &mut Open) -> io::Result<()> {
        if open.pending.is_empty() {
            return Ok(());
        }
        let at = self.chunks_at + open.number * CHUNK as u64;
        let from = open.head.used - open.pending.len();
        self.file.write_all_at(&open.pending, at + from as u64)?;
        self.file.write_all_at(&chunk::write(&open.head), at)?;
        open.pending = Vec::new();
        Ok(())
    }

    /// Adds the events that became known. Those that have no room are not recorded.
    fn extend_table(&mut self, table: &Table) -> io::Result<()> {
        let room = (self.chunks_at as usize - HEAD).min(MAX_TABLE);
        let mut text = String::new();
        let mut events = self.events;
        for event in table.events.iter().skip(self.events) {
            let line = table::line(event);
            if self.table + text.len() + line.len() > room {
                break;
            }
            text.push_str(&line);
            events += 1;
        }
        self.file.write_all_at(text.as_bytes(), (HEAD + self.table) as u64)?;
        (self.table, self.events) = (self.table + text.len(), events);
        self.file.write_all_at(&(self.table as u64).to_le_bytes(), offset_of!(wire::Head, table) as u64)
    }
}

//! A recording that is being written, read as it grows.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;

use memtrial_wire::recording::{Before, CHUNK_HEAD};

use super::chunk::{self, State};
use super::clock::Moment;
use super::error::RecordingError;
use super::head::{self, Opened, read_at_most};
use super::record;
use crate::hit::{Hit, Table};
use crate::merge::HOLD;

/// Reads a recording while others write it.
#[derive(Debug)]
pub struct Follower {
    opened: Opened,
    /// Chunks that may still grow.
    growing: Vec<Growing>,
    /// Those that have not grown for long; the one that was not looked at for longest is the first.
    quiet: VecDeque<Growing>,
    /// Chunks that were taken but were not in use when last looked at.
    awaited: Vec<u64>,
    /// Chunks taken when last looked at.
    taken: u64,
    /// Time of the last hit of each thread: neither a better rate of the clock nor the moment of another chunk must turn two
    /// hits around.
    last: HashMap<(u32, u32), u64>,
    dropped: u64,
    damaged: u64,
    /// Until when it is known what happened, while there are chunks that were not looked at yet.
    complete_until: Option<u64>,
    /// The time of the last hit before the first one that was being written at the last poll.
    writing: Option<u64>,
    /// Chunks that were read to their end, and not asked for yet.
    read: Vec<u64>,
}

/// Most chunks that are begun with at once, so that what is read takes bounded memory.
const MOST_CHUNKS: u64 = 8;
/// A chunk that has not grown for so many looks is quiet.
const PATIENCE: u32 = 64;
/// Most quiet chunks that are looked at in one poll. Threads and processes that have ended leave one each, and most tell
/// nobody: all of them together must not take more time than this.
const MOST_QUIET: usize = 512;

#[derive(Debug)]
struct Growing {
    number: u64,
    pid: u32,
    tid: u32,
    moment: Moment,
    /// Bytes read, the head included.
    read: usize,
    /// What the next record is read against.
    before: Before,
    /// Looks since it grew.
    idle: u32,
    /// Looks since it grew in which a record was being written.
    writing: u32,
    state: Growth,
}

#[derive(Debug, PartialEq, Eq)]
enum Growth {
    Open,
    /// Its thread has ended or begun another one: what is in it now is all.
    Complete,
    /// Nothing more can be read.
    Damaged,
}

impl Follower {
    /// Opens a recording whose head and table are written; chunks need not be there.
    ///
    /// # Errors
    /// As for [`super::Recording::open`].
    pub fn open(path: &Path) -> Result<Follower, RecordingError> {
        let opened = head::open(path)?;
        Ok(Follower {
            opened,
            growing: Vec::new(),
            quiet: VecDeque::new(),
            awaited: Vec::new(),
            taken: 0,
            last: HashMap::new(),
            dropped: 0,
            damaged: 0,
            complete_until: None,
            writing: None,
            read: Vec::new(),
        })
    }

    /// What its hits refer to.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.opened.table
    }

    /// Hits that came since the last call, not all if they are many: see [`Follower::complete_until`]. Those of one thread are
    /// in the order of their times, others are not: see [`crate::merge::Merger`]. Where very many threads were quiet for
    /// long, what one of them adds is found some calls later, or after [`Follower::wake`].
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn poll(&mut self) -> io::Result<Vec<Hit>> {
        let counters = self.opened.counters()?;
        self.dropped = counters.dropped;
        self.enter(counters.taken)?;
        let mut hits = Vec::new();
        self.writing = None;
        let looked_at = self.quiet.len().min(MOST_QUIET);
        self.growing.extend(self.quiet.drain(..looked_at));
        let Opened { file, table, clock, .. } = &self.opened;
        for chunk in &mut self.growing {
            let last = self.last.entry((chunk.pid, chunk.tid)).or_default();
            let at = self.opened.chunk_at(chunk.number);
            let mut bytes = [0; CHUNK_HEAD];
            let read = read_at_most(file, &mut bytes, at)?;
            // `used` is read before what it speaks of.
            let State::Open(head) = chunk::head(&bytes[..read]) else {
                chunk.state = Growth::Damaged;
                continue;
            };
            if head.used < chunk.read {
                chunk.state = Growth::Damaged;
                continue;
            }
            if head.ended {
                chunk.state = Growth::Complete;
            }
            let before = chunk.read;
            let mut bytes = vec![0; head.used - chunk.read];
            let read = read_at_most(file, &mut bytes, at + chunk.read as u64)?;
            let mut rest = &bytes[..read];
            while !rest.is_empty() {
                let Some(record) = record::read(rest, &table.events, &mut chunk.before) else {
                    chunk.state = Growth::Damaged;
                    break;
                };
                rest = &rest[record.size..];
                chunk.read += record.size;
                *last = clock.nanoseconds(record.time, chunk.moment).max(*last);
                let (event, values) = (record.event, record.values);
                hits.push(Hit { event, time: *last, pid: chunk.pid, tid: chunk.tid, values, stack: None });
            }
            if chunk.read > before {
                (chunk.idle, chunk.writing) = (0, 0);
            } else {
                chunk.idle = chunk.idle.saturating_add(1);
            }
            chunk.writing = if head.writing { chunk.writing.saturating_add(1) } else { 0 };
            // A thread that was killed there, or stands still for long, is waited for no more.
            if (1..PATIENCE).contains(&chunk.writing) {
                let since = (*last).max(chunk.moment.1);
                self.writing = Some(self.writing.map_or(since, |first| first.min(since)));
            }
        }
        self.damaged += self.growing.iter().filter(|chunk| chunk.state == Growth::Damaged).count() as u64;
        for chunk in std::mem::take(&mut self.growing) {
            match chunk.state {
                Growth::Damaged => {}
                Growth::Complete => self.read.push(self.opened.chunk_at(chunk.number)),
                Growth::Open if chunk.idle < PATIENCE => self.growing.push(chunk),
                Growth::Open => self.quiet.push_back(chunk),
            }
        }
        Ok(hits)
    }

    /// Has all quiet chunks looked at by the next poll.
    pub fn wake(&mut self) {
        self.growing.extend(self.quiet.drain(..));
    }

    /// The time up to which all hits are known as of the last poll, in nanoseconds of CLOCK_MONOTONIC; `None`: until now.
    #[must_use]
    pub fn complete_until(&self) -> Option<u64> {
        [self.complete_until, self.writing].into_iter().flatten().min()
    }

    /// Where chunks begin that have been read to their end since the last call: nobody writes to them any more.
    pub fn take_read(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.read)
    }

    /// Looks how many hits found no room, and reads none.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn look(&mut self) -> io::Result<()> {
        self.dropped = self.opened.counters()?.dropped;
        Ok(())
    }

    /// Hits that found no room, as of the last poll or look.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Chunks that could not be read to their end.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Looks for chunks that came into use.
    fn enter(&mut self, taken: u64) -> io::Result<()> {
        // What is taken and not in the file yet is looked for next time.
        let there = taken.min(self.opened.present()?).max(self.taken);
        let until = there.min(self.taken.saturating_add(MOST_CHUNKS));
        self.awaited.extend(self.taken..until);
        self.taken = until;
        if until == there {
            self.complete_until = None;
        }
        let mut awaited = std::mem::take(&mut self.awaited);
        let mut begun = Vec::new();
        let mut failed = Ok(());
        awaited.retain(|&number| {
            let mut bytes = [0; CHUNK_HEAD];
            let read = match read_at_most(&self.opened.file, &mut bytes, self.opened.chunk_at(number)) {
                Ok(read) => read,
                Err(error) => {
                    failed = Err(error);
                    return true;
                }
            };
            match chunk::head(&bytes[..read]) {
                State::NotYet => return true,
                State::Damaged => self.damaged += 1,
                State::Open(head) => begun.push((number, head)),
            }
            false
        });
        self.awaited = awaited;
        if begun.is_empty() {
            return failed;
        }
        // A thread writes into one chunk at a time.
        let mut newest: HashMap<(u32, u32), u64> = HashMap::new();
        for (number, head) in &begun {
            self.opened.clock.know(head.moment);
            if until < there {
                // The next ones were opened later, or in the same instant.
                self.complete_until = Some(head.moment.1.saturating_sub(HOLD));
            }
            let newest = newest.entry((head.pid, head.tid)).or_insert(*number);
            *newest = (*newest).max(*number);
        }
        let growing = |(number, head): (u64, chunk::ChunkHead)| {
            let (pid, tid, moment) = (head.pid, head.tid, head.moment);
            let before = Before::at(moment.0);
            Growing {
                number,
                pid,
                tid,
                moment,
                read: CHUNK_HEAD,
                before,
                idle: 0,
                writing: 0,
                state: Growth::Open,
            }
        };
        self.growing.extend(begun.into_iter().map(growing));
        let is_left = |chunk: &Growing| {
            newest.get(&(chunk.pid, chunk.tid)).is_some_and(|newest| chunk.number < *newest)
        };
        let (left, quiet): (Vec<_>, Vec<_>) = std::mem::take(&mut self.quiet).into_iter().partition(is_left);
        self.quiet = quiet.into();
        // Before the ones that were begun after them.
        self.growing.splice(..0, left);
        for chunk in self.growing.iter_mut().filter(|chunk| is_left(chunk)) {
            chunk.state = Growth::Complete;
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use memtrial_wire::recording::{ENDED, WRITING};

    use super::*;
    use crate::Event;
    use crate::recording::Writer;

    const THREADS: u32 = 1200;

    fn table() -> Table {
        let event = Event {
            provider: "test".to_owned(),
            name: "none".to_owned(),
            parameters: Vec::new(),
            format: None,
        };
        Table { events: vec![event], wall_offset: 0 }
    }

    fn hit(tid: u32, time: u64) -> Hit {
        Hit { event: 0, time, pid: 1, tid, values: Vec::new(), stack: None }
    }

    /// Many threads that have told of one event each, and were looked at until they were quiet.
    fn quiet(path: &Path) -> (Writer, Follower) {
        let mut writer = Writer::create(path, &table()).unwrap();
        for tid in 0..THREADS {
            writer.hit(&table(), &hit(tid, 1000)).unwrap();
        }
        writer.flush().unwrap();
        let mut follower = Follower::open(path).unwrap();
        let mut found = follower.poll().unwrap().len();
        while follower.complete_until().is_some() || !follower.growing.is_empty() {
            found += follower.poll().unwrap().len();
        }
        assert_eq!(found, THREADS as usize);
        (writer, follower)
    }

    #[test]
    fn threads_that_were_quiet_for_long_are_looked_at_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut follower) = quiet(&folder.path().join("recording"));
        let last = follower.quiet.back().unwrap().tid;
        let next = follower.quiet[MOST_QUIET].tid;
        writer.hit(&table(), &hit(last, 2000)).unwrap();
        writer.flush().unwrap();
        assert!(follower.poll().unwrap().is_empty());
        assert_eq!(follower.quiet.front().unwrap().tid, next, "so many were looked at and no more");
        let found: Vec<Hit> = (0..2).flat_map(|_| follower.poll().unwrap()).collect();
        assert_eq!(found, [hit(last, 2000)]);
        assert_eq!((follower.growing.len(), follower.quiet.len()), (1, THREADS as usize - 1));
        let last = follower.quiet.back().unwrap().tid;
        writer.hit(&table(), &hit(last, 3000)).unwrap();
        writer.flush().unwrap();
        follower.wake();
        assert_eq!(follower.poll().unwrap(), [hit(last, 3000)]);
    }

    #[test]
    fn a_quiet_chunk_whose_thread_has_begun_another_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut follower) = quiet(&folder.path().join("recording"));
        let last = follower.quiet.back().unwrap().tid;
        let more = (2000..40_000).map(|time| hit(last, time));
        more.clone().for_each(|hit| writer.hit(&table(), &hit).unwrap());
        writer.flush().unwrap();
        assert!(follower.poll().unwrap().into_iter().eq(more));
        assert_eq!(follower.take_read().len(), 1);
        assert_eq!(follower.damaged(), 0);
    }

    /// A recording of one hit, and its file, to add something to the bytes of the chunk in use.
    fn one_hit(path: &Path) -> (Follower, impl Fn(u32) + use<>) {
        let mut writer = Writer::create(path, &table()).unwrap();
        writer.hit(&table(), &hit(1, 1000)).unwrap();
        writer.flush().unwrap();
        let follower = Follower::open(path).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (at, mut used) = (follower.opened.chunk_at(0) + 4, [0; 4]);
        file.read_exact_at(&mut used, at).unwrap();
        let add = move |more: u32| {
            file.write_all_at(&(u32::from_le_bytes(used) | more).to_le_bytes(), at).unwrap();
        };
        (follower, add)
    }

    #[test]
    fn the_chunk_of_a_thread_that_has_ended_is_read_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let (mut follower, add) = one_hit(&folder.path().join("recording"));
        add(ENDED);
        assert_eq!(follower.poll().unwrap(), [hit(1, 1000)]);
        assert_eq!((follower.take_read().len(), follower.growing.len()), (1, 0));
    }

    #[test]
    fn hits_after_a_record_that_is_being_written_are_not_known_yet() {
        let folder = tempfile::tempdir().unwrap();
        let (mut follower, add) = one_hit(&folder.path().join("recording"));
        assert_eq!(follower.poll().unwrap(), [hit(1, 1000)]);
        assert_eq!(follower.complete_until(), None);
        add(WRITING);
        for _ in 1..PATIENCE {
            assert!(follower.poll().unwrap().is_empty());
            assert_eq!(follower.complete_until(), Some(1000));
        }
        assert!(follower.poll().unwrap().is_empty());
        assert_eq!(follower.complete_until(), None, "it is waited for no more");
        add(0);
        assert!(follower.poll().unwrap().is_empty());
        assert_eq!((follower.complete_until(), follower.damaged()), (None, 0));
    }
}

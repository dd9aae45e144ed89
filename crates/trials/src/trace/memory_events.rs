//! Memory events, as a source of hits: what the agent is told of them, and the recording that it writes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use memtrial_events::memory::PROVIDER;
use memtrial_events::recording::{Follower, RecordingError, Writer};
use memtrial_events::{Hit, Selection, Table, memory};
use memtrial_target::memory::{Events, Setup, SharedMemory};
use memtrial_target::{clock, files, processes, scratch};
use memtrial_wire::layout::mode;
use memtrial_wire::recording::{self as wire, CHUNK, Head};
use memtrial_wire::tracing::backend;

use super::backends::Backends;
use super::live::Source;
use super::outsiders::Outsiders;
use super::site_stacks::{SiteStacks, with_sites};

/// The file in the scratch folder that is shared with the agent, and the recording.
const SHARED: &str = "events";
const RECORDING: &str = "recording";
/// Of the room where scratch folders are, the part that a recording may take.
const PART: u64 = 2;

/// Memory events of all processes that share one memory.
#[derive(Debug)]
pub struct MemoryEvents {
    memory: SharedMemory,
    recording: PathBuf,
    follower: Follower,
    /// What the hits refer to.
    table: Table,
    /// The names of call stacks, if those are wanted.
    stacks: Option<SiteStacks>,
    /// Unless the recording is the user's, who wants all of it.
    own: Option<OwnRecording>,
    /// Whether hits are read while they come in.
    read: bool,
    outsiders: Outsiders,
}

/// A recording that nobody keeps: what was read of it makes room for more.
#[derive(Debug)]
struct OwnRecording {
    file: File,
    most: u64,
}

impl OwnRecording {
    /// Gives back the room of chunks that were read.
    fn give_back(&mut self, read: &[u64]) -> io::Result<()> {
        for chunk in read {
            files::punch(&self.file, *chunk, CHUNK as u64)?;
        }
        if !read.is_empty() {
            self.most += read.len() as u64;
            self.file.write_all_at(&self.most.to_le_bytes(), offset_of!(Head, most) as u64)?;
        }
        Ok(())
    }
}

/// Why memory events can't be told of.
#[derive(Debug, thiserror::Error)]
pub enum MemoryEventsError {
    /// A file can't be made.
    #[error("{what}: {error}")]
    Io {
        /// The file.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// The recording can't be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// The events that are selected: a bit for each.
#[must_use]
pub fn selected(selection: &Selection) -> u64 {
    let bit = |(number, name): (u32, &str)| u64::from(selection.selects(PROVIDER, name)) << number;
    let events = memory();
    (0..64).zip(events.iter().map(|event| event.name.as_str())).map(bit).sum()
}

/// The names of the events whose bits are set.
#[must_use]
pub fn names(bits: u64) -> Vec<String> {
    let events = (0..64).zip(memory());
    events.filter(|(number, _)| bits >> number & 1 == 1).map(|(_, event)| event.name).collect()
}

impl MemoryEvents {
    /// Makes the memory and the recording, with these events enabled. `follow`: as in [`Setup::follow`]. With
    /// `read` hits are read while they come in, with their call stacks if `stacks` is set; else they go to the backends alone.
    ///
    /// # Errors
    /// When a file can't be made.
    pub fn prepare(
        scratch: &Path,
        backends: &Backends,
        enabled: u64,
        follow: &[String],
        read: bool,
        stacks: bool,
    ) -> Result<MemoryEvents, MemoryEventsError> {
        let at = |path: &Path| {
            let what = path.display().to_string();
            move |error| MemoryEventsError::Io { what, error }
        };
        let recording = backends.recording.clone().unwrap_or_else(|| scratch.join(RECORDING));
        let most = match backends.recording {
            // A disk that is full is found out by whoever takes a chunk.
            Some(_) => 0,
            None => (scratch::room(scratch).map_err(at(scratch))? / PART / CHUNK as u64).max(1),
        };
        let table = Table { events: memory(), wall_offset: processes::wall_offset() };
        let recorded = if stacks { with_sites(memory()) } else { memory() };
        make_recording(&recording, &Table { events: recorded, ..table.clone() }, most)
            .map_err(at(&recording))?;
        let path = scratch.join(SHARED);
        let setup = Setup { follow, ..Setup::of(mode::TRACE) };
        let mut shared = SharedMemory::create(&path, &setup).map_err(at(&path))?;
        let events = Events {
            enabled,
            backends: backends.bits | if read { backend::SIMPLE } else { 0 },
            log: backends.log.clone(),
            recording: recording.clone(),
            marker: backends.marker.clone(),
            local_offset: clock::local_offset(),
            stacks,
        };
        shared.set_events(&events).map_err(at(&path))?;
        let follower = Follower::open(&recording)?;
        let own = match backends.recording {
            Some(_) => None,
            None => {
                let file = OpenOptions::new().write(true).open(&recording).map_err(at(&recording))?;
                Some(OwnRecording { file, most })
            }
        };
        Ok(MemoryEvents {
            memory: shared,
            recording,
            follower,
            table,
            stacks: stacks.then(SiteStacks::default),
            own,
            read,
            outsiders: Outsiders::new(),
        })
    }

    /// Whether hits are read while they come in; else they go to the backends alone.
    #[must_use]
    pub fn are_read(&self) -> bool {
        self.read
    }

    /// What the hits refer to.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What is shared with the agent.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// The same, to say more before the agent is there.
    pub fn memory_mut(&mut self) -> &mut SharedMemory {
        &mut self.memory
    }

    /// The recording.
    #[must_use]
    pub fn recording(&self) -> &Path {
        &self.recording
    }

    /// Programs that the agent was loaded into.
    #[must_use]
    pub fn images(&self) -> u32 {
        self.memory.control().images.load(Ordering::Relaxed)
    }

    /// Programs that were executed, and that the agent can't be loaded into, as far as hits of `exec` were read.
    #[must_use]
    pub fn outsiders(&self) -> &Outsiders {
        &self.outsiders
    }

    /// Call stacks that found no room in the table of sites.
    #[must_use]
    pub fn lost_stacks(&self) -> u64 {
        self.memory.control().lost.load(Ordering::Relaxed)
    }

    /// Whether call stacks are wanted, and a program's C library has no way to unwind that takes no lock.
    #[must_use]
    pub fn without_unwinder(&self) -> bool {
        self.stacks.is_some() && self.memory.control().no_unwinder.load(Ordering::Relaxed) != 0
    }

    /// Events that some backend could not take.
    #[must_use]
    pub fn not_taken(&self) -> u64 {
        self.memory.control().tracing.lost.load(Ordering::Relaxed)
    }

    /// Parts of the recording that could not be read.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.follower.damaged()
    }

    /// Whether the agent did not find LTTng's library.
    #[must_use]
    pub fn without_ust(&self) -> bool {
        self.memory.control().tracing.no_ust.load(Ordering::Relaxed) != 0
    }
}

impl Source for MemoryEvents {
    fn poll(&mut self, take: &mut dyn FnMut(Hit)) -> io::Result<bool> {
        if !self.read {
            self.follower.look()?;
            return Ok(false);
        }
        let hits = self.follower.poll()?;
        let any = !hits.is_empty() || self.follower.complete_until().is_some();
        for mut hit in hits {
            if let Some(stacks) = &mut self.stacks {
                stacks.resolve(&mut hit, &self.memory);
            }
            self.outsiders.look(&hit);
            take(hit);
        }
        let read = self.follower.take_read();
        if let Some(own) = &mut self.own {
            own.give_back(&read)?;
        }
        Ok(any)
    }

    fn complete_until(&self) -> Option<u64> {
        self.follower.complete_until()
    }

    fn lost(&self) -> u64 {
        self.follower.dropped()
    }

    fn stop(&mut self) {
        self.memory.control().tracing.enabled.store(0, Ordering::Release);
        self.follower.wake();
    }
}

/// Makes an empty recording for the agent to write into, of so many chunks at most; 0: as many as there is room for.
fn make_recording(path: &Path, table: &Table, most: u64) -> io::Result<()> {
    // What is there may still be written to by a process that was traced before.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => Writer::create(path, table)?.flush()?,
    }
    let file = OpenOptions::new().write(true).open(path)?;
    if let Some(ticks) = clock::ticks_per_second() {
        file.write_all_at(&ticks.to_le_bytes(), offset_of!(Head, ticks_per_second) as u64)?;
        file.write_all_at(&wire::clock::TICKS.to_le_bytes(), offset_of!(Head, clock) as u64)?;
    }
    file.write_all_at(&most.to_le_bytes(), offset_of!(Head, most) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(patterns: &[&str]) -> u64 {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        selected(&Selection::parse(&patterns).unwrap())
    }

    #[test]
    fn a_bit_stands_for_each_event() {
        let all = bits(&[]);
        assert_eq!(names(all).len(), memory().len());
        assert_eq!(bits(&["memtrial:alloc"]), 1);
        assert_eq!(names(bits(&["*alloc", "-memtrial:re*"])), ["alloc"]);
        assert_eq!(bits(&["other:alloc"]), 0);
    }

    #[test]
    fn a_new_recording_can_be_followed() {
        let folder = tempfile::tempdir().unwrap();
        let mut events =
            MemoryEvents::prepare(folder.path(), &Backends::default(), 5, &[], true, false).unwrap();
        assert_eq!(events.table().events, memory());
        assert!(!events.poll(&mut |hit| panic!("{hit:?}")).unwrap());
        assert_eq!(events.memory().control().tracing.enabled.load(Ordering::Relaxed), 5);
        events.stop();
        assert_eq!(events.memory().control().tracing.enabled.load(Ordering::Relaxed), 0);
        assert_eq!((events.lost(), events.damaged(), events.not_taken()), (0, 0, 0));
    }

    #[test]
    fn a_recording_of_the_users_is_made_where_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine");
        fs::write(&file, "old").unwrap();
        let backends = Backends { recording: Some(file.clone()), ..Backends::default() };
        let events = MemoryEvents::prepare(folder.path(), &backends, 1, &[], true, false).unwrap();
        assert_eq!(events.recording(), file);
        let elsewhere = Backends { recording: Some("/nowhere/at/all".into()), ..Backends::default() };
        assert!(MemoryEvents::prepare(folder.path(), &elsewhere, 1, &[], true, false).is_err());
    }
}

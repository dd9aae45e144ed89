//! The memory shared with the agent, from the controller's side: made, filled in, and read back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memtrial_wire::fault::Fault;
use memtrial_wire::layout::{
    Control, FRAMES, MAGIC, MAX_DEPTH, MODULES, Module, PLAN, REAL_FUNCTIONS, SEQUENCE, SITES, SLOTS, Site,
    Slot, VERSION, offset, own_allocator, unpack_frame,
};

/// What the head of the memory is filled in with.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// One of [`memtrial_wire::layout::mode`].
    pub mode: u32,
    /// The fault.
    pub fault: Fault,
    /// Site and number of the allocation to fail, for anchored runs.
    pub anchor: (u64, u64),
    /// Globs of the programs on trial; empty: the first.
    pub follow: &'a [String],
    /// Most bytes an injection may write to one file.
    pub write_limit: u64,
    /// Most bytes of private memory an injection may hold.
    pub data_limit: u64,
}

impl Setup<'_> {
    /// For this mode, with nothing that is to fail: only the first program, and no limits.
    #[must_use]
    pub fn of(mode: u32) -> Setup<'static> {
        Setup {
            mode,
            fault: Fault::Once,
            anchor: (0, 0),
            follow: &[],
            write_limit: u64::MAX,
            data_limit: u64::MAX,
        }
    }
}

/// What the agent is told about events, for [`memtrial_wire::layout::mode::TRACE`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// A bit for each event that is enabled from the start.
    pub enabled: u64,
    /// Bits of [`memtrial_wire::tracing::backend`].
    pub backends: u32,
    /// File of the log; `None`: stderr.
    pub log: Option<PathBuf>,
    /// The recording.
    pub recording: PathBuf,
    /// The kernel's file for lines in its trace buffer.
    pub marker: Option<PathBuf>,
    /// What is added to UTC to get the local time, in seconds.
    pub local_offset: i64,
    /// Whether records have the site of their call stack behind their arguments.
    pub stacks: bool,
}

/// A census site as the agent recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSite {
    /// Hash of the stack.
    pub hash: u64,
    /// Allocations.
    pub count: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Ordinal of the first.
    pub first: u64,
    /// Index in the table, which the sequence refers to.
    pub index: usize,
    /// Frames, innermost first: module index ([`memtrial_wire::layout::NO_MODULE`]: none) and offset.
    pub frames: Vec<(u64, u64)>,
}

/// A module as the agent recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawModule {
    /// Where it was loaded from.
    pub path: PathBuf,
    /// Its build id; empty if it has none.
    pub build_id: Vec<u8>,
}

/// The memory of one run.
#[derive(Debug)]
pub struct SharedMemory {
    base: NonNull<u8>,
    path: PathBuf,
    file: File,
}

impl SharedMemory {
    /// Makes the file at `path`, readable by this user alone, and maps it.
    ///
    /// # Errors
    /// Those of making, growing and mapping the file.
    pub fn create(path: &Path, setup: &Setup<'_>) -> io::Result<SharedMemory> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_len(offset::END as u64)?;
        // SAFETY: a new shared mapping of a file that is as long as the mapping.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                offset::END,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        let mut memory = SharedMemory { base, path: path.to_owned(), file };
        memory.fill_in(setup)?;
        Ok(memory)
    }

    fn fill_in(&mut self, setup: &Setup<'_>) -> io::Result<()> {
        let control = self.control_mut();
        control.mode = setup.mode;
        control.fault = setup.fault.code();
        (control.target_site, control.target_nth) = setup.anchor;
        control.write_limit = setup.write_limit;
        control.data_limit = setup.data_limit;
        control.jobs = 1;
        let globs: Vec<u8> = setup.follow.iter().flat_map(|glob| [glob.as_bytes(), b"\0"].concat()).collect();
        if globs.len() > control.follow.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the globs of --follow are too long"));
        }
        control.follow[..globs.len()].copy_from_slice(&globs);
        control.follow_len = u32::try_from(globs.len()).unwrap_or(0);
        control.version = VERSION;
        control.magic = MAGIC;
        Ok(())
    }

    /// Makes room for `jobs` snapshots at once, whose output files lie in `folder`.
    ///
    /// # Errors
    /// When the path of the folder is too long.
    pub fn allow_snapshots(&mut self, jobs: usize, folder: &Path) -> io::Result<()> {
        let path = folder.as_os_str().as_encoded_bytes();
        let control = self.control_mut();
        if path.len() >= control.slot_folder.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path of the scratch folder is too long",
            ));
        }
        control.slot_folder[..path.len()].copy_from_slice(path);
        control.jobs = u32::try_from(jobs.clamp(1, SLOTS)).unwrap_or(1);
        Ok(())
    }

    /// Says which files are the target's stdout and stderr: device and inode.
    pub fn set_outputs(&mut self, outputs: [[u64; 2]; 2]) {
        self.control_mut().outputs = outputs;
    }

    /// Says where the functions of [`REAL_FUNCTIONS`] are in the process that the agent is loaded into.
    pub fn set_real(&mut self, addresses: [u64; REAL_FUNCTIONS.len()]) {
        self.control_mut().real = addresses.map(AtomicU64::new);
    }

    /// Says how many bytes a load may hold, with its bookkeeping.
    pub fn set_max_total(&mut self, bytes: u64) {
        self.control_mut().max_total = bytes;
    }

    /// Says where `malloc`, `realloc` and `free` of the process's own allocator are; before the agent begins to load it.
    pub fn set_own_allocator(&self, addresses: [u64; 3]) {
        for (place, address) in own_allocator().into_iter().zip(addresses) {
            self.control().real[place].store(address, Ordering::Release);
        }
    }

    /// Says how many bytes lie between two blocks that are followed, on average; 0: each block is.
    pub fn set_sample(&mut self, bytes: u64) {
        self.control_mut().sample = bytes;
    }

    /// Says which events are told of, and where they go.
    ///
    /// # Errors
    /// When a path is too long.
    pub fn set_events(&mut self, events: &Events) -> io::Result<()> {
        let tracing = &mut self.control_mut().tracing;
        put_path(&mut tracing.log, events.log.as_deref())?;
        put_path(&mut tracing.recording, Some(&events.recording))?;
        put_path(&mut tracing.marker, events.marker.as_deref())?;
        tracing.local_offset = events.local_offset;
        tracing.stacks = events.stacks.into();
        tracing.backends = AtomicU32::new(events.backends);
        tracing.enabled = AtomicU64::new(events.enabled);
        Ok(())
    }

    /// Writes the plan: the keys (see [`memtrial_wire::site::occurrence`]) of what is to be failed.
    ///
    /// # Errors
    /// When there are more than the plan has room for.
    pub fn set_plan(&mut self, keys: &[u64]) -> io::Result<()> {
        let entries = (keys.len() * 2 + 1).next_power_of_two();
        if entries > PLAN {
            let reason = format!("more than {} allocations are planned; bound them by --sample", PLAN / 2);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let mask = entries as u64 - 1;
        self.control_mut().plan_mask = mask;
        let plan = self.plan();
        for &key in keys {
            let mut index = key & mask;
            // Half of the entries stay free, so this ends.
            while plan[to_index(index)].load(Ordering::Relaxed) != 0 {
                index = (index + 1) & mask;
            }
            plan[to_index(index)].store(key, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the file.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn file_id(&self) -> io::Result<[u64; 2]> {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map(|m| [m.dev(), m.ino()])
    }

    /// The head.
    #[must_use]
    pub fn control(&self) -> &Control {
        // SAFETY: the mapping lives as long as `self`; a target can only change what is atomic, or its own fate:
        // every bit pattern is a value of these types.
        unsafe { self.base.cast::<Control>().as_ref() }
    }

    fn control_mut(&mut self) -> &mut Control {
        // SAFETY: used only before a target is started, so nobody else has the memory.
        unsafe { self.base.cast::<Control>().as_mut() }
    }

    /// # Safety
    /// `at` and `length` must be those of a part of the layout.
    unsafe fn part<T>(&self, at: usize, length: usize) -> &[T] {
        // SAFETY: the part lies in the mapping; see `control`.
        unsafe { std::slice::from_raw_parts(self.base.add(at).cast().as_ptr(), length) }
    }

    /// The slots.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        // SAFETY: the layout's.
        unsafe { self.part(offset::SLOTS_AT, SLOTS) }
    }

    fn plan(&self) -> &[AtomicU64] {
        // SAFETY: the layout's.
        unsafe { self.part(offset::PLAN_AT, PLAN) }
    }

    /// Site index (plus one; 0: not recorded) of each ordinal, from 1.
    #[must_use]
    pub fn sequence(&self) -> Vec<u32> {
        // SAFETY: the layout's.
        let all: &[AtomicU32] = unsafe { self.part(offset::SEQUENCE_AT, SEQUENCE) };
        let length = to_index(self.control().allocations.load(Ordering::Relaxed)).min(SEQUENCE);
        all[..length].iter().map(|site| site.load(Ordering::Relaxed)).collect()
    }

    /// The modules that frames refer to.
    #[must_use]
    pub fn modules(&self) -> Vec<RawModule> {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: the layout's.
        let all: &[Module] = unsafe { self.part(offset::MODULES_AT, MODULES) };
        let used = to_index(self.control().modules_used.load(Ordering::Acquire)).min(MODULES);
        all[..used]
            .iter()
            .map(|module| {
                let path = &module.path[..bounded(&module.path_len, module.path.len())];
                let build_id = &module.build_id[..bounded(&module.build_id_len, module.build_id.len())];
                RawModule { path: std::ffi::OsStr::from_bytes(path).into(), build_id: build_id.to_vec() }
            })
            .collect()
    }

    /// The census.
    #[must_use]
    pub fn sites(&self) -> Vec<RawSite> {
        // SAFETY: the layout's.
        let all: &[Site] = unsafe { self.part(offset::SITES_AT, SITES) };
        // SAFETY: the layout's.
        let list: &[AtomicU32] = unsafe { self.part(offset::SITE_LIST_AT, SITES) };
        let used = to_index(self.control().sites_used.load(Ordering::Acquire)).min(SITES);
        let listed = list[..used].iter().map(|entry| entry.load(Ordering::Acquire) as usize);
        let entry = |number: usize| Some((number.checked_sub(1)?, all.get(number.checked_sub(1)?)?));
        let mut sites: Vec<RawSite> =
            listed.filter_map(entry).map(|(index, site)| self.raw_site(index, site)).collect();
        sites.sort_by_key(|site| site.first);
        sites
    }

    /// The site with this hash, if the run has recorded it.
    #[must_use]
    pub fn site(&self, hash: u64) -> Option<RawSite> {
        // SAFETY: the layout's.
        let all: &[Site] = unsafe { self.part(offset::SITES_AT, SITES) };
        let mut index = to_index(hash) & (SITES - 1);
        loop {
            match all[index].hash.load(Ordering::Relaxed) {
                0 => return None,
                found if found == hash => return Some(self.raw_site(index, &all[index])),
                _ => index = (index + 1) & (SITES - 1),
            }
        }
    }

    fn raw_site(&self, index: usize, site: &Site) -> RawSite {
        // SAFETY: the layout's.
        let pool: &[AtomicU64] = unsafe { self.part(offset::FRAMES_AT, FRAMES) };
        let depth = to_index(site.depth.load(Ordering::Acquire)).min(MAX_DEPTH);
        let at = to_index(site.frames.load(Ordering::Relaxed));
        let frames = pool.get(at..at.saturating_add(depth)).unwrap_or(&[]);
        RawSite {
            hash: site.hash.load(Ordering::Relaxed),
            count: site.count.load(Ordering::Relaxed),
            bytes: site.bytes.load(Ordering::Relaxed),
            first: site.first.load(Ordering::Relaxed),
            index,
            frames: frames.iter().map(|frame| unpack_frame(frame.load(Ordering::Relaxed))).collect(),
        }
    }

    /// Tells the target that a slot has become free.
    pub fn wake_target(&self) {
        let freed = &self.control().freed;
        freed.fetch_add(1, Ordering::Release);
        // SAFETY: the futex word lies in the mapping.
        unsafe { libc::syscall(libc::SYS_futex, freed.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `create`, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), offset::END) };
    }
}

/// Writes a path, NUL-terminated; none is an empty one.
fn put_path(room: &mut [u8], path: Option<&Path>) -> io::Result<()> {
    let path = path.unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
    if path.len() >= room.len() {
        let why = format!("{} is too long: {} bytes are the most", path.escape_ascii(), room.len() - 1);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    room.fill(0);
    room[..path.len()].copy_from_slice(path);
    Ok(())
}

fn bounded(length: &AtomicU32, most: usize) -> usize {
    (length.load(Ordering::Relaxed) as usize).min(most)
}

/// A count as an index: this is written for 64-bit machines.
fn to_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrial_wire::layout::mode;

    fn setup() -> Setup<'static> {
        Setup::of(mode::CENSUS)
    }

    #[test]
    fn a_new_memory_has_an_empty_census() {
        let folder = tempfile::tempdir().unwrap();
        let memory = SharedMemory::create(&folder.path().join("m"), &setup()).unwrap();
        assert_eq!((memory.sites(), memory.modules(), memory.sequence()), (vec![], vec![], vec![]));
        assert_eq!(memory.site(7), None);
    }

    #[test]
    fn events_are_told_where_to_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = SharedMemory::create(&folder.path().join("m"), &setup()).unwrap();
        let events =
            Events { enabled: 5, log: Some("/l".into()), recording: "/r".into(), ..Events::default() };
        memory.set_events(&events).unwrap();
        let tracing = &memory.control().tracing;
        assert_eq!(tracing.enabled.load(Ordering::Relaxed), 5);
        assert_eq!(
            (&tracing.log[..3], &tracing.recording[..3], tracing.marker[0]),
            (&b"/l\0"[..], &b"/r\0"[..], 0)
        );
        let long = Events { recording: "x".repeat(tracing.recording.len()).into(), ..events };
        assert!(memory.set_events(&long).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn a_memory_that_a_target_has_scribbled_over_is_still_read() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let memory = SharedMemory::create(&folder.path().join("m"), &setup()).unwrap();
        let noise = vec![0xff; offset::SITES_AT + 4096];
        memory.file.write_all_at(&noise, 0).unwrap();
        assert_eq!(memory.modules().len(), MODULES);
        assert!(memory.sites().iter().all(|site| site.frames.is_empty()));
    }
}

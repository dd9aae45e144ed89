//! Opening the kernel's probes on a process, and the rings that their hits are written to.
//!
//! A probe of perf belongs to one thread. It could be opened for each and inherited by new ones, but the kernel reads
//! the probe's path again when a thread is started, and from the memory of the process that starts it: its `clone`
//! fails (seen in 6.18). So each probe is opened once and leads to a BPF program, which the kernel runs for all threads
//! that share the memory of the one it was opened for, and for no other process. The programs do nothing but write a
//! sample into the ring of the processor that they run on.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memtrial_symbols::allocator::{Function, Role};
use perf_event_open_sys::bindings::{self, perf_event_attr};
use perf_event_open_sys::ioctls;

use super::UprobeError;
use super::program::{EventArray, program};
use super::record::{REGISTERS, SAMPLE_TYPE};
use super::ring::Ring;
use super::site::{self, Skip};

/// How much of the stack is copied at an allocation, in bytes.
pub const STACK: u32 = 4096;
/// Memory of all rings together, in bytes, if there are not too many processors.
const RINGS: usize = 64 << 20;
const RING_AT_LEAST: usize = 1 << 20;
const RING_AT_MOST: usize = 16 << 20;

/// When a probe is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// When a block is given back.
    Free,
    /// When an allocation returns.
    Return,
    /// When an allocation is called.
    Call,
}

/// A probe on a function.
#[derive(Debug, Clone)]
pub struct Probe {
    /// When it is hit.
    pub moment: Moment,
    /// Which of the functions followed it is on.
    pub function: usize,
    /// What that function does.
    pub role: Role,
    file: PathBuf,
    offset: u64,
    name: String,
}

impl Probe {
    /// Whether its samples have the stack: to be unwound, or because `posix_memalign` has stored its result there.
    pub fn has_stack(&self) -> bool {
        self.moment == Moment::Call || self.moment == Moment::Return && self.role == Role::PosixMemalign
    }
}

/// All that is open in the kernel while a process is followed; closing it takes the probes out.
pub struct Events {
    /// Samples tell the index in this.
    pub probes: Vec<Probe>,
    /// One for each processor.
    pub rings: Vec<Ring>,
    /// What samples are written through: for each processor, with the stack and without.
    outputs: Vec<OwnedFd>,
    /// The kernel takes the outputs out of an array when its descriptor is closed.
    _arrays: [EventArray; 2],
    opened: Vec<OwnedFd>,
}

/// The kernel's numbers for probes, from `/sys/bus/event_source/devices/uprobe`.
struct Kind {
    number: u32,
    return_bit: u64,
}

impl Kind {
    fn read() -> Option<Kind> {
        let base = Path::new("/sys/bus/event_source/devices/uprobe");
        let number = std::fs::read_to_string(base.join("type")).ok()?.trim().parse().ok()?;
        let format = std::fs::read_to_string(base.join("format/retprobe")).ok()?;
        let bit: u32 = format.trim().strip_prefix("config:")?.parse().ok()?;
        Some(Kind { number, return_bit: 1u64.checked_shl(bit)? })
    }
}

/// The probes that it takes to follow `functions`: none twice.
fn probes(functions: &[(PathBuf, Function)]) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut seen = HashSet::new();
    for (index, (file, function)) in functions.iter().enumerate() {
        if !seen.insert((file, function.offset)) {
            continue;
        }
        let frees = matches!(function.role, Role::Free | Role::OperatorDelete);
        let skip = if frees { Skip::NullTest } else { Skip::Nothing };
        let offset = site::offset(file, function.offset, function.size, skip);
        let moments: &[Moment] = if frees { &[Moment::Free] } else { &[Moment::Return, Moment::Call] };
        probes.extend(moments.iter().map(|moment| Probe {
            moment: *moment,
            function: index,
            role: function.role,
            file: file.clone(),
            offset,
            name: function.name.clone(),
        }));
    }
    // What gives a block back has to be heard of before what makes one, or a block could seem to live on.
    probes.sort_by_key(|probe| (probe.moment, !matches!(probe.role, Role::Realloc | Role::Reallocarray)));
    probes
}

impl Events {
    /// Puts probes on `functions` for all threads of `pid`.
    pub fn open(pid: i32, functions: &[(PathBuf, Function)]) -> Result<Events, UprobeError> {
        let kind = Kind::read().ok_or(UprobeError::NoUprobes)?;
        let probes = probes(functions);
        for (moment, what) in [(Moment::Call, "allocates"), (Moment::Free, "frees")] {
            if !probes.iter().any(|probe| probe.moment == moment) {
                return Err(UprobeError::Nothing(what));
            }
        }
        let tid = living_thread(pid).ok_or(UprobeError::Gone(pid))?;
        let processors = online()?;
        let highest = processors.iter().max().map_or(0, |processor| processor.unsigned_abs());
        let refused = |error| refused(error, pid, "cannot use BPF");
        let with_stack = EventArray::new(highest + 1).map_err(refused)?;
        let without = EventArray::new(highest + 1).map_err(refused)?;
        let size = (RINGS / processors.len().max(1)).clamp(RING_AT_LEAST, RING_AT_MOST);
        let (mut rings, mut outputs, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        for processor in &processors {
            let ring = open_output(*processor, STACK).map_err(refused)?;
            rings.push(Ring::map(ring.as_fd(), size).map_err(UprobeError::doing("cannot map a ring"))?);
            let other = open_output(*processor, 0).map_err(refused)?;
            // SAFETY: both descriptors are open, and the request keeps no pointer.
            if unsafe { ioctls::SET_OUTPUT(other.as_raw_fd(), ring.as_raw_fd()) } != 0 {
                return Err(UprobeError::doing("cannot share a ring")(io::Error::last_os_error()));
            }
            with_stack.set(processor.unsigned_abs(), ring.as_fd()).map_err(refused)?;
            without.set(processor.unsigned_abs(), other.as_fd()).map_err(refused)?;
            outputs.extend([ring, other]);
        }
        for (index, probe) in probes.iter().enumerate() {
            let output = if probe.has_stack() { &with_stack } else { &without };
            let program = program(index as u32, output).map_err(refused)?;
            let event = match open_probe(probe, &kind, tid) {
                Ok(event) => event,
                Err(error) => {
                    let what = format!("cannot probe {} of {}", probe.name, probe.file.display());
                    return Err(self::refused(error, pid, &what));
                }
            };
            // SAFETY: both descriptors are open, and the request keeps no pointer.
            if unsafe { ioctls::SET_BPF(event.as_raw_fd(), program.as_raw_fd() as u32) } != 0 {
                return Err(refused(io::Error::last_os_error()));
            }
            opened.push(event);
        }
        Ok(Events { probes, rings, outputs, _arrays: [with_stack, without], opened })
    }

    /// How many samples did not fit into a ring so far, as the kernel counts them; 0 where it does not (before 6.0).
    pub fn lost(&self) -> u64 {
        let lost = |event: &OwnedFd| {
            let mut values = [0u64; 2];
            // SAFETY: at most 16 bytes are written, to an array of that size.
            let read = unsafe { libc::read(event.as_raw_fd(), values.as_mut_ptr().cast(), 16) };
            if read == 16 { values[1] } else { 0 }
        };
        self.outputs.iter().map(lost).sum()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Each close waits until no processor runs the probe any more, some 100 ms: all at once wait no longer.
        std::thread::scope(|scope| {
            for probe in self.opened.drain(..) {
                // Where no thread can be started, the probe is closed right here.
                let _ = std::thread::Builder::new().spawn_scoped(scope, move || drop(probe));
            }
        });
    }
}

/// Opens what programs on `processor` write samples through, with this much of the stack.
fn open_output(processor: i32, stack: u32) -> io::Result<OwnedFd> {
    let mut attr = perf_event_attr::default();
    attr.type_ = bindings::PERF_TYPE_SOFTWARE;
    attr.config = bindings::PERF_COUNT_SW_BPF_OUTPUT.into();
    attr.sample_type = SAMPLE_TYPE;
    attr.read_format = bindings::PERF_FORMAT_LOST.into();
    attr.sample_regs_user = REGISTERS;
    attr.sample_stack_user = stack;
    attr.clockid = libc::CLOCK_MONOTONIC;
    if stack > 0 {
        attr.sample_type |= u64::from(bindings::PERF_SAMPLE_STACK_USER);
        // News of code that any process maps: rare enough, and the only way to hear of it in time.
        attr.set_mmap(1);
    }
    attr.__bindgen_anon_1.sample_period = 1;
    // Nobody waits for the ring: waking somebody up costs at each hit.
    attr.__bindgen_anon_2.wakeup_watermark = u32::MAX;
    attr.set_watermark(1);
    attr.set_use_clockid(1);
    attr.set_sample_id_all(1);
    match perf_event_open(&mut attr, -1, processor) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // Before 6.0.
            attr.read_format = 0;
            perf_event_open(&mut attr, -1, processor)
        }
        opened => opened,
    }
}

fn open_probe(probe: &Probe, kind: &Kind, tid: i32) -> io::Result<OwnedFd> {
    let path = CString::new(probe.file.as_os_str().as_bytes())?;
    let mut attr = perf_event_attr::default();
    attr.type_ = kind.number;
    attr.config = if probe.moment == Moment::Return { kind.return_bit } else { 0 };
    attr.__bindgen_anon_1.sample_period = 1;
    attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
    attr.__bindgen_anon_4.probe_offset = probe.offset;
    let opened = perf_event_open(&mut attr, tid, -1);
    drop(path);
    opened
}

fn perf_event_open(attr: &mut perf_event_attr, tid: i32, processor: i32) -> io::Result<OwnedFd> {
    attr.size = size_of::<perf_event_attr>() as u32;
    let flags = bindings::PERF_FLAG_FD_CLOEXEC.into();
    // SAFETY: `attr` is initialized, has its size in it, and a path that it points to lives until this returns.
    let event = unsafe { perf_event_open_sys::perf_event_open(attr, tid, processor, -1, flags) };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(event) })
}

fn refused(error: io::Error, pid: i32, what: &str) -> UprobeError {
    let setting = || std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => UprobeError::NotAllowed {
            paranoid: setting().map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        },
        Some(libc::ENOSYS | libc::ENODEV) => UprobeError::NoUprobes,
        Some(libc::ESRCH) => UprobeError::Gone(pid),
        _ => UprobeError::doing(what)(error),
    }
}

/// A thread of the process that has not ended: the first one may, while others go on.
fn living_thread(pid: i32) -> Option<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut tids: Vec<i32> =
        tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    tids.sort_by_key(|tid| (*tid != pid, *tid));
    let lives = |tid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        (!rest.starts_with(['Z', 'X'])).then_some(())
    };
    tids.into_iter().find(|tid| lives(tid).is_some())
}

/// The processors that run, from a list as `0-3,8`.
fn online() -> Result<Vec<i32>, UprobeError> {
    let path = "/sys/devices/system/cpu/online";
    let text = std::fs::read_to_string(path).map_err(UprobeError::doing(path))?;
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<i32>().ok()?..=last.parse::<i32>().ok()?)
    });
    Ok(ranges.flatten().collect())
}

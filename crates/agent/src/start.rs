//! How the agent comes to life in a process: finds the controller's memory, and whether this program is on trial.

use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use memtrial_wire::glob::names_program;
use memtrial_wire::layout::{CONTROL_VARIABLE, Control, MAGIC, VERSION, mode, offset, refusal};

use crate::memory::Shared;
use crate::{announced, control, events, follow, inject, real, stack, system};

/// Run by the loader before the program's own constructors; libraries' constructors may allocate before it.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = at_load;

static STARTED: AtomicBool = AtomicBool::new(false);
/// Whether this program is on trial.
static ON_TRIAL: AtomicBool = AtomicBool::new(false);

/// The process in which a trial has this copy of the agent; 0: none, so that the next one may have it. A forked child finds
/// its parent there: the same trial may go on with the copy in it, others can't be sure of it. Read by the controller.
#[unsafe(export_name = "memtrial_occupied")]
static OCCUPIED: AtomicU64 = AtomicU64::new(0);
/// Added for a copy that was loaded with the program, whose calls pass it for good.
const FOR_GOOD: u64 = 1 << 63;

extern "C" fn at_load(_: c_int, _: *mut *mut c_char, environment: *mut *mut c_char) {
    start();
    announced::prepare();
    let Some(shared) = Shared::get() else { return };
    if shared.control().mode == mode::CONTROL && ON_TRIAL.load(Ordering::Relaxed) {
        begin_control();
    }
    if shared.control().follow_len == 0 {
        // Nothing that this program starts is on trial: let it run without the agent.
        // SAFETY: glibc hands constructors the environment, a null-terminated array that it owns.
        unsafe { withdraw(environment) };
    }
}

/// Finds the controller, once; called at load and at the first allocation, whichever comes first.
#[inline]
pub fn start() {
    if !STARTED.load(Ordering::Relaxed) && !STARTED.swap(true, Ordering::Relaxed) {
        join_trial();
    }
}

#[cold]
fn join_trial() {
    let mut buffer = [0u8; 16384];
    let Some(path) = control_path(&mut buffer) else { return };
    OCCUPIED.store(FOR_GOOD | me(), Ordering::Relaxed);
    let Ok(shared) = open_control(path) else { return };
    let control = shared.control();
    if !is_on_trial(control) {
        return;
    }
    control.images.fetch_add(1, Ordering::Relaxed);
    if control.mode == mode::TRACE {
        // Events name their caller, for which no stack is unwound.
        events::begin(shared);
        return;
    }
    if !stack::prepare() {
        control.no_unwinder.store(1, Ordering::Relaxed);
        return;
    }
    ON_TRIAL.store(true, Ordering::Relaxed);
    match control.mode {
        mode::FOLLOW | mode::CONTROL => {
            follow::begin(shared);
        }
        _ => inject::begin(),
    }
}

/// Starts the control thread: once the libraries are there that it needs, which they may not be at the first allocation.
#[cold]
fn begin_control() {
    let mut buffer = [0u8; 16384];
    if let Some(path) = control_path(&mut buffer) {
        control::begin(path.strip_suffix(b"\0").unwrap_or(path));
    }
}

/// Joins a trial, in a process that the agent was loaded into while it ran, maybe for another trial. Returns 0, or one of
/// [`refusal`].
pub fn join(path: &[u8]) -> u64 {
    let before = OCCUPIED.load(Ordering::Acquire);
    let mine = before & FOR_GOOD | me();
    if before == mine || OCCUPIED.compare_exchange(before, mine, Ordering::AcqRel, Ordering::Relaxed).is_err()
    {
        return refusal::TAKEN;
    }
    let refused = join_free(path);
    if refused != 0 {
        vacate();
    }
    refused
}

/// Lets the next trial have this copy of the agent.
pub fn vacate() {
    let held = OCCUPIED.load(Ordering::Acquire);
    if held & !FOR_GOOD == me() {
        let _ = OCCUPIED.compare_exchange(held, held & FOR_GOOD, Ordering::AcqRel, Ordering::Relaxed);
    }
}

fn me() -> u64 {
    system::getpid().into()
}

fn join_free(path: &[u8]) -> u64 {
    STARTED.store(true, Ordering::Relaxed);
    let Ok(shared) = open_control(path) else { return refusal::NO_CONTROL };
    // What is known of code refers to the tables of the trial before.
    stack::forget_rules();
    let traces = shared.control().mode == mode::TRACE;
    if !stack::prepare() && !traces {
        return refusal::NO_UNWINDER;
    }
    if !real::learn(&shared.control().real) {
        return refusal::NO_ALLOCATOR;
    }
    if traces {
        return if events::begin(shared) { 0 } else { refusal::NO_MEMORY };
    }
    if follow::begin(shared) { 0 } else { refusal::NO_MEMORY }
}

/// Maps the controller's memory and makes it this process's.
fn open_control(path: &[u8]) -> Result<Shared, system::Errno> {
    const EPROTO: system::Errno = 71;
    let fd = system::open(path, system::O_RDWR | system::O_CLOEXEC)?;
    let mapped = system::map_shared(fd, offset::END);
    system::close(fd);
    let base = mapped?;
    // SAFETY: the mapping is as long as the layout; magic and version are its first words.
    let (magic, version) = unsafe { (base.cast::<u64>().read(), base.add(8).cast::<u32>().read()) };
    if magic != MAGIC || version != VERSION {
        system::unmap(base as u64, offset::END);
        return Err(EPROTO);
    }
    // SAFETY: checked above; a controller of this version made the file.
    unsafe { Shared::install(base) }?;
    Shared::get().ok_or(EPROTO)
}

/// Whether the program that runs here is on trial: by `--follow`, else if it is the first.
fn is_on_trial(control: &Control) -> bool {
    let follow = &control.follow[..(control.follow_len as usize).min(control.follow.len())];
    if follow.is_empty() {
        return claim(&control.claimed);
    }
    let mut path = [0u8; 1024];
    let length = system::readlink(b"/proc/self/exe\0", &mut path).unwrap_or(0);
    names_program(follow, &path[..length])
}

/// True for the first caller.
fn claim(claimed: &AtomicU32) -> bool {
    claimed.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// The path of the controller's memory, NUL-terminated, from the environment the process was started with. Read
/// from the kernel, because the C library may not have its environment yet at the first allocation.
fn control_path(buffer: &mut [u8]) -> Option<&[u8]> {
    let fd = system::open(b"/proc/self/environ\0", system::O_CLOEXEC).ok()?;
    let path = find_variable(fd, buffer);
    system::close(fd);
    let (start, end) = path?;
    buffer.get(start..=end)
}

/// Looks through the environment chunk by chunk; a variable longer than the buffer is none of ours.
fn find_variable(fd: u64, buffer: &mut [u8]) -> Option<(usize, usize)> {
    let name = CONTROL_VARIABLE.as_bytes();
    let mut kept = 0;
    loop {
        let read = system::read(fd, &mut buffer[kept..]).ok()?;
        let length = kept + read;
        let mut start = 0;
        while let Some(end) = buffer[start..length].iter().position(|&c| c == 0).map(|n| start + n) {
            let value = start + name.len() + 1;
            if buffer[start..end].starts_with(name) && buffer.get(value - 1) == Some(&b'=') && value < end {
                return Some((value, end));
            }
            start = end + 1;
        }
        if read == 0 {
            return None;
        }
        buffer.copy_within(start..length, 0);
        kept = if start == 0 && length == buffer.len() { 0 } else { length - start };
    }
}

/// Takes the agent's variables out of the environment, so that children are spared it.
///
/// # Safety
/// `environment` must be the process's environment, and no other thread may be running.
unsafe fn withdraw(environment: *mut *mut c_char) {
    if environment.is_null() {
        return;
    }
    let (mut from, mut to) = (environment, environment);
    // SAFETY: the array is null-terminated, and each entry a NUL-terminated text; `to` never passes `from`.
    unsafe {
        while !(*from).is_null() {
            let text = core::ffi::CStr::from_ptr(*from).to_bytes();
            if !is_ours(text) {
                *to = *from;
                to = to.add(1);
            }
            from = from.add(1);
        }
        *to = core::ptr::null_mut();
    }
}

/// Whether a variable was put into the environment by the controller.
fn is_ours(text: &[u8]) -> bool {
    let control =
        text.strip_prefix(CONTROL_VARIABLE.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='));
    // Where the user preloads something too, the list stays: without the controller's memory the agent is idle.
    control || text.strip_prefix(b"LD_PRELOAD=").is_some_and(|value| !value.contains(&b':'))
}

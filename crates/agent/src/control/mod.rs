//! The control thread, which answers on a socket, and the heap thread, which does what it is told there.

mod arenas;
mod connection;
mod glibc;
mod heap;
mod heap_thread;
mod jemalloc;
mod origin;
mod process;
mod server;
mod sockets;
mod spawn;

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicU32, Ordering};

use memtrial_wire::layout::{HANDOVER, refusal, serving};

use crate::memory::Shared;
use crate::{start, system, thread};

use spawn::Spawner;

/// The process in which the agent answers; 0: none. A forked child is another one.
static SERVING: AtomicU32 = AtomicU32::new(0);

/// The path of the handover socket.
struct Path(UnsafeCell<([u8; 108], usize)>);

// SAFETY: written by the one that has set `SERVING`, before it starts the one thread that reads it.
unsafe impl Sync for Path {}

static HANDOVER_PATH: Path = Path(UnsafeCell::new(([0; 108], 0)));

/// Starts the control thread; `path` is that of the controller's memory, without NUL. Returns 0, or one of [`refusal`].
pub fn begin(path: &[u8]) -> u64 {
    let (me, before) = (system::getpid(), SERVING.load(Ordering::Acquire));
    let free =
        before != me && SERVING.compare_exchange(before, me, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if !free {
        return refusal::TAKEN;
    }
    heap_thread::forget();
    // SAFETY: this caller alone has set `SERVING`.
    let kept = unsafe { keep_path(path) };
    let started =
        kept && Spawner::find().is_some_and(|spawner| spawner.spawn(run_heap_thread, core::ptr::null_mut()));
    if !started {
        stop_serving();
        return refusal::NO_THREAD;
    }
    0
}

/// Nobody answers in this process any more, and the next trial may have the agent.
fn stop_serving() {
    SERVING.store(0, Ordering::Release);
    start::vacate();
}

/// # Safety
/// No control thread may be running.
unsafe fn keep_path(path: &[u8]) -> bool {
    let name = HANDOVER.as_bytes();
    // SAFETY: nobody else uses it now.
    let (room, length) = unsafe { &mut *HANDOVER_PATH.0.get() };
    let end = path.len() + name.len();
    let Some(room) = room.get_mut(..end) else { return false };
    let (first, rest) = room.split_at_mut(path.len());
    first.copy_from_slice(path);
    rest.copy_from_slice(name);
    *length = end;
    true
}

/// The heap thread, which starts the control thread: so that it, and the threads of tests, have the process's descriptors.
extern "C" fn run_heap_thread(_: *mut c_void) -> *mut c_void {
    thread::while_busy(|| {
        system::name_thread(b"memtrial-heap\0");
        let (Some(shared), Some(spawner)) = (Shared::get(), Spawner::find()) else {
            stop_serving();
            return;
        };
        if spawner.spawn(control_thread, core::ptr::null_mut()) {
            heap_thread::work(shared, spawner);
        } else {
            shared.control().serving.store(serving::NO_MEMORY, Ordering::Release);
            stop_serving();
        }
    });
    core::ptr::null_mut()
}

extern "C" fn control_thread(_: *mut c_void) -> *mut c_void {
    system::name_thread(b"memtrial\0");
    // SAFETY: written before this thread was started, and not while it runs.
    let (path, length) = unsafe { &*HANDOVER_PATH.0.get() };
    if let Some(shared) = Shared::get() {
        let outcome = server::serve(path.get(..*length).unwrap_or_default(), shared);
        heap_thread::end();
        shared.control().serving.store(outcome, Ordering::Release);
    }
    // The heap thread has ended before, or is about to, and uses nothing of ours any more.
    stop_serving();
    core::ptr::null_mut()
}

/// Joins the trial whose control memory has this path, in a process that was running already. Called by the
/// controller, in a thread that holds no lock. Returns 0, or what kept it from joining.
///
/// # Safety
/// `path` must be a NUL-terminated text.
#[unsafe(no_mangle)]
unsafe extern "C" fn memtrial_control(path: *const c_char) -> u64 {
    if SERVING.load(Ordering::Acquire) == system::getpid() {
        return refusal::TAKEN;
    }
    // SAFETY: the controller wrote the path there.
    let path = unsafe { CStr::from_ptr(path) };
    match start::join(path.to_bytes_with_nul()) {
        0 => begin(path.to_bytes()),
        refused => refused,
    }
}

//! Memory events: whether one is to be told of, and the backends that it is told to.

mod format;
mod ftrace;
mod generated;
mod kept;
mod log;
pub mod memory;
mod probe;
mod simple;
mod stacks;
mod syslog;
mod ust;

use core::sync::atomic::{AtomicPtr, Ordering, compiler_fence};

use memtrial_wire::tracing::{Tracing, backend};

use crate::memory::Shared;
use crate::{stack, thread};

pub use generated::*;
pub use stacks::caller;

/// What the controller says of events; null in a process that is not traced.
static TRACING: AtomicPtr<Tracing> = AtomicPtr::new(core::ptr::null_mut());

/// An argument of an event.
#[derive(Clone, Copy)]
pub(crate) enum Argument {
    /// A number without sign.
    Unsigned(u64),
    /// A number with sign.
    Signed(i64),
    /// An address.
    Pointer(u64),
    /// The address of a text that ends in a NUL; it may be any address, for the target's arguments are.
    Text(*const u8),
}

/// Tells of an event as text; says whether it was taken.
type Backend = fn(u16, &[Argument], &Tracing) -> bool;

/// Most arguments of an event.
const MOST: usize = 8;

/// Begins to tell of events in this process.
pub fn begin(shared: Shared) -> bool {
    let tracing = &shared.control().tracing;
    if tracing.stacks != 0 && !stack::prepare() {
        shared.control().no_unwinder.store(1, Ordering::Relaxed);
    }
    syslog::prepare();
    ust::prepare(tracing);
    let prepared = simple::prepare();
    if prepared {
        TRACING.store((&raw const *tracing).cast_mut(), Ordering::Release);
    }
    prepared
}

/// Ends telling in this process.
pub fn end() {
    TRACING.store(core::ptr::null_mut(), Ordering::Release);
}

#[inline]
fn tracing() -> Option<&'static Tracing> {
    let tracing = TRACING.load(Ordering::Acquire);
    // SAFETY: `begin` stores a part of the shared memory, which stays mapped.
    (!tracing.is_null()).then(|| unsafe { &*tracing })
}

/// Whether an event is to be told of. What an allocator or the agent does within a call of the target's is not.
#[inline]
pub fn is_enabled(event: u16) -> bool {
    tracing().is_some_and(|tracing| tracing.enabled.load(Ordering::Relaxed) & 1 << event != 0)
        && !thread::is_busy()
}

/// Tells the backends that are on. Nothing here calls the C library but [`ust`], so that `errno` stays as it is.
pub(crate) fn tell(event: u16, arguments: &[Argument]) {
    let Some(tracing) = tracing() else { return };
    let backends = tracing.backends.load(Ordering::Relaxed);
    if backends == 0 {
        return;
    }
    let telling = &thread::recorder().telling;
    if telling.get() != 0 {
        // A signal handler has interrupted this thread while it told of another event.
        refuse(backends, tracing);
        return;
    }
    telling.set(1);
    compiler_fence(Ordering::SeqCst);
    if backends & backend::SIMPLE != 0 {
        let mut room = [Argument::Unsigned(0); MOST];
        simple::tell(event, stacks::behind(arguments, &mut room, tracing), tracing);
    }
    if backends & !backend::SIMPLE != 0 {
        tell_as_text(event, arguments, backends, tracing);
    }
    compiler_fence(Ordering::SeqCst);
    telling.set(0);
}

/// Counts an event that nobody can be told of now.
#[cold]
fn refuse(backends: u32, tracing: &Tracing) {
    if backends & backend::SIMPLE != 0 {
        simple::drop_one(tracing);
    }
    if backends & !backend::SIMPLE != 0 {
        tracing.lost.fetch_add(1, Ordering::Relaxed);
    }
}

// Its stack frame holds a line: the binary backend is spared it.
#[inline(never)]
fn tell_as_text(event: u16, arguments: &[Argument], backends: u32, tracing: &Tracing) {
    let all: [(u32, Backend); 4] = [
        (backend::LOG, log::tell),
        (backend::SYSLOG, syslog::tell),
        (backend::FTRACE, ftrace::tell),
        (backend::UST, ust::tell),
    ];
    for (bit, tell) in all {
        if backends & bit != 0 && !tell(event, arguments, tracing) {
            tracing.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A path that the controller has written down, with its NUL; `None` if it is empty.
fn path(room: &[u8]) -> Option<&[u8]> {
    let end = room.iter().position(|&byte| byte == 0).filter(|&end| end > 0)?;
    room.get(..=end)
}

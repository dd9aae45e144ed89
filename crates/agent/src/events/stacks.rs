//! The call stacks of events, kept in the table of sites.

use core::sync::atomic::Ordering;

use memtrial_wire::tracing::Tracing;

use super::{Argument, MOST, tracing};
use crate::memory::Shared;
use crate::stack::{self, Caller};
use crate::{record, thread};

/// The address that a call returns to; where call stacks are wanted, that of the event which is told of next is noted.
#[inline]
pub fn caller(at: Caller) -> u64 {
    if tracing().is_some_and(|tracing| tracing.stacks != 0) {
        note(at);
    }
    // SAFETY: the functions that are exported note the stack pointer as they are called: there lies the address.
    unsafe { (at.sp as *const u64).read() }
}

#[cold]
#[inline(never)]
fn note(at: Caller) {
    let recorder = thread::recorder();
    // What a signal handler does while another event is told of is not told, and must not change that one's site.
    if recorder.telling.get() != 0 {
        return;
    }
    let Some(shared) = Shared::get() else { return };
    let stack = stack::unwind(at, shared);
    if stack.hash == 0 {
        return;
    }
    if record::entry(&stack, shared).is_some() {
        recorder.site.set(stack.hash);
    } else {
        shared.control().lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// The arguments as they are recorded: with the site behind them, where call stacks are wanted.
#[inline]
pub fn behind<'a>(
    arguments: &'a [Argument],
    room: &'a mut [Argument; MOST],
    tracing: &Tracing,
) -> &'a [Argument] {
    if tracing.stacks == 0 {
        return arguments;
    }
    let many = arguments.len().min(MOST - 1);
    room[..many].copy_from_slice(&arguments[..many]);
    room[many] = Argument::Unsigned(thread::recorder().site.replace(0));
    &room[..=many]
}

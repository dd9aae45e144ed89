//! Sharing jemalloc's first arena with the target's threads.
//!
//! jemalloc spreads threads over arenas; the program's first thread has the first of them. By `mallctl` a thread can be bound
//! to one (jemalloc(3), `thread.arena`).

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::{real, stack, thread};

use super::heap;

type Mallctl = unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;

/// The allocator's `mallctl`; null: it is not jemalloc, or can't be asked.
static MALLCTL: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Looks for it, and binds the calling thread, which must be the agent's own.
pub fn find() {
    let found = real::symbol(real::RTLD_DEFAULT, b"mallctl\0");
    if !found.is_null() && stack::share_module(found as u64, heap::malloc_address()) && bind(found) {
        MALLCTL.store(found, Ordering::Release);
    }
}

/// Knows of nothing.
pub fn forget() {
    MALLCTL.store(core::ptr::null_mut(), Ordering::Release);
}

/// Whether threads are bound.
pub fn is_shared() -> bool {
    !MALLCTL.load(Ordering::Acquire).is_null()
}

/// Binds the calling thread, which must be the agent's own.
pub fn enter() {
    let mallctl = MALLCTL.load(Ordering::Acquire);
    if !mallctl.is_null() {
        bind(mallctl);
    }
}

fn bind(mallctl: *mut c_void) -> bool {
    let mut first: u32 = 0;
    let none = core::ptr::null_mut();
    // SAFETY: the function of this name in jemalloc has this type; the value that it reads is an `unsigned`.
    let refused = thread::while_busy(|| unsafe {
        let mallctl = core::mem::transmute::<*mut c_void, Mallctl>(mallctl);
        let value = (&raw mut first).cast();
        mallctl(c"thread.arena".as_ptr(), none, none.cast(), value, size_of::<u32>())
    });
    refused == 0
}

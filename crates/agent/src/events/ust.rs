//! The backend that hands each event to LTTng's library for tracing in user space, where that is loaded.

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use memtrial_wire::line::Line;
use memtrial_wire::tracing::{Tracing, backend};

use super::{Argument, format};
use crate::{real, thread};

/// `lttng_ust__tracef` of liblttng-ust.so.1 (2.13): what the macro `lttng_ust_tracef` calls.
static TRACEF: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Looks for the library; what it defines is found whether it was preloaded or the program uses it.
pub fn prepare(tracing: &Tracing) {
    if tracing.backends.load(Ordering::Relaxed) & backend::UST == 0 {
        return;
    }
    let function = real::symbol(real::RTLD_DEFAULT, b"lttng_ust__tracef\0");
    TRACEF.store(function, Ordering::Relaxed);
    if function.is_null() {
        tracing.no_ust.store(1, Ordering::Relaxed);
    }
}

/// Hands `name arguments` over. The library allocates: what it does is not told of.
pub fn tell(event: u16, arguments: &[Argument], tracing: &Tracing) -> bool {
    let function = TRACEF.load(Ordering::Relaxed);
    if function.is_null() {
        tracing.no_ust.store(1, Ordering::Relaxed);
        return false;
    }
    let mut buffer = [0; format::LINE];
    let mut line = Line::new(&mut buffer);
    format::event(&mut line, event, arguments);
    let text = line.end(Some(0));
    // SAFETY: the symbol of this name has this type by lttng/tracef.h.
    let tracef =
        unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, ...)>(function) };
    let before = real::errno();
    // SAFETY: a format that asks for one text, and a text that ends in a NUL.
    thread::while_busy(|| unsafe { tracef(c"%s".as_ptr(), text.as_ptr()) });
    real::set_errno(before);
    true
}

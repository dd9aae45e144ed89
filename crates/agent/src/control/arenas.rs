//! Allocating from where the target's threads do, so that chunks lie among their blocks.

use super::{glibc, heap, jemalloc};
use crate::real;

/// Finds out how, for the calling thread, which must be the agent's own, and binds it.
pub fn find() {
    glibc::forget();
    jemalloc::forget();
    if real::is_in_libc(heap::malloc_address()) {
        glibc::find();
    } else {
        jemalloc::find();
    }
}

/// How many arenas of the target's the agent's threads share; 0: none is known.
pub fn shared() -> usize {
    if jemalloc::is_shared() { 1 } else { glibc::shared() }
}

/// Binds the calling thread, which must be the agent's and have allocated nothing yet, to one of the target's arenas; of
/// several, `turn` chooses.
pub fn enter(turn: usize) {
    glibc::enter(turn);
    jemalloc::enter();
}

/// Gives a thread of [`enter`] back as it was.
pub fn leave() {
    glibc::leave();
}

/// The same for the thread of [`find`].
pub fn end() {
    glibc::end();
}

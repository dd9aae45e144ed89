//! What the load needs of the process that it runs in.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

use crate::writer::Writer;

/// What a host knows of the surroundings of a chunk, in words of its own; zeros: nothing.
pub type Surroundings = [u64; 4];

/// The process: its allocator, its kernel, its threads. Every method may be called from any of the load's threads.
pub trait Host: Sync {
    /// Allocates from the heap under test; null if that fails.
    fn allocate(&self, bytes: usize) -> *mut u8;

    /// Resizes a chunk as `realloc` does; null if that fails, and the chunk is as it was.
    ///
    /// # Safety
    /// The chunk must be one of [`Host::allocate`]'s that is not freed, and nobody else's to free. `bytes` is not 0.
    unsafe fn reallocate(&self, chunk: NonNull<u8>, bytes: usize) -> *mut u8;

    /// Frees a chunk.
    ///
    /// # Safety
    /// As for [`Host::reallocate`].
    unsafe fn free(&self, chunk: NonNull<u8>);

    /// Maps zeroed memory that has nothing to do with the heap under test; `bytes` is a multiple of 4096. Pages that are
    /// never touched cost nothing.
    fn map(&self, bytes: usize) -> Option<NonNull<u8>>;

    /// Gives it back.
    ///
    /// # Safety
    /// It must be exactly what [`Host::map`] returned, and not be used any more.
    unsafe fn unmap(&self, memory: NonNull<u8>, bytes: usize);

    /// Nanoseconds of a clock that only goes forward.
    fn now(&self) -> u64;

    /// Starts a thread that calls `Load::run_test` for the test in this place; says whether there is one.
    fn start_thread(&self, place: usize) -> bool;

    /// Waits until `word` is no longer `expected`, or is woken, or the clock has reached `until` (`u64::MAX`: no limit). May
    /// return early.
    fn wait(&self, word: &AtomicU32, expected: u32, until: u64);

    /// Wakes all that wait for `word`.
    fn wake(&self, word: &AtomicU32);

    /// Whether nobody waits any more for the answer to the command that is being carried out, so that what takes long may end.
    fn is_abandoned(&self) -> bool {
        false
    }

    /// A number for the call stack of the caller, by which [`Host::describe`] finds it again; 0: none.
    fn stack(&self) -> u32;

    /// What is known at this moment of the surroundings of a chunk whose byte at `offset` was overwritten, for
    /// [`Host::describe`].
    fn surroundings(&self, chunk: u64, offset: u64) -> Surroundings;

    /// Writes members of an object that say what is known of a chunk whose byte at `offset` was overwritten: `stack` (a list
    /// of texts, innermost first), and what lay around it.
    fn describe(&self, stack: u32, offset: u64, surroundings: &Surroundings, to: &mut Writer<'_>);

    /// Writes an object with the members `path` and `build_id` (in hexadecimal) for each module that frames of
    /// [`Host::describe`] may be in.
    fn modules(&self, _to: &mut Writer<'_>) {}

    /// Writes members of the status's object that only the host knows, as its pid.
    fn status(&self, _to: &mut Writer<'_>) {}
}

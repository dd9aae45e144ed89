//! The process as the load sees it.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use memtrial_load::host::{Host, Surroundings};
use memtrial_load::writer::Writer;

use crate::memory::Shared;
use crate::{system, thread};

use super::spawn::Spawner;
use super::{arenas, heap, heap_thread, origin};

/// The process that the agent is in.
pub struct Process {
    /// The memory shared with the controller.
    pub shared: Shared,
    /// What makes threads.
    pub spawner: Spawner,
}

impl Host for Process {
    fn allocate(&self, bytes: usize) -> *mut u8 {
        heap::allocate(bytes)
    }

    unsafe fn reallocate(&self, chunk: NonNull<u8>, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises the chunk.
        unsafe { heap::reallocate(chunk.as_ptr(), bytes) }
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller promises the chunk.
        unsafe { heap::free(chunk.as_ptr()) }
    }

    fn map(&self, bytes: usize) -> Option<NonNull<u8>> {
        NonNull::new(system::map_private(bytes).ok()?)
    }

    unsafe fn unmap(&self, memory: NonNull<u8>, bytes: usize) {
        system::unmap(memory.as_ptr() as u64, bytes);
    }

    fn now(&self) -> u64 {
        system::monotonic()
    }

    fn start_thread(&self, place: usize) -> bool {
        self.shared.control().agent_threads.fetch_add(1, Ordering::AcqRel);
        let started = self.spawner.spawn(test_thread, place as *mut c_void);
        if !started {
            self.shared.control().agent_threads.fetch_sub(1, Ordering::AcqRel);
        }
        started
    }

    fn wait(&self, word: &AtomicU32, expected: u32, until: u64) {
        system::futex_wait_until(word, expected, until);
    }

    fn wake(&self, word: &AtomicU32) {
        system::futex_wake(word);
    }

    fn is_abandoned(&self) -> bool {
        heap_thread::is_abandoned()
    }

    fn stack(&self) -> u32 {
        origin::here()
    }

    fn surroundings(&self, chunk: u64, offset: u64) -> Surroundings {
        origin::surroundings(chunk, chunk.saturating_add(offset))
    }

    fn describe(&self, stack: u32, offset: u64, surroundings: &Surroundings, to: &mut Writer<'_>) {
        origin::describe(self.shared, stack, offset, surroundings, to);
    }

    fn modules(&self, to: &mut Writer<'_>) {
        origin::write_modules(self.shared, to);
    }

    fn status(&self, to: &mut Writer<'_>) {
        to.name("pid");
        to.number(system::getpid().into());
        to.name("arenas");
        to.number(arenas::shared() as u64);
    }
}

/// A thread of a test's.
extern "C" fn test_thread(place: *mut c_void) -> *mut c_void {
    thread::while_busy(|| {
        let place = place as usize;
        system::name_thread(b"memtrial-test\0");
        system::sleep_exactly();
        arenas::enter(place);
        if let Some(load) = heap_thread::load() {
            load.run_test(place);
            arenas::leave();
            load.host().shared.control().agent_threads.fetch_sub(1, Ordering::AcqRel);
        }
    });
    core::ptr::null_mut()
}

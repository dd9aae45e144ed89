//! A host for unit tests: memory of Rust's own allocator, threads of `std`, and switches that make things fail.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::budget;
use crate::host::{Host, Surroundings};
use crate::load::Load;
use crate::writer::Writer;

const ALIGNMENT: usize = 16;

/// What is allocated and mapped.
#[derive(Debug, Default)]
struct Memory {
    /// Sizes by address.
    chunks: HashMap<usize, usize>,
    mapped: HashMap<usize, usize>,
    /// What the chunks cost together.
    cost: u64,
    peak: u64,
}

/// How often something goes well.
struct Allowance(AtomicU64);

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance(AtomicU64::new(u64::MAX))
    }
}

/// The host.
#[derive(Default)]
pub struct Fake {
    load: OnceLock<&'static Load<Fake>>,
    memory: Mutex<Memory>,
    woken: Mutex<()>,
    wakes: Condvar,
    epoch: OnceLock<Instant>,
    refuse_maps: AtomicBool,
    allowed: Allowance,
    refuse_threads: AtomicBool,
    /// After how many more looks nobody waits for an answer any more.
    patience: Allowance,
    stacks: AtomicU32,
    threads: AtomicU64,
}

impl Fake {
    /// Tells it what its threads work for.
    pub fn serve(&self, load: &'static Load<Fake>) {
        assert!(self.load.set(load).is_ok(), "once");
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many mappings there are.
    pub fn mapped(&self) -> usize {
        self.memory().mapped.len()
    }

    /// Number and bytes of the chunks that are not freed.
    pub fn chunks(&self) -> (u64, u64) {
        let memory = self.memory();
        (memory.chunks.len() as u64, memory.chunks.values().map(|&bytes| bytes as u64).sum())
    }

    /// What they cost together.
    pub fn cost(&self) -> u64 {
        self.memory().cost
    }

    /// A chunk of this size.
    pub fn any_chunk(&self, bytes: usize) -> Option<NonNull<u8>> {
        let memory = self.memory();
        let (&address, _) = memory.chunks.iter().find(|(_, size)| **size == bytes)?;
        NonNull::new(std::ptr::with_exposed_provenance_mut(address))
    }

    /// What the chunks cost at most at any time.
    pub fn peak(&self) -> u64 {
        self.memory().peak
    }

    /// Threads that have not ended.
    pub fn threads(&self) -> u64 {
        self.threads.load(Ordering::SeqCst)
    }

    /// From now on no memory can be mapped, or can.
    pub fn refuse_maps(&self, refuse: bool) {
        self.refuse_maps.store(refuse, Ordering::SeqCst);
    }

    /// From now on so many allocations succeed.
    pub fn allow(&self, allocations: u64) {
        self.allowed.0.store(allocations, Ordering::SeqCst);
    }

    /// Whoever waits for an answer goes away when it was looked so often whether he has.
    pub fn leave_after(&self, looks: u64) {
        self.patience.0.store(looks, Ordering::SeqCst);
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        let fewer = |left: u64| left.checked_sub(1);
        bytes <= 1 << 40 && self.allowed.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }

    /// From now on no thread can be started, or can.
    pub fn refuse_threads(&self, refuse: bool) {
        self.refuse_threads.store(refuse, Ordering::SeqCst);
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("no size that is too large gets so far")
}

impl Host for Fake {
    fn allocate(&self, bytes: usize) -> *mut u8 {
        if !self.may_allocate(bytes) {
            return std::ptr::null_mut();
        }
        assert_ne!(bytes, 0, "no chunk of no size");
        let mut memory = self.memory();
        // SAFETY: the size is not 0.
        let chunk = unsafe { alloc(layout(bytes)) };
        if !chunk.is_null() {
            memory.chunks.insert(chunk as usize, bytes);
            memory.cost += budget::cost(bytes as u64);
            memory.peak = memory.peak.max(memory.cost);
        }
        chunk
    }

    unsafe fn reallocate(&self, chunk: NonNull<u8>, bytes: usize) -> *mut u8 {
        if !self.may_allocate(bytes) {
            return std::ptr::null_mut();
        }
        let mut memory = self.memory();
        let address = chunk.as_ptr() as usize;
        let old = memory.chunks.remove(&address).expect("a chunk that is not freed");
        // An allocator may need both for a while.
        memory.peak = memory.peak.max(memory.cost + budget::cost(bytes as u64));
        // SAFETY: it was allocated with this layout.
        let new = unsafe { realloc(chunk.as_ptr(), layout(old), bytes) };
        assert!(!new.is_null(), "memory for tests");
        memory.chunks.insert(new as usize, bytes);
        memory.cost = memory.cost - budget::cost(old as u64) + budget::cost(bytes as u64);
        new
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        let mut memory = self.memory();
        let bytes = memory.chunks.remove(&(chunk.as_ptr() as usize)).expect("a chunk that is not freed");
        memory.cost -= budget::cost(bytes as u64);
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(chunk.as_ptr(), layout(bytes)) };
    }

    fn map(&self, bytes: usize) -> Option<NonNull<u8>> {
        assert!(bytes.is_multiple_of(4096) && bytes > 0);
        if self.refuse_maps.load(Ordering::SeqCst) {
            return None;
        }
        // SAFETY: the size is not 0.
        let memory = NonNull::new(unsafe { alloc_zeroed(page(bytes)) })?;
        self.memory().mapped.insert(memory.as_ptr() as usize, bytes);
        Some(memory)
    }

    unsafe fn unmap(&self, memory: NonNull<u8>, bytes: usize) {
        assert_eq!(self.memory().mapped.remove(&(memory.as_ptr() as usize)), Some(bytes), "what was mapped");
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(memory.as_ptr(), page(bytes)) };
    }

    fn now(&self) -> u64 {
        self.epoch.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    fn start_thread(&self, place: usize) -> bool {
        let Some(&load) = self.load.get() else { return false };
        if self.refuse_threads.load(Ordering::SeqCst) {
            return false;
        }
        self.threads.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            load.run_test(place);
            load.host().threads.fetch_sub(1, Ordering::SeqCst);
        });
        true
    }

    fn wait(&self, word: &AtomicU32, expected: u32, until: u64) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if word.load(Ordering::SeqCst) != expected {
            return;
        }
        // A day stands for no limit.
        let left = Duration::from_nanos(until.saturating_sub(self.now())).min(Duration::from_secs(86_400));
        drop(self.wakes.wait_timeout(woken, left));
    }

    fn wake(&self, _: &AtomicU32) {
        let _woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        self.wakes.notify_all();
    }

    fn is_abandoned(&self) -> bool {
        let fewer = |left: u64| left.checked_sub(1);
        self.patience.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_err()
    }

    fn stack(&self) -> u32 {
        self.stacks.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn surroundings(&self, chunk: u64, offset: u64) -> Surroundings {
        [chunk, offset, 0, 0]
    }

    fn describe(&self, stack: u32, _: u64, _: &Surroundings, to: &mut Writer<'_>) {
        to.name("stack");
        to.begin_array();
        to.texts(&["STACK", ["0", "1", "2", "3"].get(stack as usize).copied().unwrap_or("many")]);
        to.end_array();
    }
}

fn page(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).expect("a small size")
}

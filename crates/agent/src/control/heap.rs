//! The allocator under load: the process's own, wherever it is.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

use memtrial_wire::layout::{REAL_FUNCTIONS, own_allocator};

use crate::real::call;
use crate::thread;

/// The addresses of `malloc`, `realloc` and `free` as the controller found them; 0: what stands behind the agent.
static MALLOC: AtomicU64 = AtomicU64::new(0);
static REALLOC: AtomicU64 = AtomicU64::new(0);
static FREE: AtomicU64 = AtomicU64::new(0);

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

/// Takes what the controller has found.
pub fn learn(told: &[AtomicU64; REAL_FUNCTIONS.len()]) {
    let [malloc, realloc, free] = own_allocator().map(|place| told[place].load(Ordering::Acquire));
    // One alone would hand one allocator's blocks to another.
    let all = malloc != 0 && realloc != 0 && free != 0;
    for (place, told) in [(&MALLOC, malloc), (&REALLOC, realloc), (&FREE, free)] {
        place.store(if all { told } else { 0 }, Ordering::Relaxed);
    }
}

/// The address of `malloc`.
pub fn malloc_address() -> u64 {
    match MALLOC.load(Ordering::Relaxed) {
        0 => crate::real::malloc_address(),
        told => told,
    }
}

/// As `malloc`.
#[inline]
pub fn allocate(bytes: usize) -> *mut u8 {
    let address = MALLOC.load(Ordering::Relaxed);
    if address == 0 {
        // SAFETY: any size may be asked for.
        return unsafe { call::malloc(bytes) }.cast();
    }
    // SAFETY: the controller found the allocator's `malloc` there.
    thread::while_busy(|| unsafe { core::mem::transmute::<u64, Malloc>(address)(bytes) }).cast()
}

/// As `realloc`.
///
/// # Safety
/// The chunk must be one of [`allocate`]'s.
#[inline]
pub unsafe fn reallocate(chunk: *mut u8, bytes: usize) -> *mut u8 {
    let address = REALLOC.load(Ordering::Relaxed);
    if address == 0 {
        // SAFETY: the caller promises the chunk.
        return unsafe { call::realloc(chunk.cast(), bytes) }.cast();
    }
    // SAFETY: the controller found the same allocator's `realloc` there; the caller promises the chunk.
    thread::while_busy(|| unsafe { core::mem::transmute::<u64, Realloc>(address)(chunk.cast(), bytes) })
        .cast()
}

/// As `free`.
///
/// # Safety
/// The chunk must be one of [`allocate`]'s.
#[inline]
pub unsafe fn free(chunk: *mut u8) {
    let address = FREE.load(Ordering::Relaxed);
    if address == 0 {
        // SAFETY: the caller promises the chunk.
        return unsafe { call::free(chunk.cast()) };
    }
    // SAFETY: the controller found the same allocator's `free` there; the caller promises the chunk.
    thread::while_busy(|| unsafe { core::mem::transmute::<u64, Free>(address)(chunk.cast()) });
}

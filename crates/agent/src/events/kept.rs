//! The chunks that threads have mapped. A thread's end is told to nobody here, so that the chunks of those that have ended
//! are looked for from time to time: a server that makes a thread for each client would else run out of mappings.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use memtrial_wire::recording::{CHUNK, ChunkHead, ENDED};

use crate::{files, system};

/// Most chunks that are kept account of; those of more threads stay mapped.
const PLACES: usize = 1024;
/// So many threads come between two looks.
const LOOK: usize = 64;

struct Place {
    /// The thread; 0: the place is free.
    tid: AtomicU32,
    /// Where its chunk is mapped; 0: nowhere.
    chunk: AtomicU64,
}

static KEPT: [Place; PLACES] = [const { Place { tid: AtomicU32::new(0), chunk: AtomicU64::new(0) } }; PLACES];
static CAME: AtomicUsize = AtomicUsize::new(0);
/// Whether there may be chunks here of the threads of a parent, who knows better whether they have ended.
static CHILD: AtomicBool = AtomicBool::new(false);

/// Notes that this process was forked.
pub fn be_child() {
    CHILD.store(true, Ordering::Relaxed);
}

/// Keeps account of a new thread's chunk. Returns its place, from 1; 0 if there is none.
pub fn enter(tid: u32, chunk: u64) -> usize {
    let came = CAME.fetch_add(1, Ordering::Relaxed);
    if came % LOOK == LOOK - 1 {
        unmap_of_ended();
    }
    for (number, place) in (1..).zip(&KEPT) {
        if place.tid.load(Ordering::Relaxed) == 0
            && place.tid.compare_exchange(0, tid, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            place.chunk.store(chunk, Ordering::Release);
            return number;
        }
    }
    0
}

/// Puts another chunk in a thread's place.
pub fn replace(place: usize, chunk: u64) {
    if let Some(place) = place.checked_sub(1).and_then(|number| KEPT.get(number)) {
        place.chunk.store(chunk, Ordering::Release);
    }
}

/// Unmaps a chunk that its thread has left, if nobody did so yet. The place stays the thread's if it is to have another.
pub fn unmap(place: usize, chunk: u64, goes_on: bool) {
    if chunk == 0 {
        return;
    }
    let Some(place) = place.checked_sub(1).and_then(|number| KEPT.get(number)) else {
        system::unmap(chunk, CHUNK);
        return;
    };
    if place.chunk.compare_exchange(chunk, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        system::unmap(chunk, CHUNK);
        if !goes_on {
            place.tid.store(0, Ordering::Release);
        }
    }
}

/// Unmaps the chunks of threads that have ended. In a forked child these are all but its own.
#[cold]
fn unmap_of_ended() {
    for place in &KEPT {
        let (tid, chunk) = (place.tid.load(Ordering::Acquire), place.chunk.load(Ordering::Acquire));
        if tid == 0 || !files::has_ended(tid) {
            continue;
        }
        if place.chunk.compare_exchange(chunk, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            if chunk != 0 {
                end(chunk);
            }
            let _ = place.tid.compare_exchange(tid, 0, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// Unmaps the chunk of a thread that has ended, and notes in it that there is nothing to come, for who reads it.
fn end(chunk: u64) {
    if !CHILD.load(Ordering::Relaxed) {
        // SAFETY: the chunk is mapped and begins with its head; who took it out of its place is the only one to unmap it.
        let head = unsafe { &*(chunk as *const ChunkHead) };
        head.used.fetch_or(ENDED, Ordering::Release);
    }
    system::unmap(chunk, CHUNK);
}

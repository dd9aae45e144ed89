//! Sharing glibc's arenas with the target's threads.
//!
//! glibc gives each new thread an arena of its own, so that chunks of the agent's threads would never lie beside the
//! target's blocks, nor in the places of those it has freed. Which arena a thread allocates from is a word of its static
//! TLS (`thread_arena` in malloc/arena.c), of which no symbol tells the place. It is found by what it holds, and tried
//! before it is used; where any step does not fit, the agent's threads keep their own arenas, and that is said.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::real;
use crate::{system, thread};

use super::heap;

/// Heaps of arenas begin at multiples of this, and the arena lies near the start of its first (HEAP_MAX_SIZE).
const HEAP: u64 = 64 << 20;
/// How much of a thread's TLS is searched, and how much of an arena.
const SEARCHED: u64 = 8192;
const ARENA: u64 = 4096;
/// Most arenas that are shared.
const MOST: usize = 64;

/// Distance from a thread's pointer down to the word; 0: unknown.
static WORD: AtomicU64 = AtomicU64::new(0);
/// The main arena, and where in an arena the next one is named. While the word is not known, 1 for "all threads share it".
static MAIN: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicU64 = AtomicU64::new(0);
/// The arena that the control thread was given.
static OWN: AtomicU64 = AtomicU64::new(0);

/// A place in an arena's free lists that threads keep for themselves only above this size (1032 bytes).
const PROBE: usize = 2008;

/// Finds the word and the arenas, for the calling thread, which must be the agent's own. From then on it shares the
/// main arena. The allocator must be glibc's.
pub fn find() {
    let own = match place_of_new_block() {
        Place::Arena(own) => own,
        place => {
            // There may be but one, by the user's setting.
            MAIN.store(u64::from(place == Place::Main), Ordering::Relaxed);
            return;
        }
    };
    let Some((next, main)) = ring(own) else { return };
    let top = thread::control_block();
    let candidates = (1..SEARCHED / 8).map(|word| word * 8);
    for distance in candidates.filter(|distance| read(top - distance) == Some(own)) {
        set(distance, main);
        if place_of_new_block() == Place::Main {
            NEXT.store(next, Ordering::Relaxed);
            MAIN.store(main, Ordering::Relaxed);
            OWN.store(own, Ordering::Relaxed);
            WORD.store(distance, Ordering::Release);
            return;
        }
        set(distance, own);
    }
}

/// Knows of nothing.
pub fn forget() {
    for word in [&WORD, &MAIN, &NEXT, &OWN] {
        word.store(0, Ordering::Relaxed);
    }
}

/// How many arenas of the target's the agent's threads share; 0: none is known.
pub fn shared() -> usize {
    if WORD.load(Ordering::Acquire) == 0 {
        return MAIN.load(Ordering::Relaxed) as usize;
    }
    let mut count = 0;
    each(|_| count += 1);
    count
}

/// Makes the calling thread, which must be the agent's and have allocated nothing yet, allocate from one of the target's
/// arenas; which one, `turn` chooses.
pub fn enter(turn: usize) {
    let distance = WORD.load(Ordering::Acquire);
    let count = shared();
    if distance == 0 || count == 0 {
        return;
    }
    let mut number = 0;
    each(|arena| {
        if number == turn % count {
            set(distance, arena);
        }
        number += 1;
    });
}

/// Gives a thread of [`enter`] back as it was: glibc counts the threads of an arena, and it is not among them.
pub fn leave() {
    let distance = WORD.load(Ordering::Acquire);
    if distance != 0 {
        set(distance, 0);
    }
}

/// The same for the thread of [`find`].
pub fn end() {
    let distance = WORD.swap(0, Ordering::AcqRel);
    if distance != 0 {
        set(distance, OWN.load(Ordering::Relaxed));
    }
}

/// Each arena but the control thread's, the main one first.
fn each(mut with: impl FnMut(u64)) {
    let (main, next, own) =
        (MAIN.load(Ordering::Relaxed), NEXT.load(Ordering::Relaxed), OWN.load(Ordering::Relaxed));
    let mut arena = main;
    for _ in 0..MOST {
        if arena == 0 {
            return;
        }
        if arena != own {
            with(arena);
        }
        arena = read(arena + next).unwrap_or(0);
        if arena == main {
            return;
        }
    }
}

/// Where a block lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the main arena.
    Main,
    /// In this other one.
    Arena(u64),
    /// In neither, as far as can be told.
    Unknown,
}

/// Allocates and frees a block; where it lay.
fn place_of_new_block() -> Place {
    // SAFETY: a block of the allocator, looked at while it is allocated and then freed.
    let (block, from) = unsafe {
        let block = heap::allocate(PROBE);
        if block.is_null() {
            return Place::Unknown;
        }
        // The word before a block holds its size, and in the bits below where it is from (malloc/malloc.c).
        let from = block.cast::<u64>().sub(1).read() & 6;
        heap::free(block);
        (block as u64, from)
    };
    let heap = block & !(HEAP - 1);
    match from {
        0 => Place::Main,
        4 => match read(heap) {
            Some(arena) if arena & !(HEAP - 1) == heap && arena - heap < 256 => Place::Arena(arena),
            _ => Place::Unknown,
        },
        _ => Place::Unknown,
    }
}

/// Where in an arena the next one is named, and the main arena: the one place by which a ring of arenas comes back, in
/// which exactly one does not lie in a heap but in the C library's data.
fn ring(own: u64) -> Option<(u64, u64)> {
    (0..ARENA / 8).map(|word| word * 8).find_map(|next| Some((next, main_of(own, next)?)))
}

fn main_of(own: u64, next: u64) -> Option<u64> {
    let (mut arena, mut main) = (own, None);
    for _ in 0..MOST * 4 {
        arena = read(arena + next)?;
        if arena == own {
            return main;
        }
        if arena & (HEAP - 1) == own & (HEAP - 1) {
            continue;
        }
        if main.is_some() || !real::is_in_libc(arena) {
            return None;
        }
        main = Some(arena);
    }
    None
}

/// A word of this process's memory, by way of the kernel, which says if it can't be read.
fn read(address: u64) -> Option<u64> {
    system::read_own(address)
}

/// Sets the word of the calling thread.
fn set(distance: u64, arena: u64) {
    let word = (thread::control_block() - distance) as *mut u64;
    // SAFETY: a word of this thread's own TLS, which is readable and writable; the thread is the agent's, so that nobody's
    // variables but `thread_arena` are changed for longer than a trial takes.
    unsafe { word.write_volatile(arena) };
}

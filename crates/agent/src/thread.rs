//! What the agent keeps for each thread: whether it is inside an allocator already, sampling, and where it records.

use core::arch::{asm, global_asm};
use core::cell::Cell;

use memtrial_wire::site::mix;

use crate::system;

// Thread-local variables are not in stable `no_std` Rust. One word in the initial-exec model costs two
// instructions, and is always there in a library that is loaded at start.
global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".p2align 3",
    ".globl memtrial_thread_busy",
    ".hidden memtrial_thread_busy",
    ".type memtrial_thread_busy, @object",
    ".size memtrial_thread_busy, 8",
    "memtrial_thread_busy:",
    ".zero 8",
    ".globl memtrial_thread_sampling",
    ".hidden memtrial_thread_sampling",
    ".type memtrial_thread_sampling, @object",
    ".size memtrial_thread_sampling, 16",
    "memtrial_thread_sampling:",
    ".zero 16",
    ".globl memtrial_thread_recorder",
    ".hidden memtrial_thread_recorder",
    ".type memtrial_thread_recorder, @object",
    ".size memtrial_thread_recorder, 56",
    "memtrial_thread_recorder:",
    ".zero 56",
    ".text",
);

/// What sampling keeps: bytes until the next sample, and the state of the random numbers.
#[inline]
fn sampling() -> &'static [Cell<u64>; 2] {
    let address: *const [Cell<u64>; 2];
    // SAFETY: reads the thread pointer and adds the variable's fixed offset from it.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", "add {0}, qword ptr [rip + memtrial_thread_sampling@GOTTPOFF]",
            out(reg) address, options(nostack, pure, readonly));
    }
    // SAFETY: the variable belongs to this thread, and lives as long as it.
    unsafe { &*address }
}

/// What telling of events keeps for a thread. All zeros at first.
#[repr(C)]
#[derive(Default)]
pub struct Recorder {
    /// Whether an event is being told of.
    pub telling: Cell<u64>,
    /// The owner of the chunk: see `events::simple`.
    pub owner: Cell<u64>,
    /// Address of the chunk that this thread writes to; 0: none.
    pub chunk: Cell<u64>,
    /// Bytes of it in use.
    pub used: Cell<usize>,
    /// Events that are dropped before a chunk is asked for again.
    pub pause: Cell<u64>,
    /// The place of the chunk in the list of chunks, from 1; 0: none.
    pub place: Cell<usize>,
    /// The site of the event that is told of next; 0: none.
    pub site: Cell<u64>,
}

const _: () = assert!(size_of::<Recorder>() == 56);

/// This thread's.
#[inline]
pub fn recorder() -> &'static Recorder {
    let address: *const Recorder;
    // SAFETY: reads the thread pointer and adds the variable's fixed offset from it.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", "add {0}, qword ptr [rip + memtrial_thread_recorder@GOTTPOFF]",
            out(reg) address, options(nostack, pure, readonly));
    }
    // SAFETY: the variable belongs to this thread, and lives as long as it.
    unsafe { &*address }
}

/// Bytes until the next sample; 0 in a thread that has not drawn yet.
#[inline]
pub fn until_sample() -> &'static Cell<u64> {
    &sampling()[0]
}

/// A random number, of a sequence of this thread's own (Marsaglia's xorshift64*).
pub fn random() -> u64 {
    let state = &sampling()[1];
    let mut x = state.get();
    if x == 0 {
        x = mix(control_block() ^ system::monotonic()) | 1;
    }
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    state.set(x);
    x.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn word() -> *mut u64 {
    let address: *mut u64;
    // SAFETY: reads the thread pointer and adds the variable's fixed offset from it.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", "add {0}, qword ptr [rip + memtrial_thread_busy@GOTTPOFF]",
            out(reg) address, options(nostack, pure, readonly));
    }
    address
}

/// The lowest address that the C library keeps for this thread: a thread's stack lies below it.
pub fn control_block() -> u64 {
    let address;
    // SAFETY: the first word of the control block is its own address, by the ABI.
    unsafe { asm!("mov {0}, qword ptr fs:[0]", out(reg) address, options(nostack, pure, readonly)) };
    address
}

/// Whether this thread is inside an allocator, so that calls are the allocator's own.
pub fn is_busy() -> bool {
    // SAFETY: the word belongs to this thread alone.
    unsafe { *word() != 0 }
}

/// Marks this thread as inside an allocator while `work` runs.
#[inline]
pub fn while_busy<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the word belongs to this thread alone; a signal handler that comes in between leaves it as it was.
    unsafe { *word() += 1 };
    let result = work();
    // SAFETY: as above.
    unsafe { *word() -= 1 };
    result
}

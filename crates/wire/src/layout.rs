//! The memory that the agent and the controller share: one file, mapped by both.
//!
//! The file is sparse; only what is used takes room. All that both sides write is atomic, and every table is
//! append-only while a target runs, so neither side ever waits for a lock of the other.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::fault::FaultCode;
use crate::tracing::Tracing;

/// First word of the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"memtrial");

/// Changes with every change of this file, so that an agent never misreads a controller's memory.
pub const VERSION: u32 = 5;

/// The environment variable that holds the path of the file.
pub const CONTROL_VARIABLE: &str = "MEMTRIAL_CONTROL";

/// Sixth argument of the agent's own system calls, by which a seccomp filter lets them pass: the kernel ignores
/// the argument in every call that the agent makes.
pub const AGENT_MARK: u64 = 0x6d65_6d74;

/// Frames kept of a stack; a deeper one is cut at its outer end.
pub const MAX_DEPTH: usize = 64;

/// Entries of the site table (a power of two).
pub const SITES: usize = 1 << 18;
/// Words of the frame pool.
pub const FRAMES: usize = 1 << 23;
/// Entries of the module table.
pub const MODULES: usize = 1 << 10;
/// Entries of the sequence: site index of each ordinal.
pub const SEQUENCE: usize = 1 << 26;
/// Entries of the plan (a power of two).
pub const PLAN: usize = 1 << 24;
/// Most snapshots that run at once.
pub const SLOTS: usize = 64;

/// What the agent is to do.
pub mod mode {
    /// Record every allocation, fail none.
    pub const CENSUS: u32 = 1;
    /// Record every allocation, and make a snapshot at each that the plan names.
    pub const SNAPSHOT: u32 = 2;
    /// Fail the one allocation that is named, and what the fault adds to it.
    pub const ANCHORED: u32 = 3;
    /// Fail what the fault chooses.
    pub const CHOSEN: u32 = 4;
    /// Fail nothing; keep the site and the round of every block that is alive.
    pub const FOLLOW: u32 = 5;
    /// Fail nothing; answer on a control socket, and load the heap as it is told there.
    pub const CONTROL: u32 = 6;
    /// Fail nothing; tell of events.
    pub const TRACE: u32 = 7;
}

/// The functions that the agent stands in front of, and others that it calls: an agent that is loaded into a running
/// process is told their addresses, in this order. The loader's own answer could be a stub in the executable, whose calls
/// come back to the agent.
pub const REAL_FUNCTIONS: [&str; 29] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "free",
    "malloc_usable_size",
    "mmap",
    "munmap",
    "mremap",
    "dlclose",
    "_Znwm",
    "fork",
    "execve",
    "execv",
    "execvp",
    "execvpe",
    "execl",
    "execlp",
    "execle",
    "fexecve",
    "posix_spawn",
    "posix_spawnp",
    "pthread_create",
    "dlopen",
    "dlmopen",
];

/// Where those of [`REAL_FUNCTIONS`] begin that the agent only announces before it jumps to them.
pub const ANNOUNCED: usize = 15;

/// Where `malloc`, `realloc` and `free` stand in [`REAL_FUNCTIONS`].
#[must_use]
pub fn own_allocator() -> [usize; 3] {
    ["malloc", "realloc", "free"]
        .map(|name| REAL_FUNCTIONS.iter().position(|listed| *listed == name).unwrap_or(0))
}

/// What is added to the path of this memory to name the socket on which the controller hands a control socket over.
pub const HANDOVER: &str = ".handover";

/// The first byte of a handover: the agent stays as long as the connection.
pub const LEASED: u8 = b'L';
/// The first byte of a handover: the agent stays until it is told to leave.
pub const SETTLED: u8 = b'S';

/// Why the agent can't work in a process that it was loaded into.
pub mod refusal {
    /// The controller's memory can't be opened there.
    pub const NO_CONTROL: u64 = 1;
    /// No unwinder that needs no lock (a C library before glibc 2.35).
    pub const NO_UNWINDER: u64 = 2;
    /// No room for the table of live blocks.
    pub const NO_MEMORY: u64 = 3;
    /// No allocator is found.
    pub const NO_ALLOCATOR: u64 = 4;
    /// No thread can be started.
    pub const NO_THREAD: u64 = 5;
    /// The agent answers on a control socket already.
    pub const TAKEN: u64 = 6;
}

/// How far the control thread has come ([`Control::serving`]).
pub mod serving {
    /// It has not begun.
    pub const NOT_YET: u32 = 0;
    /// It answers.
    pub const YES: u32 = 1;
    /// It has freed everything, and left.
    pub const LEFT: u32 = 2;
    /// It could not get a table of descriptors of its own (Linux before 5.9).
    pub const NO_DESCRIPTORS: u32 = 3;
    /// Nobody handed a socket over.
    pub const NO_SOCKET: u32 = 4;
    /// There was no memory for what it keeps.
    pub const NO_MEMORY: u32 = 5;
}

/// Why snapshots of the target are not honest at some point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Obstacle {
    /// Another thread would be missing in a clone.
    Threads = 1,
    /// A child of the target is no child of its clone.
    Children = 2,
    /// A pipe, socket or other descriptor that a clone would share.
    Descriptor = 3,
    /// A file open for writing.
    Writable = 4,
    /// A device.
    Device = 5,
    /// The descriptors can't be listed, or are too many.
    Unlisted = 6,
    /// The kernel refused to clone.
    CloneRefused = 7,
    /// A forked child of the target: its clones would be children of the target.
    Forked = 8,
    /// The controller saw a system call whose effect a clone would share; it says which.
    Noticed = 9,
}

impl Obstacle {
    /// Every obstacle.
    pub const ALL: [Obstacle; 9] = [
        Obstacle::Threads,
        Obstacle::Children,
        Obstacle::Descriptor,
        Obstacle::Writable,
        Obstacle::Device,
        Obstacle::Unlisted,
        Obstacle::CloneRefused,
        Obstacle::Forked,
        Obstacle::Noticed,
    ];

    /// The reason as the report gives it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Obstacle::Threads => "another thread was running",
            Obstacle::Children => "it had child processes",
            Obstacle::Descriptor => "it held a pipe, socket or event descriptor",
            Obstacle::Writable => "it held a file open for writing",
            Obstacle::Device => "it held a device open",
            Obstacle::Unlisted => "its descriptors could not be listed",
            Obstacle::CloneRefused => "the kernel refused to clone it",
            Obstacle::Forked => "the allocation was made in a process that it forked or followed",
            Obstacle::Noticed => "it had made a system call whose effect clones share",
        }
    }

    /// The obstacle written as `code`.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Obstacle> {
        Self::ALL.into_iter().find(|&obstacle| obstacle as u32 == code)
    }
}

/// The head of the file.
#[repr(C)]
pub struct Control {
    /// [`MAGIC`]
    pub magic: u64,
    /// [`VERSION`]
    pub version: u32,
    /// One of [`mode`].
    pub mode: u32,
    /// The fault.
    pub fault: FaultCode,
    /// Site of the allocation to fail, in [`mode::ANCHORED`].
    pub target_site: u64,
    /// Which allocation at that site, from 1.
    pub target_nth: u64,
    /// Entries of the plan that are in use, less one; 0 when there is no plan.
    pub plan_mask: u64,
    /// Most bytes that an injection may write to one file.
    pub write_limit: u64,
    /// Most bytes of private memory that an injection may have.
    pub data_limit: u64,
    /// Device and inode of the file that is the target's stdout, then of its stderr.
    pub outputs: [[u64; 2]; 2],
    /// Most snapshots at once; at most [`SLOTS`].
    pub jobs: u32,
    /// Bytes used of `follow`; 0: only the first program image that loads the agent is on trial.
    pub follow_len: u32,
    /// Process id of the target.
    pub root_pid: AtomicU32,
    /// Set by the first program image that loads the agent.
    pub claimed: AtomicU32,

    /// Program images that loaded the agent and are on trial.
    pub images: AtomicU32,
    /// Set when the agent found no way to unwind (a C library before glibc 2.35).
    pub no_unwinder: AtomicU32,
    /// Allocations made so far: the last ordinal.
    pub allocations: AtomicU64,
    /// Bytes asked for so far.
    pub bytes: AtomicU64,
    /// Bytes live in the heap, for `limit=`.
    pub live: AtomicU64,
    /// Allocations failed.
    pub failed: AtomicU64,
    /// Site of the first failed allocation; 0 until then.
    pub first_failed_site: AtomicU64,
    /// Which allocation at that site.
    pub first_failed_nth: AtomicU64,

    /// Modules, frames and sites in use.
    pub modules_used: AtomicU64,
    /// Words of the frame pool in use.
    pub frames_used: AtomicU64,
    /// Sites in use: so many entries of the site list, each one more than the index, and 0 until it is written.
    pub sites_used: AtomicU64,
    /// Allocations that found no room in the tables.
    pub lost: AtomicU64,
    /// Stacks cut because a frame had no unwinding rule.
    pub cut: AtomicU64,

    /// Set by the controller when a system call of the target ends honest snapshots.
    pub noticed: AtomicU32,
    /// The first [`Obstacle`] met.
    pub obstacle: AtomicU32,
    /// Ordinal at which it was met.
    pub obstacle_at: AtomicU64,
    /// Futex: goes up each time the controller frees a slot.
    pub freed: AtomicU32,
    /// The round under way, for [`mode::FOLLOW`]: blocks are followed while it is not 0.
    pub round: AtomicU32,

    /// Mean bytes between two blocks that are followed; 0: each is.
    pub sample: u64,
    /// Where the agent keeps the live blocks (see [`crate::live`]), in the target's own memory; 0 until it does.
    pub live_table: AtomicU64,
    /// The pages of the agent's zeroed data: first address, and first address behind.
    pub agent_data: [AtomicU64; 2],
    /// Addresses of [`REAL_FUNCTIONS`] in a running process that the agent is loaded into; 0 for one it does not have.
    pub real: [AtomicU64; REAL_FUNCTIONS.len()],
    /// Blocks freed that were not followed, and their bytes.
    pub freed_unknown: AtomicU64,
    /// Bytes of them, as the allocator states them.
    pub freed_unknown_bytes: AtomicU64,

    /// Most bytes that a load may hold, with its bookkeeping, for [`mode::CONTROL`].
    pub max_total: u64,
    /// One of [`serving`].
    pub serving: AtomicU32,
    /// Threads of the agent's that have not ended.
    pub agent_threads: AtomicU32,

    /// Globs of `--follow`, each followed by NUL.
    pub follow: [u8; 1024],
    /// Folder of the slots' output files, NUL-terminated.
    pub slot_folder: [u8; 256],
    /// Events, for [`mode::TRACE`].
    pub tracing: Tracing,
}

/// One entry of the site table: an open-addressed hash table probed linearly.
#[repr(C)]
pub struct Site {
    /// Hash of the stack; 0 when free.
    pub hash: AtomicU64,
    /// Allocations made here.
    pub count: AtomicU64,
    /// Bytes asked for here.
    pub bytes: AtomicU64,
    /// Ordinal of the first.
    pub first: AtomicU64,
    /// First frame in the pool.
    pub frames: AtomicU64,
    /// Frames of the stack; 0 until they are written.
    pub depth: AtomicU64,
}

/// A module that frames refer to.
#[repr(C)]
pub struct Module {
    /// Identity hash; 0 when free, written last.
    pub identity: AtomicU64,
    /// Bytes used of `build_id`.
    pub build_id_len: AtomicU32,
    /// Bytes used of `path`.
    pub path_len: AtomicU32,
    /// The build id.
    pub build_id: [u8; 32],
    /// The path it was loaded from.
    pub path: [u8; 464],
}

/// States of [`Slot::state`].
pub mod slot {
    /// No snapshot here.
    pub const FREE: u32 = 0;
    /// Taken by the target; the snapshot is being made, or runs.
    pub const TAKEN: u32 = 1;
    /// The snapshot could not be made private, and ended at once.
    pub const NOT_PRIVATE: u32 = 2;
}

/// One running snapshot.
#[repr(C)]
pub struct Slot {
    /// One of [`slot`].
    pub state: AtomicU32,
    /// Its process id; 0 until known.
    pub pid: AtomicU32,
    /// Site of the failed allocation.
    pub site: AtomicU64,
    /// Which allocation at that site.
    pub nth: AtomicU64,
    /// Its ordinal.
    pub ordinal: AtomicU64,
    /// Bytes that the target had written to stdout and stderr before.
    pub written: [AtomicU64; 2],
    /// When it was made: nanoseconds of CLOCK_MONOTONIC.
    pub started: AtomicU64,
    /// Explicit padding.
    pub reserved: AtomicU64,
}

/// A frame as the pool keeps it: the module's index above [`OFFSET_BITS`] bits of offset.
pub const OFFSET_BITS: u32 = 48;

/// Index that stands for "in no module".
pub const NO_MODULE: u64 = 0xffff;

/// Packs a frame.
#[inline]
#[must_use]
pub const fn pack_frame(module: u64, offset: u64) -> u64 {
    (module << OFFSET_BITS) | (offset & ((1 << OFFSET_BITS) - 1))
}

/// Unpacks a frame into module index and offset.
#[must_use]
pub const fn unpack_frame(frame: u64) -> (u64, u64) {
    (frame >> OFFSET_BITS, frame & ((1 << OFFSET_BITS) - 1))
}

/// Where each part begins, in bytes from the start of the file.
pub mod offset {
    use super::{FRAMES, MODULES, Module, PLAN, SEQUENCE, SITES, SLOTS, Site, Slot};
    use core::mem::size_of;

    /// The slots, behind the head.
    pub const SLOTS_AT: usize = 8192;
    /// The module table.
    pub const MODULES_AT: usize = SLOTS_AT + SLOTS * size_of::<Slot>();
    /// The site table.
    pub const SITES_AT: usize = MODULES_AT + MODULES * size_of::<Module>();
    /// The frame pool.
    pub const FRAMES_AT: usize = SITES_AT + SITES * size_of::<Site>();
    /// The indices of the sites in use, in the order they came.
    pub const SITE_LIST_AT: usize = FRAMES_AT + FRAMES * 8;
    /// The plan.
    pub const PLAN_AT: usize = SITE_LIST_AT + SITES * 4;
    /// The sequence.
    pub const SEQUENCE_AT: usize = PLAN_AT + PLAN * 8;
    /// Length of the file.
    pub const END: usize = SEQUENCE_AT + SEQUENCE * 4;
}

const _: () = assert!(core::mem::size_of::<Control>() <= offset::SLOTS_AT);
const _: () = assert!(offset::MODULES_AT.is_multiple_of(64) && offset::SITES_AT.is_multiple_of(64));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_packing() {
        assert_eq!(unpack_frame(pack_frame(17, 0x1234_5678)), (17, 0x1234_5678));
        assert_eq!(unpack_frame(pack_frame(NO_MODULE, 0x7fff_ffff_f000)), (NO_MODULE, 0x7fff_ffff_f000));
    }

    #[test]
    fn every_obstacle_has_a_code_of_its_own() {
        for obstacle in Obstacle::ALL {
            assert_eq!(Obstacle::from_code(obstacle as u32), Some(obstacle));
        }
        assert_eq!(Obstacle::from_code(0), None);
    }
}

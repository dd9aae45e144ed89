//! Calls on this process as a whole, and the time.

use super::{Errno, marked, number};

/// The process id, not cached.
pub fn getpid() -> u32 {
    // SAFETY: no arguments.
    unsafe { marked!(number::GETPID) }.map_or(0, |pid| pid as u32)
}

/// Whether the calling process has any child, ended or not.
pub fn has_children() -> bool {
    const ECHILD: Errno = 10;
    // P_ALL; WNOHANG | WEXITED | WNOWAIT | __WALL: look, and leave everything as it is.
    const LOOK: u64 = 1 | 4 | 0x0100_0000 | 0x4000_0000;
    // SAFETY: no memory is written: both pointers are null.
    let seen = unsafe { marked!(number::WAITID, 0, 0, 0, LOOK, 0) };
    seen != Err(ECHILD)
}

/// Clones the process: the clone is a child of the caller's parent. Returns 0 in the clone.
///
/// Unlike libc's `fork` this runs no handlers and leaves the thread id that libc has cached as it was, which
/// the owner checks of locks that are held across the call depend on.
pub fn clone_process() -> Result<u64, Errno> {
    const CLONE_PARENT: u64 = 0x8000;
    // SAFETY: without CLONE_VM the clone has memory of its own, and goes on with a copy of this stack.
    unsafe { marked!(number::CLONE, CLONE_PARENT, 0, 0, 0, 0) }
}

/// Asks the kernel to kill this process when its parent ends.
pub fn die_with_parent() {
    const PR_SET_PDEATHSIG: u64 = 1;
    const SIGKILL: u64 = 9;
    // SAFETY: no pointers.
    let _ = unsafe { marked!(number::PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) };
}

/// Makes a fault end this process, whatever handler the target has: a snapshot must show what happened.
pub fn die_of_faults() {
    const SIGILL: u64 = 4;
    const SIGBUS: u64 = 7;
    const SIGFPE: u64 = 8;
    const SIGSEGV: u64 = 11;
    // `struct sigaction` of the kernel: SIG_DFL, no flags, no restorer, an empty mask.
    let default = [0u64; 4];
    for signal in [SIGILL, SIGBUS, SIGFPE, SIGSEGV] {
        // SAFETY: `default` has the kernel's layout; done only in a snapshot.
        let _ = unsafe { marked!(number::RT_SIGACTION, signal, default.as_ptr() as u64, 0, 8) };
    }
}

/// Makes the process the leader of a process group of its own.
pub fn lead_group() {
    // SAFETY: no pointers.
    let _ = unsafe { marked!(number::SETPGID, 0, 0) };
}

/// Lowers a resource limit of this process, never raises it.
pub fn lower_limit(resource: u64, to: u64) {
    let mut limit = [0u64; 2];
    // SAFETY: `limit` has the layout of `struct rlimit64`.
    unsafe {
        if marked!(number::PRLIMIT64, 0, resource, 0, &raw mut limit as u64).is_ok() && limit[0] > to {
            limit[0] = to;
            let _ = marked!(number::PRLIMIT64, 0, resource, &raw const limit as u64, 0);
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: `time` has the layout of `struct timespec`.
    let _ = unsafe { marked!(number::CLOCK_GETTIME, 1, &raw mut time as u64) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// Ends the process.
pub fn exit_group(status: u64) -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { marked!(number::EXIT_GROUP, status) };
    }
}

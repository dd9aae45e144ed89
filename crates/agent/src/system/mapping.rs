//! Calls on the memory of this process.

use super::process::getpid;
use super::{Errno, call, check, marked, number};

/// Maps `length` bytes of `fd`, shared, readable and writable.
pub fn map_shared(fd: u64, length: usize) -> Result<*mut u8, Errno> {
    const READ_WRITE: u64 = 3;
    const SHARED: u64 = 1;
    // SAFETY: a new mapping at an address that the kernel chooses disturbs no other.
    let address = check(unsafe { call(number::MMAP, [0, length as u64, READ_WRITE, SHARED, fd, 0]) })?;
    Ok(address as *mut u8)
}

/// Moves the mapping of `length` bytes at `from` to `to`, in place of the one of that length that is there. At no moment is
/// there none.
pub fn move_mapping(from: *mut u8, length: usize, to: *mut u8) -> Result<(), Errno> {
    const MAYMOVE_FIXED: u64 = 1 | 2;
    let length = length as u64;
    // SAFETY: both mappings are the agent's own, and the caller lets go of the one that is replaced.
    unsafe { marked!(number::MREMAP, from as u64, length, length, MAYMOVE_FIXED, to as u64) }.map(drop)
}

/// Maps `length` bytes of private memory, which take room only where they are written to.
pub fn map_private(length: usize) -> Result<*mut u8, Errno> {
    const READ_WRITE: u64 = 3;
    const PRIVATE_ANONYMOUS_NORESERVE: u64 = 0x2 | 0x20 | 0x4000;
    let arguments = [0, length as u64, READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, u64::MAX, 0];
    // SAFETY: a new mapping at an address that the kernel chooses disturbs no other.
    let address = check(unsafe { call(number::MMAP, arguments) })?;
    Ok(address as *mut u8)
}

/// Unmaps what [`map_private`] returned.
pub fn unmap(address: u64, length: usize) {
    // SAFETY: the caller maps and unmaps memory of the agent's own, which nobody else knows of.
    let _ = unsafe { marked!(number::MUNMAP, address, length as u64) };
}

/// Gives the memory of a private mapping of the agent's back; it reads as zeros afterwards.
pub fn empty(address: u64, length: usize) {
    const MADV_DONTNEED: u64 = 4;
    // SAFETY: the agent's own private mapping; all its words are atomic, and zero is one of their values.
    let _ = unsafe { marked!(number::MADVISE, address, length as u64, MADV_DONTNEED) };
}

/// Makes the start of a private mapping of the agent's read as zeros in children that are forked.
pub fn wipe_on_fork(address: *mut u8, length: usize) {
    const MADV_WIPEONFORK: u64 = 18;
    // SAFETY: as for `empty`.
    let _ = unsafe { marked!(number::MADVISE, address as u64, length as u64, MADV_WIPEONFORK) };
}

/// Keeps the pages from `start` to `end`, which are the agent's own, from becoming one mapping with what lies behind
/// them: they are left out of core dumps.
pub fn keep_apart(start: u64, end: u64) {
    const MADV_DONTDUMP: u64 = 16;
    // SAFETY: changes nothing in memory.
    let _ = unsafe { marked!(number::MADVISE, start, end.saturating_sub(start), MADV_DONTDUMP) };
}

/// The word at `address` of this process, if it can be read.
pub fn read_own(address: u64) -> Option<u64> {
    let mut word = 0u64;
    let (here, there) = ([&raw mut word as u64, 8], [address, 8]);
    let arguments = [u64::from(getpid()), &raw const here as u64, 1, &raw const there as u64, 1, 0];
    // SAFETY: the kernel writes 8 bytes to `word`, or fails.
    let read = check(unsafe { call(number::PROCESS_VM_READV, arguments) });
    // SAFETY: the kernel may have written to it.
    (read == Ok(8)).then(|| unsafe { (&raw const word).read_volatile() })
}

/// Whether the word at `address` can be read: the kernel is asked to take a signal set from there, with a
/// request that it refuses only afterwards.
pub fn is_readable(address: u64) -> bool {
    const NO_SUCH_REQUEST: u64 = 0xffff;
    const EFAULT: i64 = 14;
    // SAFETY: the kernel reads 8 bytes or fails; the request is invalid, so the mask stays.
    let asked = unsafe { marked!(number::RT_SIGPROCMASK, NO_SUCH_REQUEST, address, 0, 8) };
    asked != Err(EFAULT)
}

//! Calls on this thread: waiting, signals, its name.

use core::sync::atomic::AtomicU32;

use super::file::is_path;
use super::{Errno, call, marked, number};

/// Sleeps until `word` is no longer `value`, or for no reason.
pub fn futex_wait(word: &AtomicU32, value: u32) {
    const FUTEX_WAIT: u64 = 0;
    // SAFETY: the word outlives the call; the kernel only reads it.
    let _ = unsafe { marked!(number::FUTEX, word.as_ptr() as u64, FUTEX_WAIT, u64::from(value), 0) };
}

/// The same, at most until the clock of [`super::monotonic`] reaches `until`.
pub fn futex_wait_until(word: &AtomicU32, value: u32, until: u64) {
    const FUTEX_WAIT_BITSET: u64 = 9;
    const ANY: u64 = u32::MAX as u64;
    let time = [until / 1_000_000_000, until % 1_000_000_000];
    let time = if until == u64::MAX { 0 } else { &raw const time as u64 };
    let arguments = [word.as_ptr() as u64, FUTEX_WAIT_BITSET, u64::from(value), time, 0, ANY];
    // SAFETY: word and time outlive the call; the kernel only reads them.
    let _ = unsafe { call(number::FUTEX, arguments) };
}

/// Wakes all that sleep on `word`.
pub fn futex_wake(word: &AtomicU32) {
    const FUTEX_WAKE: u64 = 1;
    // SAFETY: the kernel takes the address as a name.
    let _ = unsafe { marked!(number::FUTEX, word.as_ptr() as u64, FUTEX_WAKE, i32::MAX as u64) };
}

/// Blocks all signals in this thread, but those by which the C library reaches its own threads (32, and 33, which must
/// get through when the target changes its user). Returns what was blocked before.
pub fn block_signals() -> u64 {
    const SIG_SETMASK: u64 = 2;
    const LIBRARY: u64 = 1 << 31 | 1 << 32;
    let (all, mut before) = (!LIBRARY, 0u64);
    let (new, old) = (&raw const all as u64, &raw mut before as u64);
    // SAFETY: both sets have the kernel's 8 bytes.
    let _ = unsafe { marked!(number::RT_SIGPROCMASK, SIG_SETMASK, new, old, 8) };
    before
}

/// Sets which signals are blocked in this thread.
pub fn set_signals(blocked: u64) {
    const SIG_SETMASK: u64 = 2;
    // SAFETY: the set has the kernel's 8 bytes.
    let _ = unsafe { marked!(number::RT_SIGPROCMASK, SIG_SETMASK, &raw const blocked as u64, 0, 8) };
}

/// Names this thread; the name has at most 15 bytes and ends in NUL.
pub fn name_thread(name: &[u8]) {
    const PR_SET_NAME: u64 = 15;
    debug_assert!(is_path(name));
    // SAFETY: NUL-terminated.
    let _ = unsafe { marked!(number::PRCTL, PR_SET_NAME, name.as_ptr() as u64, 0, 0, 0) };
}

/// Makes the sleep of this thread end as exactly as it can: by default the kernel adds 50 us.
pub fn sleep_exactly() {
    const PR_SET_TIMERSLACK: u64 = 29;
    // SAFETY: no pointers.
    let _ = unsafe { marked!(number::PRCTL, PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

/// Gives this thread a table of descriptors of its own, an empty one: what it opens, the process does not see, and what
/// the process closes, it does not hold open. Linux 5.9.
pub fn own_descriptors() -> Result<(), Errno> {
    const UNSHARE: u64 = 2;
    // SAFETY: closes nothing but this thread's names of what is open.
    unsafe { marked!(number::CLOSE_RANGE, 0, u64::from(u32::MAX), UNSHARE) }.map(|_| ())
}

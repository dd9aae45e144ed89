//! The keeper: a parent process of memtrial that does nothing but clean up after it, should it be killed.
//!
//! memtrial forks at its start. The child does all the work; the parent waits. Both adopt orphans, so whatever
//! a target starts stays below them. If the worker dies, the keeper kills what is left and removes the scratch
//! folder; if the keeper dies, the worker gets SIGTERM and ends as if interrupted. Should both be killed at
//! once, the kernel kills what the worker started itself: it is told so for each process.

use std::io;
use std::path::{Path, PathBuf};

use crate::{processes, scratch};

/// What becomes of the processes that the worker has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// They stay below worker and keeper, and are ended with them.
    Ended,
    /// They stay below the two. Should the worker be killed, they are ended; else what it leaves running goes on.
    EndedIfKilled,
    /// They are their own masters: what the worker leaves running goes on.
    LeftAlone,
}

/// Splits this process into keeper and worker. Only the worker returns, with the path that its scratch folder
/// is to have. Must be called while there is one thread. Should the worker be killed, `clean_up` is run on the
/// scratch folder before that is removed.
///
/// # Errors
/// When there is no place for scratch folders, or no process can be made.
pub fn enter(started: Started, clean_up: fn(&Path)) -> io::Result<PathBuf> {
    let adopt = started != Started::LeftAlone;
    let scratch = scratch::path_of(&scratch::place()?, std::process::id());
    if adopt {
        processes::adopt_orphans();
    }
    let signals = signal_set(&[libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]);
    let mut before = signal_set(&[]);
    // SAFETY: both sets are initialised.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, &raw mut before) };
    let keeper = std::process::id();
    // SAFETY: there is one thread, so the child is a full process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: no pointers but to initialised sets.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0);
                libc::prctl(libc::PR_SET_NAME, c"trial-worker".as_ptr(), 0, 0, 0);
                libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
            }
            // Killed before the kernel was told of it, the keeper cleans up after nobody.
            if std::os::unix::process::parent_id() != keeper {
                std::process::exit(128 + libc::SIGTERM);
            }
            if adopt {
                processes::adopt_orphans();
            }
            Ok(scratch)
        }
        worker => keep(worker, &signals, &scratch, started, clean_up),
    }
}

/// Waits for the worker, passes signals on, cleans up, and ends as the worker did.
fn keep(worker: i32, signals: &libc::sigset_t, scratch: &Path, started: Started, clean_up: fn(&Path)) -> ! {
    let status = loop {
        // SAFETY: plain data that the call fills in.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: set and info are initialised.
        let signal = unsafe { libc::sigwaitinfo(signals, &raw mut info) };
        if signal == libc::SIGCHLD {
            if let Some(status) = reap(worker) {
                break status;
            }
        } else if signal > 0 && info.si_code <= 0 {
            // Sent to the keeper alone; one from the terminal has reached the worker as well.
            // SAFETY: no pointers; the worker is not reaped yet.
            unsafe { libc::kill(worker, signal) };
        }
    };
    if libc::WIFSIGNALED(status) {
        clean_up(scratch);
    }
    if started != Started::EndedIfKilled || libc::WIFSIGNALED(status) {
        processes::end_all();
    }
    scratch::remove(scratch);
    std::process::exit(if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    })
}

/// Reaps whatever has ended; the worker's status once it has.
fn reap(worker: i32) -> Option<i32> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` lives.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
        if pid <= 0 {
            return ended;
        }
        if pid == worker && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)) {
            ended = Some(status);
        }
    }
}

/// A set of these signals.
pub(crate) fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: plain data; `sigemptyset` makes it a set.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

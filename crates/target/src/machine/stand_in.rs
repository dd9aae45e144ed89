//! A process that does nothing, for things to be tried on: as much a stranger to this one as any that a user names.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An idle process of this user's, no child of this one; it ends when this is dropped, or this process ends.
#[derive(Debug)]
pub(super) struct StandIn {
    pid: i32,
    /// It waits for the end of this.
    _leash: OwnedFd,
}

impl StandIn {
    /// Starts it. The process is a copy of this one: what other threads hold locked at this moment stays so there, which
    /// matters if code is run in it.
    pub fn start() -> io::Result<StandIn> {
        let (waits, leash) = pipe()?;
        let (told, tells) = pipe()?;
        // SAFETY: the child makes system calls only, and never returns.
        let child = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => be(&waits, &leash, &tells),
            child => child,
        };
        let mut status = 0;
        // SAFETY: it is our child, and `status` lives.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        drop(tells);
        let mut pid = [0; 4];
        // SAFETY: at most 4 bytes are written, to an array of that size.
        let read = unsafe { libc::read(told.as_raw_fd(), pid.as_mut_ptr().cast(), pid.len()) };
        match read {
            4 => Ok(StandIn { pid: i32::from_ne_bytes(pid), _leash: leash }),
            _ => Err(io::Error::other("no process could be made")),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

/// In the child: makes the process, which is nobody's child when this one has ended.
fn be(waits: &OwnedFd, leash: &OwnedFd, tells: &OwnedFd) -> ! {
    // SAFETY: system calls on descriptors that are open and on bytes that live; nothing of the parent's is run at the end.
    unsafe {
        if libc::fork() == 0 {
            libc::prctl(libc::PR_SET_NAME, c"stand-in".as_ptr(), 0, 0, 0);
            let pid = libc::getpid().to_ne_bytes();
            libc::close(leash.as_raw_fd());
            libc::write(tells.as_raw_fd(), pid.as_ptr().cast(), pid.len());
            libc::close(tells.as_raw_fd());
            // A terminal's signals are for the other one, whose end is the end of this.
            libc::setsid();
            // What this process has open is no concern of its copy, which could keep others waiting for an end.
            for stream in 0..3 {
                libc::dup2(waits.as_raw_fd(), stream);
            }
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
            let mut byte = 0u8;
            while libc::read(0, (&raw mut byte).cast(), 1) > 0 {}
        }
        libc::_exit(0)
    }
}

/// A pipe: where it is read, and where it is written.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    // SAFETY: `pair` has room for both.
    if unsafe { libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just opened, and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes;

    #[test]
    fn it_is_no_child_and_ends_when_let_go() {
        let stand_in = StandIn::start().unwrap();
        let pid = stand_in.pid();
        assert!(processes::parent_of(pid).is_some_and(|parent| parent.cast_unsigned() != std::process::id()));
        drop(stand_in);
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z")
        };
        let begun = std::time::Instant::now();
        while !ended() {
            assert!(begun.elapsed().as_secs() < 300, "process {pid} has not ended");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

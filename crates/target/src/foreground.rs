//! A program that the user works with in the foreground, as a debugger: it ends when asked to, and all below it.

use std::io;
use std::process::{Command, ExitStatus};

use crate::{keeper, processes};

/// Runs `command` to its end. `None`: this process was asked to end (SIGTERM, SIGHUP), and so the command was.
/// Ctrl-C is the command's own affair.
///
/// # Errors
/// When it can't be started.
pub fn run(command: &mut Command) -> io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let signals = keeper::signal_set(&[libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP]);
    // SAFETY: the set is initialised. Blocked after the start, so that the command inherits nothing of it.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        // SAFETY: the set is initialised; no details are asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const signals, std::ptr::null_mut()) };
        if signal == libc::SIGTERM || signal == libc::SIGHUP {
            processes::end_all();
            return Ok(None);
        }
    }
}

//! A program that is a round by itself: run to its end, and looked at just before, with all its memory still there.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::here;
use super::place::{ActionEnd, ObserveError};
use crate::interrupt::{Interrupt, poll};
use crate::launch::{self, Launch, Program, Started};
use crate::watch::{listen, resume};
use crate::{keeper, processes};

/// Between two looks at the program when nothing tells of it: a safeguard only.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a program to its end, in a session of its own and without randomised addresses, with stdin, stdout and stderr
/// as given, and with `extra_environment` in place of variables of the same names. When its last thread is about to
/// exit, `at_exit` is called while it stands still, with the id under which /proc shows all that it holds: the
/// process's, or that thread's where the main thread was not the last one. That does not happen if SIGKILL ends it.
/// Processes that it forks are not looked at; what is left of them in its process group is ended with it. At the
/// limit, or when `interrupt` asks to stop, all of them are killed.
///
/// # Errors
/// When the kernel does not let it be traced. That it can't be started is an [`ActionEnd`].
pub fn run_to_exit(
    program: &Program,
    streams: [&File; 3],
    extra_environment: &[(OsString, OsString)],
    limit: Duration,
    interrupt: &Interrupt,
    at_exit: &mut dyn FnMut(i32),
) -> Result<ActionEnd, ObserveError> {
    let mut program = program.clone();
    program.environment.retain(|(name, _)| extra_environment.iter().all(|(extra, _)| extra != name));
    program.environment.extend_from_slice(extra_environment);
    let [stdin, stdout, stderr] = streams;
    let launch = Launch {
        program: &program,
        stdin,
        stdout,
        stderr,
        agent: None,
        isolation: None,
        filtered: false,
        traced: false,
    };
    let started = match launch::start(&launch) {
        Ok(started) => started,
        Err(error) => return Ok(ActionEnd::NotStarted(error.to_string())),
    };
    let children = ChildSignals::new().map_err(|error| failure(&started, error))?;
    seize(started.pid).map_err(|error| failure(&started, error))?;
    if let Err(error) = started.go() {
        reap(started.pid);
        return Ok(ActionEnd::NotStarted(error.to_string()));
    }
    let mut run = Run { pid: started.pid, exited: HashSet::new(), seen: false, at_exit };
    let deadline = Instant::now() + limit;
    loop {
        if let Some(end) = run.take_events() {
            return Ok(end);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = interrupt.asked();
        if asked || left.is_zero() {
            run.kill();
            return Ok(if asked { ActionEnd::Interrupted } else { ActionEnd::TimedOut });
        }
        children.wait(left.min(LOOK), interrupt);
    }
}

/// Ends a process that can't be run as it should.
fn failure(started: &Started, error: io::Error) -> ObserveError {
    processes::kill(started.pid);
    reap(started.pid);
    ObserveError::Io { what: format!("cannot trace process {}", started.pid), error }
}

fn reap(pid: i32) {
    // SAFETY: no status is asked for; the child is ours, and has ended or is about to.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
}

/// Traces a process from now on with all its threads, but not what it forks; it dies with this one.
fn seize(pid: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_EXITKILL
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEEXIT;
    // SAFETY: no pointers.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, libc::c_long::from(options)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a thread is ended by another one's `exit_group`: it has a SIGKILL coming, or is past the point at which it
/// would have stopped (`PF_EXITING`, proc(5)), and does not stop at its exit.
fn is_swept_away(pid: i32, tid: i32) -> bool {
    const SIGKILL_BIT: u64 = 1 << (libc::SIGKILL - 1);
    const PF_EXITING: u64 = 4;
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}")).unwrap_or_default();
    let (status, stat) = (read("status"), read("stat"));
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The seventh field behind the name, which ends with the last parenthesis.
    let flags =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    pending.is_some_and(|mask| mask & SIGKILL_BIT != 0) || flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

struct Run<'a> {
    pid: i32,
    /// Threads that have stopped at their exit.
    exited: HashSet<i32>,
    /// Whether the exit of this program was seen.
    seen: bool,
    at_exit: &'a mut dyn FnMut(i32),
}

impl Run<'_> {
    /// Takes in all that the program's threads have to tell; how it ended, once it has.
    fn take_events(&mut self) -> Option<ActionEnd> {
        loop {
            let mut status = 0;
            // Only the process group that it leads, and can't leave, as it leads a session too: other children of
            // this process are none of its business.
            // SAFETY: `status` lives.
            let tid = unsafe { libc::waitpid(-self.pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
            if tid < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) {
                return Some(ActionEnd::Signal(libc::SIGKILL));
            }
            if tid <= 0 {
                return None;
            }
            if libc::WIFSTOPPED(status) {
                self.stopped(tid, status);
            } else if tid == self.pid {
                processes::kill_group(self.pid);
                return Some(if libc::WIFEXITED(status) {
                    ActionEnd::Exit(libc::WEXITSTATUS(status))
                } else {
                    ActionEnd::Signal(libc::WTERMSIG(status))
                });
            }
        }
    }

    fn stopped(&mut self, tid: i32, status: i32) {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_EXIT => {
                self.exited.insert(tid);
                if !self.seen && processes::process_of(tid) == Some(self.pid) && !self.others_live() {
                    self.seen = true;
                    (self.at_exit)(tid);
                }
                resume(tid, 0);
            }
            // The other threads are gone, and the one that runs the new program has the process's id now.
            libc::PTRACE_EVENT_EXEC => {
                self.exited.clear();
                self.seen = false;
                resume(tid, 0);
            }
            libc::PTRACE_EVENT_STOP => {
                // A new thread stops so before it does anything, and its number may be that of one that was there
                // before. Its maker's own stop may be told later, even after its exit.
                self.exited.remove(&tid);
                let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
                if processes::process_of(tid) != Some(self.pid) {
                    // A process made by `clone` in a way that only threads are usually made.
                    detach(tid);
                } else if stops.contains(&signal) {
                    listen(tid);
                } else {
                    resume(tid, 0);
                }
            }
            0 => resume(tid, signal),
            _ => resume(tid, 0),
        }
    }

    /// Whether there are threads that will yet stop at their exit.
    fn others_live(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        let mut tids = tasks.filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
        tids.any(|tid| {
            !self.exited.contains(&tid)
                && here::stat_of(tid).is_ok_and(|thread| !thread.has_ended())
                && !is_swept_away(self.pid, tid)
        })
    }

    /// Kills the whole group, and waits for the program's end.
    fn kill(&mut self) {
        processes::kill_group(self.pid);
        loop {
            let mut status = 0;
            // SAFETY: `status` lives. All of them are about to end, and those that stop at it are let go.
            let tid = unsafe { libc::waitpid(-self.pid, &raw mut status, libc::__WALL) };
            let failed = tid < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted;
            if failed || (tid == self.pid && !libc::WIFSTOPPED(status)) {
                return;
            }
            if tid > 0 && libc::WIFSTOPPED(status) {
                resume(tid, 0);
            }
        }
    }
}

fn detach(tid: i32) {
    // SAFETY: no pointers; one that has died meanwhile is an error that does not matter.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, 0, 0) };
}

/// Tells when something has happened to a child.
struct ChildSignals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl ChildSignals {
    fn new() -> io::Result<ChildSignals> {
        let set = keeper::signal_set(&[libc::SIGCHLD]);
        let mut before = keeper::signal_set(&[]);
        // SAFETY: both sets are initialised; the descriptor is new, and belongs to nobody else.
        unsafe {
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            Ok(ChildSignals { fd: OwnedFd::from_raw_fd(fd), before })
        }
    }

    fn wait(&self, time: Duration, interrupt: &Interrupt) {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        poll(&mut [entry(self.fd.as_raw_fd()), entry(interrupt.fd())], Some(time));
        let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
        // SAFETY: the buffer has the size of one record; what it says is asked of `waitpid` again.
        unsafe { libc::read(self.fd.as_raw_fd(), record.as_mut_ptr().cast(), record.len()) };
    }
}

impl Drop for ChildSignals {
    fn drop(&mut self) {
        // SAFETY: the set is initialised.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
#[path = "exit_sample_tests.rs"]
mod tests;

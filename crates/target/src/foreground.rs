//! A program that the user works with in the foreground, as a debugger: it ends when asked to, and all below it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::interrupt::poll;
use crate::processes::Reaped;
use crate::{keeper, processes};

/// How long a program has to end when it is asked to.
const PARTING: Duration = Duration::from_secs(5);
/// What is passed on to a program, and its end.
const SIGNALS: [i32; 5] = [libc::SIGCHLD, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];

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

/// A program in the foreground, with this process's own streams, while this process does something else. What the terminal
/// sends reaches it as if it ran alone; what is sent to this process is passed on to it.
#[derive(Debug)]
pub struct Foreground {
    /// Its process id.
    pub pid: i32,
    signals: OwnedFd,
    /// The process's parent: should it be killed, everything ends.
    parent: i32,
    ended: Option<Reaped>,
    killed_at: Option<Instant>,
}

impl Foreground {
    /// Starts a program. It ends with this process, however that ends. To be called while there is one thread.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &mut Command) -> io::Result<Foreground> {
        let set = keeper::signal_set(&SIGNALS);
        let mut before = keeper::signal_set(&[]);
        // SAFETY: both sets are initialised; the descriptor is new, and belongs to nobody else.
        let signals = unsafe {
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: in the forked child; both calls are safe there (signal-safety(7)), and the set is initialised.
        unsafe {
            command.pre_exec(move || {
                libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                Ok(())
            });
        }
        let child = command.spawn()?;
        let pid = child.id().cast_signed();
        let parent = parent();
        Ok(Foreground { pid, signals, parent, ended: None, killed_at: None })
    }

    /// How the program has ended, if it has. Passes signals on that came meanwhile, and reaps what else has ended.
    pub fn ended(&mut self) -> Option<Reaped> {
        while let Some(signal) = self.signal() {
            let number = signal.ssi_signo.cast_signed();
            if number == libc::SIGCHLD {
                continue;
            }
            if parent() != self.parent {
                self.end_all();
            } else if signal.ssi_code <= 0 {
                // One from the terminal has reached the program as well.
                self.send(number);
            }
        }
        self.reap();
        if self.killed_at.is_some_and(|at| Instant::now() > at) {
            self.end_all();
        }
        self.ended
    }

    /// Waits until the program has ended.
    pub fn wait(&mut self) -> Reaped {
        loop {
            if let Some(ended) = self.ended() {
                return ended;
            }
            let fd = self.signals.as_raw_fd();
            let mut descriptor = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let left = self.killed_at.map(|at| at.saturating_duration_since(Instant::now()));
            poll(std::slice::from_mut(&mut descriptor), left);
        }
    }

    /// Asks the program to end; if it does not, it is killed after 5 s, with all that it has started.
    pub fn ask_to_end(&mut self) {
        self.send(libc::SIGTERM);
    }

    fn send(&mut self, signal: i32) {
        if self.ended.is_some() {
            return;
        }
        if signal == libc::SIGTERM && self.killed_at.is_none() {
            self.killed_at = Some(Instant::now() + PARTING);
        }
        // SAFETY: no pointers; the program is not reaped yet.
        unsafe { libc::kill(self.pid, signal) };
    }

    fn end_all(&mut self) {
        processes::end_all();
        self.ended.get_or_insert(Reaped::Signal(libc::SIGKILL));
        self.killed_at = None;
    }

    fn signal(&self) -> Option<libc::signalfd_siginfo> {
        // SAFETY: plain data that the kernel fills in.
        let mut signal: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size of one record.
        let read = unsafe { libc::read(self.signals.as_raw_fd(), (&raw mut signal).cast(), size) };
        (usize::try_from(read) == Ok(size)).then_some(signal)
    }

    /// Reaps whatever has ended: also what the program has left behind, which this process was given.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: `status` lives.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if pid == self.pid {
                self.ended = Some(processes::reaped_with(status));
                self.killed_at = None;
            }
        }
    }
}

fn parent() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::getppid() }
}

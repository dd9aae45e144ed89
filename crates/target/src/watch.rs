//! One loop that watches all running targets: their ends, fault signals, reported system calls and time limits,
//! and the user's wish to stop.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::crash::{self, Crash};
use crate::filter::{Answer, Listener, Notice};
use crate::launch::{self, Launch, LaunchError};
use crate::{keeper, processes};

/// Most fault signals looked at in one run; a program whose handler returns meets the same one again and again.
const MOST_CRASHES: usize = 4;

/// Signals that come by the loop.
const WATCHED_SIGNALS: [i32; 4] = [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Names a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(u64);

/// What ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It ended by itself with this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was ended at its time limit.
    Timeout,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub run: RunId,
    /// How its first process ended.
    pub end: End,
    /// The fault signals that its processes met, the first one first.
    pub crashes: Vec<Crash>,
    /// From its start to its end.
    pub took: Duration,
}

/// What the loop has seen.
#[derive(Debug)]
pub enum Event {
    /// A run has ended.
    Ended(Ended),
    /// A child that no run was started as has ended: a snapshot, or an orphan.
    Reaped {
        /// Its process id.
        pid: i32,
        /// How it ended.
        end: End,
    },
    /// A reported system call waits for its answer.
    Noticed(RunId, Notice),
    /// The user wants to stop (SIGINT, SIGTERM, SIGHUP).
    Interrupted,
    /// The time given has passed.
    TimeUp,
}

#[derive(Debug)]
struct Run {
    id: RunId,
    started: Instant,
    deadline: Option<Instant>,
    timed_out: bool,
    /// Whether it makes snapshots, which go on when it has ended.
    makes_snapshots: bool,
    /// Threads and processes under trace.
    traced: HashSet<i32>,
    crashes: Vec<Crash>,
}

/// The loop's state.
#[derive(Debug)]
pub struct Watch {
    signals: OwnedFd,
    runs: HashMap<i32, Run>,
    listener: Option<(RunId, Listener)>,
    /// Traced children that stopped before their parent's event named them.
    early: HashSet<i32>,
    pending: VecDeque<Event>,
    next_id: u64,
}

impl Watch {
    /// Begins to watch: as long as this lives, the process hears of its children by this loop only.
    ///
    /// # Errors
    /// When the kernel has no descriptor for signals left.
    pub fn new() -> io::Result<Watch> {
        let set = keeper::signal_set(&WATCHED_SIGNALS);
        // SAFETY: the set is initialised; the descriptor is new, and belongs to nobody else.
        let signals = unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Watch {
            signals,
            runs: HashMap::new(),
            listener: None,
            early: HashSet::new(),
            pending: VecDeque::new(),
            next_id: 0,
        })
    }

    /// Starts a run, to be ended after `limit`.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(&mut self, launch: &Launch<'_>, limit: Option<Duration>) -> Result<RunId, LaunchError> {
        let started = launch::start(launch)?;
        let pid = started.pid;
        let id = RunId(self.next_id);
        self.next_id += 1;
        let mut traced = HashSet::new();
        if launch.traced && seize(pid) {
            traced.insert(pid);
        }
        if let Err(error) = started.go() {
            // SAFETY: the child is ours and ends by itself.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
            return Err(error);
        }
        let now = Instant::now();
        let deadline = limit.map(|limit| now + limit);
        let makes_snapshots = launch.filtered && !launch.traced;
        let run = Run {
            id,
            started: now,
            deadline,
            timed_out: false,
            makes_snapshots,
            traced,
            crashes: Vec::new(),
        };
        self.runs.insert(pid, run);
        if let Some(listener) = started.listener {
            self.listener = Some((id, Listener::new(listener)));
        }
        Ok(id)
    }

    /// The process id of a run that has not ended.
    #[must_use]
    pub fn pid_of(&self, id: RunId) -> Option<i32> {
        self.runs.iter().find(|(_, run)| run.id == id).map(|(pid, _)| *pid)
    }

    /// Waits for the next event, at most until `until`.
    ///
    /// # Errors
    /// Those of `poll`.
    pub fn next(&mut self, until: Option<Instant>) -> io::Result<Event> {
        loop {
            self.reap();
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.end_overdue();
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(Event::TimeUp);
            }
            let deadlines = self.runs.values().filter(|run| !run.timed_out).filter_map(|run| run.deadline);
            let wake = deadlines.chain(until).min();
            if let Some(event) = self.poll(wake.map(|wake| wake.saturating_duration_since(now)))? {
                return Ok(event);
            }
        }
    }

    /// Answers a reported call.
    pub fn answer(&self, notice: &Notice, answer: Answer) {
        if let Some((_, listener)) = &self.listener {
            listener.answer(notice, answer);
        }
    }

    /// Kills every process there is, and forgets all runs.
    pub fn end_all(&mut self) {
        self.listener = None;
        processes::end_all();
        self.runs.clear();
        self.early.clear();
        self.pending.clear();
    }

    fn poll(&mut self, wait: Option<Duration>) -> io::Result<Option<Event>> {
        let mut descriptors = [
            libc::pollfd { fd: self.signals.as_raw_fd(), events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 },
        ];
        if let Some((_, listener)) = &self.listener {
            descriptors[1].fd = listener.as_raw_fd();
        }
        // Rounded up, so that a deadline has passed when the wait is over.
        let milliseconds = wait.map_or(-1, |wait| i32::try_from(wait.as_millis() + 1).unwrap_or(i32::MAX));
        // SAFETY: the array lives through the call.
        if unsafe { libc::poll(descriptors.as_mut_ptr(), 2, milliseconds) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(None) } else { Err(error) };
        }
        if descriptors[0].revents != 0 && self.interrupted() {
            return Ok(Some(Event::Interrupted));
        }
        if descriptors[1].revents & libc::POLLIN != 0
            && let Some((run, listener)) = &self.listener
        {
            return Ok(listener.receive().map(|notice| Event::Noticed(*run, notice)));
        }
        if descriptors[1].revents & libc::POLLHUP != 0 {
            self.listener = None;
        }
        Ok(None)
    }

    /// Reads all signals that have come; whether one asks to stop.
    fn interrupted(&self) -> bool {
        let mut asked = false;
        loop {
            // SAFETY: plain data that the kernel fills in.
            let mut signal: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: the buffer has the size of one record.
            let read = unsafe { libc::read(self.signals.as_raw_fd(), (&raw mut signal).cast(), size) };
            if usize::try_from(read) != Ok(size) {
                return asked;
            }
            asked |= signal.ssi_signo != libc::SIGCHLD.cast_unsigned();
        }
    }

    fn end_overdue(&mut self) {
        let now = Instant::now();
        for (&pid, run) in &mut self.runs {
            if !run.timed_out && run.deadline.is_some_and(|deadline| deadline <= now) {
                run.timed_out = true;
                processes::kill(pid);
            }
        }
    }

    /// Takes in every change of state that children have to tell.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: `status` lives.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
            if pid <= 0 {
                return;
            }
            if libc::WIFSTOPPED(status) {
                self.stopped(pid, status);
            } else {
                self.ended(pid, status);
            }
        }
    }

    fn ended(&mut self, pid: i32, status: i32) {
        let mut end = if libc::WIFEXITED(status) {
            End::Exit(libc::WEXITSTATUS(status))
        } else {
            End::Signal(libc::WTERMSIG(status))
        };
        self.early.remove(&pid);
        if let End::Signal(signal) = end {
            let crashes = self.runs.values_mut().flat_map(|run| &mut run.crashes);
            for crash in crashes.filter(|crash| crash.process == pid && crash.signal == signal) {
                crash.fatal = true;
            }
        }
        match self.runs.remove(&pid) {
            Some(run) => {
                if run.timed_out {
                    end = End::Timeout;
                }
                // What it has started does not outlive it; its snapshots do, and may not have left its group yet.
                if !run.makes_snapshots {
                    processes::kill_group(pid);
                }
                for &tid in run.traced.iter().filter(|&&tid| tid != pid) {
                    processes::kill(tid);
                }
                let took = run.started.elapsed();
                self.pending.push_back(Event::Ended(Ended { run: run.id, end, crashes: run.crashes, took }));
            }
            None => {
                let traced = self.runs.values_mut().any(|run| run.traced.remove(&pid));
                if !traced {
                    self.pending.push_back(Event::Reaped { pid, end });
                }
            }
        }
    }

    /// A traced thread has stopped: looks at what for, and lets it go on.
    fn stopped(&mut self, tid: i32, status: i32) {
        let signal = libc::WSTOPSIG(status);
        let Some(run) = self.runs.values_mut().find(|run| run.traced.contains(&tid)) else {
            self.early.insert(tid);
            return;
        };
        match status >> 16 {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child = event_message(tid);
                run.traced.insert(child);
                if self.early.remove(&child) {
                    resume(child, 0);
                }
                resume(tid, 0);
            }
            libc::PTRACE_EVENT_STOP => {
                let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
                if stops.contains(&signal) { listen(tid) } else { resume(tid, 0) }
            }
            0 => {
                if crash::is_fault(signal) && run.crashes.len() < MOST_CRASHES {
                    run.crashes.push(crash::look_at(tid, signal));
                }
                resume(tid, signal);
            }
            _ => resume(tid, 0),
        }
    }
}

impl Drop for Watch {
    /// Lets signals through again: what is started next inherits it.
    fn drop(&mut self) {
        let set = keeper::signal_set(&WATCHED_SIGNALS);
        // SAFETY: the set is initialised.
        unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    }
}

/// Traces a process from now on, and all that it starts; all of them die with this one.
fn seize(pid: i32) -> bool {
    let options = libc::PTRACE_O_EXITKILL
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    // SAFETY: no pointers.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, libc::c_long::from(options)) == 0 }
}

pub(crate) fn resume(tid: i32, signal: i32) {
    // SAFETY: no pointers; a thread that has died meanwhile is an error that does not matter.
    unsafe { libc::ptrace(libc::PTRACE_CONT, tid, 0, libc::c_long::from(signal)) };
}

pub(crate) fn listen(tid: i32) {
    // SAFETY: as for `resume`.
    unsafe { libc::ptrace(libc::PTRACE_LISTEN, tid, 0, 0) };
}

fn event_message(tid: i32) -> i32 {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one word.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, 0, &raw mut message) };
    i32::try_from(message).unwrap_or(0)
}

//! Running a shell command to its end, to its limit, or to the user's interrupt, with nothing waited for that it leaves
//! behind.

use std::collections::HashMap;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::here;
use super::place::ActionEnd;
use super::procfs::{self, Stat};
use crate::interrupt::{Interrupt, poll};
use crate::keeper;

/// How much of what a command prints is kept.
pub(super) const KEPT: usize = 4096;

/// The environment variable by which everything is known that a command has started.
pub(super) const MARK: &str = "MEMTRIAL_ACTION";

/// For how long what is asked to end may take to do so.
const GRACE: Duration = Duration::from_secs(1);

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Looks before what can't be killed (a process in the middle of a broken disk's access) is left to itself.
const MOST_LOOKS: u32 = 250;

/// What came of a command.
#[derive(Debug)]
pub(super) struct Ran {
    pub end: ActionEnd,
    /// The end of what it printed.
    pub printed: String,
    /// Children of this process that it left behind.
    pub orphans: Vec<i32>,
}

impl Ran {
    fn not_started(error: &io::Error) -> Ran {
        Ran { end: ActionEnd::NotStarted(error.to_string()), printed: String::new(), orphans: Vec::new() }
    }
}

/// Runs a command.
pub(super) fn run(command: &str, limit: Duration, interrupt: &Interrupt) -> Ran {
    let mark = mark();
    let (mut child, mut output) = match start(command, &mark) {
        Ok(started) => started,
        Err(error) => return Ran::not_started(&error),
    };
    let deadline = Instant::now() + limit;
    let end = loop {
        match child.try_wait() {
            Ok(Some(status)) => break end_of(status),
            Ok(None) => {}
            Err(error) => break ActionEnd::NotStarted(error.to_string()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = interrupt.asked();
        if asked || left.is_zero() {
            Ending::of(&child, &mark).carry_out(&mut child, &mut output);
            break if asked { ActionEnd::Interrupted } else { ActionEnd::TimedOut };
        }
        output.wait(left, Some(interrupt.fd()));
    };
    output.drain();
    Ran { end, printed: output.tail.text(), orphans: orphans(child.id().cast_signed(), &mark) }
}

/// Children of this process that the command left behind: those of the shell's group, ended ones too, and those that
/// bear the mark. Others are of whoever else starts children here at the same time.
fn orphans(shell: i32, mark: &str) -> Vec<i32> {
    let is_orphan =
        |&pid: &i32| here::stat_of(pid).is_ok_and(|stat| stat.group == shell) || has_mark(pid, mark);
    crate::processes::children().into_iter().filter(is_orphan).collect()
}

/// A word that no other command has in its environment.
fn mark() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn start(command: &str, mark: &str) -> io::Result<(Child, Output)> {
    let (reader, writer) = io::pipe()?;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env(MARK, mark).process_group(0);
    shell.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // SAFETY: the closure only makes system calls, which are safe after a fork.
    unsafe { shell.pre_exec(unblock_signals) };
    let child = shell.spawn()?;
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let ended = pidfd(child.id());
    Ok((child, Output { reader: Some(reader), ended, tail: Tail::default() }))
}

/// In a child: lets all signals through, whatever its parent has blocked.
pub(super) fn unblock_signals() -> io::Result<()> {
    let none = keeper::signal_set(&[]);
    // SAFETY: the set is initialised.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    Ok(())
}

/// A descriptor that becomes readable when the process ends; `None` before Linux 5.3.
fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).ok().filter(|&fd| fd >= 0)?;
    // SAFETY: it was just opened, and belongs to nobody else.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn end_of(status: ExitStatus) -> ActionEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => ActionEnd::Exit(code),
        (None, signal) => ActionEnd::Signal(signal.unwrap_or(0)),
    }
}

/// The output of a command while it runs.
#[derive(Debug)]
struct Output {
    /// `None` once all who could write have closed it.
    reader: Option<PipeReader>,
    /// Becomes readable when the shell has ended.
    ended: Option<OwnedFd>,
    tail: Tail,
}

impl Output {
    /// Waits for output, for the shell's end or for `other`, and takes the output in.
    fn wait(&mut self, time: Duration, other: Option<RawFd>) {
        let entry =
            |fd: Option<RawFd>| libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
        let reader = self.reader.as_ref().map(AsRawFd::as_raw_fd);
        let ended = self.ended.as_ref().map(AsRawFd::as_raw_fd);
        let mut descriptors = [entry(reader), entry(ended), entry(other)];
        let time = if ended.is_none() { time.min(LOOK) } else { time };
        poll(&mut descriptors, Some(time));
        if descriptors[0].revents != 0 {
            self.drain();
        }
    }

    /// Takes in what is there, but not for ever: others may go on writing.
    fn drain(&mut self) {
        let mut buffer = [0; 16384];
        for _ in 0..64 {
            match self.reader.as_mut().map(|reader| reader.read(&mut buffer)) {
                Some(Ok(length)) if length > 0 => self.tail.push(&buffer[..length]),
                Some(Ok(_)) => self.reader = None,
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}

/// The end of a text.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        if self.0.len() > 4 * KEPT {
            self.0.drain(..self.0.len() - KEPT);
        }
    }

    /// The last [`KEPT`] bytes, from the first character that is whole.
    pub fn text(&self) -> String {
        let bytes = &self.0[self.0.len().saturating_sub(KEPT)..];
        let cut = self.0.len() > bytes.len();
        let is_inside = |byte: &&u8| cut && **byte & 0xc0 == 0x80;
        let inside = bytes.iter().take(3).take_while(is_inside).count();
        String::from_utf8_lossy(&bytes[inside..]).into_owned()
    }
}

/// Ending a command with everything below it, also what has left its process group, or has lost its parent.
struct Ending<'a> {
    shell: i32,
    mark: &'a str,
    /// When each of those found so far was started.
    found: HashMap<i32, u64>,
}

impl<'a> Ending<'a> {
    fn of(shell: &Child, mark: &'a str) -> Ending<'a> {
        Ending { shell: shell.id().cast_signed(), mark, found: HashMap::new() }
    }

    fn carry_out(mut self, shell: &mut Child, output: &mut Output) {
        self.send(libc::SIGTERM);
        let begin = Instant::now();
        let mut looks = 0;
        while looks < MOST_LOOKS {
            std::thread::sleep(LOOK);
            output.drain();
            if begin.elapsed() < GRACE {
                if self.living().is_empty() {
                    break;
                }
            } else if self.send(libc::SIGKILL) == 0 {
                break;
            }
            looks += 1;
        }
        // Not before: until now nobody else could get its pid.
        let _ = shell.try_wait();
    }

    /// Sends a signal to all that are alive; their number.
    fn send(&mut self, signal: i32) -> usize {
        let living = self.living();
        for &pid in &living {
            // SAFETY: no pointers; the process was there, with the right start time, just now.
            unsafe { libc::kill(pid, signal) };
        }
        living.len()
    }

    fn living(&mut self) -> Vec<i32> {
        let all = here::processes().unwrap_or_default();
        let known = |stat: &Stat| self.found.get(&stat.pid) == Some(&stat.started);
        let marked = |stat: &Stat| stat.group == self.shell || known(stat) || has_mark(stat.pid, self.mark);
        let roots: Vec<i32> = all.iter().filter(|stat| marked(stat)).map(|stat| stat.pid).collect();
        let family = roots.into_iter().chain([self.shell]).flat_map(|root| procfs::below(&all, root));
        let members: HashMap<i32, &Stat> = family.map(|stat| (stat.pid, stat)).collect();
        self.found.extend(members.values().map(|stat| (stat.pid, stat.started)));
        members.values().filter(|stat| !stat.has_ended()).map(|stat| stat.pid).collect()
    }
}

/// Whether a process was started by the command with this mark, as its environment says.
fn has_mark(pid: i32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;

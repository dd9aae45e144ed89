//! One ssh client, and what is said through it.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::action::{self, KEPT};
use super::place::ObserveError;
use crate::interrupt::{Interrupt, poll};
use crate::processes;

/// For how long a request may go unanswered that does not say how long it takes.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// The same once the user wants to stop.
const HURRY: Duration = Duration::from_secs(5);

/// For how long ssh may take to end once it has nothing more to do.
const PARTING: Duration = Duration::from_secs(1);

/// A running ssh client.
#[derive(Debug)]
pub(super) struct Connection {
    host: String,
    interrupt: Interrupt,
    child: Child,
    /// `None` once it is closed.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    /// From its stdout, not used yet.
    pub received: Received,
    /// The end of its stderr.
    pub said: Vec<u8>,
    /// Whether the other side has answered once: before, what fails is making the connection.
    pub is_up: bool,
}

/// What has been received and not used yet.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub bytes: Vec<u8>,
    /// Up to where there is no end of a message in it.
    pub searched: usize,
}

/// What has come of waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited<T> {
    /// What was waited for.
    For(T),
    /// The user wants to stop.
    Interrupted,
    /// The time has passed.
    TimedOut,
}

impl Connection {
    /// Starts the ssh client with the command `sh` on the other side.
    pub fn open(ssh: &[String], host: &str, interrupt: &Interrupt) -> Result<Connection, ObserveError> {
        let refused =
            |error: io::Error| ObserveError::Refused { host: host.to_owned(), why: error.to_string() };
        let (program, arguments) =
            ssh.split_first().ok_or_else(|| refused(ErrorKind::InvalidInput.into()))?;
        let mut command = Command::new(program);
        command.args(arguments).args(["-T", "-o", "BatchMode=yes", "--", host, "exec sh"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Away from the signals of the terminal: what is still to be asked needs the connection.
        command.process_group(0);
        // SAFETY: the closure only makes system calls, which are safe after a fork.
        unsafe { command.pre_exec(die_with_parent) };
        let refused_program =
            |error: io::Error| refused(io::Error::new(error.kind(), format!("{program}: {error}")));
        let mut child = command.spawn().map_err(refused_program)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(refused(ErrorKind::BrokenPipe.into()));
        };
        for fd in [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()] {
            // SAFETY: the descriptor is open.
            unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
        }
        Ok(Connection {
            host: host.to_owned(),
            interrupt: interrupt.clone(),
            child,
            stdin: Some(stdin),
            stdout,
            stderr,
            received: Received::default(),
            said: Vec::new(),
            is_up: false,
        })
    }

    /// Sends bytes, all of them.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<(), ObserveError> {
        let mut last = Instant::now();
        while !bytes.is_empty() {
            let Some(stdin) = self.stdin.as_mut() else { return Err(self.failed(None)) };
            match stdin.write(bytes) {
                Ok(length) => {
                    bytes = &bytes[length..];
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if last.elapsed() > ANSWER || self.interrupt.asked() {
                        return Err(self.failed(Some("it takes nothing more")));
                    }
                    let fd = stdin.as_raw_fd();
                    self.take_in(Duration::from_millis(100), Some(fd), None)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.failed(None)),
            }
        }
        Ok(())
    }

    /// Waits until `done` makes something of what was received, at most for `limit`.
    pub fn wait<T>(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Connection) -> Result<Option<T>, ObserveError>,
    ) -> Result<T, ObserveError> {
        let mut waited = self.wait_or_stop(limit, &mut done)?;
        let in_hurry = matches!(waited, Waited::Interrupted);
        if in_hurry {
            let limit = limit.min(HURRY);
            waited = self.wait_until(Instant::now() + limit, false, &mut done)?;
        }
        match waited {
            Waited::For(result) => Ok(result),
            _ if in_hurry => Err(self.failed(Some("interrupted"))),
            _ => Err(self.failed(Some(&format!("no answer within {} s", limit.as_secs())))),
        }
    }

    /// The same for what is to come to its end though the user wants to stop.
    pub fn wait_in_any_case<T>(
        &mut self,
        limit: Duration,
        done: impl FnMut(&mut Connection) -> Result<Option<T>, ObserveError>,
    ) -> Result<T, ObserveError> {
        match self.wait_until(Instant::now() + limit, false, done)? {
            Waited::For(result) => Ok(result),
            _ => Err(self.failed(Some(&format!("no answer within {} s", limit.as_secs())))),
        }
    }

    /// The same as [`Connection::wait`]; but the user may want to stop, and that the time has passed is no error.
    pub fn wait_or_stop<T>(
        &mut self,
        limit: Duration,
        done: impl FnMut(&mut Connection) -> Result<Option<T>, ObserveError>,
    ) -> Result<Waited<T>, ObserveError> {
        self.wait_until(Instant::now() + limit, true, done)
    }

    fn wait_until<T>(
        &mut self,
        deadline: Instant,
        stoppable: bool,
        mut done: impl FnMut(&mut Connection) -> Result<Option<T>, ObserveError>,
    ) -> Result<Waited<T>, ObserveError> {
        loop {
            if let Some(result) = done(self)? {
                return Ok(Waited::For(result));
            }
            if stoppable && self.interrupt.asked() {
                return Ok(Waited::Interrupted);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TimedOut);
            }
            let interrupt = stoppable.then(|| self.interrupt.fd());
            self.take_in(left, None, interrupt)?;
        }
    }

    /// Waits for output, for room to write or for the interrupt, and takes in what is there.
    fn take_in(
        &mut self,
        time: Duration,
        room: Option<RawFd>,
        other: Option<RawFd>,
    ) -> Result<(), ObserveError> {
        let entry = |fd: RawFd, events| libc::pollfd { fd, events, revents: 0 };
        let mut descriptors = [
            entry(self.stdout.as_raw_fd(), libc::POLLIN),
            entry(self.stderr.as_raw_fd(), libc::POLLIN),
            entry(room.unwrap_or(-1), libc::POLLOUT),
            entry(other.unwrap_or(-1), libc::POLLIN),
        ];
        poll(&mut descriptors, Some(time));
        if descriptors[1].revents != 0 {
            self.hear();
        }
        if descriptors[0].revents != 0 {
            let mut buffer = [0; 65536];
            match self.stdout.read(&mut buffer) {
                Ok(0) => return Err(self.failed(None)),
                Ok(length) => self.received.bytes.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return Err(self.failed(None)),
            }
        }
        Ok(())
    }

    /// Takes in what ssh, or an action, says on stderr; whether it may say more.
    fn hear(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let length = match self.stderr.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        self.said.extend_from_slice(&buffer[..length]);
        let surplus = self.said.len().saturating_sub(4 * KEPT);
        if surplus > buffer.len() {
            self.said.drain(..surplus);
        }
        true
    }

    /// The error that says that the connection failed: for this reason, or for what ssh says at its end.
    pub fn failed(&mut self, why: Option<&str>) -> ObserveError {
        let status = if why.is_some() { None } else { self.part() };
        let said = complaint(&self.said);
        let why = match (why, said, status) {
            (Some(why), ..) => why.to_owned(),
            (None, Some(said), _) => said,
            (None, None, Some(status)) => format!("ssh ended with {status}"),
            (None, None, None) => "the other side has ended".to_owned(),
        };
        let host = self.host.clone();
        if self.is_up { ObserveError::Lost { host, why } } else { ObserveError::Refused { host, why } }
    }

    /// Lets ssh end by itself, and hears its last words.
    fn part(&mut self) -> Option<std::process::ExitStatus> {
        self.stdin = None;
        let deadline = Instant::now() + PARTING;
        loop {
            let ended = self.child.try_wait().ok().flatten();
            let mut descriptor =
                [libc::pollfd { fd: self.stderr.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
            poll(&mut descriptor, Some(Duration::from_millis(10)));
            let more = descriptor[0].revents == 0 || self.hear();
            if !more {
                std::thread::sleep(Duration::from_millis(10));
            }
            if ended.is_some() && descriptor[0].revents == 0
                || ended.is_some() && !more
                || Instant::now() >= deadline
            {
                return ended;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What it still says is of no interest, but must not keep it from ending.
        if self.part().is_none() {
            processes::kill_group(self.child.id().cast_signed());
            let _ = self.child.wait();
        }
    }
}

/// In the child: has it killed with its parent, and lets all signals through.
fn die_with_parent() -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    action::unblock_signals()
}

/// What ssh complains of: its last two lines, without what it only warns of.
fn complaint(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().map(str::trim).filter(|line| {
        line.chars().any(char::is_alphanumeric) && !line.starts_with("Warning: Permanently added")
    });
    let lines: Vec<&str> = lines.collect();
    let last = lines.len().saturating_sub(2);
    (!lines.is_empty()).then(|| lines[last..].join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_complains_of_is_found() {
        let one = b"Warning: Permanently added 'x' (ED25519) to the list of known hosts.\r\nroot@x: Permission denied (publickey).\r\n";
        assert_eq!(complaint(one).as_deref(), Some("root@x: Permission denied (publickey)."));
        let two = b"@@@@@@@@\r\n@  WARNING @\r\nHost key for x has changed.\r\nHost key verification failed.\r\n\r\n";
        assert_eq!(
            complaint(two).as_deref(),
            Some("Host key for x has changed.; Host key verification failed.")
        );
        assert_eq!(complaint(b"\r\n@@@\r\n"), None);
    }

    #[test]
    fn a_client_that_is_not_there_or_ends_is_told() {
        let (reader, _writer) = io::pipe().expect("a pipe");
        let interrupt = Interrupt::on_input(reader.into());
        let command = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
        let error =
            Connection::open(&["/nonexistent/ssh".to_owned()], "x", &interrupt).expect_err("no client");
        assert!(error.to_string().starts_with("cannot connect to x: /nonexistent/ssh: "), "{error}");
        let mut connection =
            Connection::open(&command("echo no >&2; exit 255"), "x", &interrupt).expect("a shell");
        let error = connection.wait(ANSWER, |_| Ok(None::<()>)).expect_err("it ends");
        assert_eq!(error.to_string(), "cannot connect to x: no");
        let mut connection = Connection::open(&command("exit 3"), "x", &interrupt).expect("a shell");
        connection.is_up = true;
        let error = connection.wait(ANSWER, |_| Ok(None::<()>)).expect_err("it ends");
        assert_eq!(error.to_string(), "the connection to x is lost: ssh ended with exit status: 3");
        let mut connection = Connection::open(&command("exec sleep 600"), "x", &interrupt).expect("a shell");
        let error = connection.wait(Duration::from_millis(50), |_| Ok(None::<()>)).expect_err("it hangs");
        assert_eq!(error.to_string(), "cannot connect to x: no answer within 0 s");
    }
}

//! Another machine, through the user's own ssh client and configuration.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::connection::{ANSWER, Connection, Waited};
use super::place::{ActionEnd, Area, Identity, ObserveError, Place, Reading};
use super::shell::{self, ENDING, Shell};
use super::wire::{self, Answer, Request};
use crate::interrupt::Interrupt;

/// The environment variable with the command line to use in place of `ssh`.
pub const SSH_VARIABLE: &str = "MEMTRIAL_SSH";

/// Between the first two attempts to connect again; twice that before the next one, and so on, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// By what means another machine is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A copy of memtrial runs there.
    Copy,
    /// Its shell reads /proc, for this reason.
    Shell(String),
}

impl Way {
    /// The words for it.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Way::Copy => "by a copy of memtrial there",
            Way::Shell(_) => "by the shell there, from /proc",
        }
    }
}

/// Another machine. The ssh client ends with the thread that connected.
#[derive(Debug)]
pub struct There {
    host: String,
    ssh: Vec<String>,
    copied: Option<PathBuf>,
    interrupt: Interrupt,
    way: Way,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    /// `None` where a copy of memtrial answers.
    shell: Option<Shell>,
}

impl There {
    /// Connects to `host`, as ssh understands it. `copied` is this program's own file, which is copied there and run
    /// as `memtrial observe-server FOLDER` (see [`super::server::serve`]); with `None`, or where that can't be done,
    /// the shell there reads /proc. The command is `ssh`, or what the environment variable `MEMTRIAL_SSH` says.
    ///
    /// # Errors
    /// [`ObserveError::Refused`] when ssh can't connect or log in, with what it said.
    pub fn connect(host: &str, copied: Option<&Path>, interrupt: &Interrupt) -> Result<There, ObserveError> {
        let command = std::env::var(SSH_VARIABLE).ok().filter(|command| !command.trim().is_empty());
        let command = command.unwrap_or_else(|| "ssh".to_owned());
        let ssh = shlex::split(&command).ok_or_else(|| ObserveError::Refused {
            host: host.to_owned(),
            why: format!("{SSH_VARIABLE} has a quote that is not closed: {command}"),
        })?;
        There::connect_by(ssh, host, copied, interrupt)
    }

    /// The same by this command and these first arguments of it.
    ///
    /// # Errors
    /// As for [`There::connect`].
    pub fn connect_by(
        ssh: Vec<String>,
        host: &str,
        copied: Option<&Path>,
        interrupt: &Interrupt,
    ) -> Result<There, ObserveError> {
        let mut there = There {
            host: host.to_owned(),
            ssh,
            copied: copied.map(Path::to_owned),
            interrupt: interrupt.clone(),
            way: Way::Shell("as asked".to_owned()),
            session: None,
        };
        there.attempt()?;
        Ok(there)
    }

    /// By what means it is looked at.
    #[must_use]
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Connects again after [`ObserveError::Lost`], as often as `limit` allows, with longer and longer waits. Processes
    /// there keep their identities.
    ///
    /// # Errors
    /// That of the last attempt.
    pub fn reconnect(&mut self, limit: Duration) -> Result<(), ObserveError> {
        self.session = None;
        let deadline = Instant::now() + limit;
        let mut wait = BACKOFF.0;
        loop {
            let error = match self.attempt() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.interrupt.sleep(wait.min(left)) {
                return Err(error);
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    fn attempt(&mut self) -> Result<(), ObserveError> {
        let mut connection = Connection::open(&self.ssh, &self.host, &self.interrupt)?;
        let mut shell = Shell::start(&mut connection)?;
        if let Some(file) = self.copied.as_deref().filter(|file| shell::is_file(file)) {
            let reason = match shell.hand_over(&mut connection, file) {
                Ok(Ok(())) => {
                    self.way = Way::Copy;
                    self.session = Some(Session { connection, shell: None });
                    return Ok(());
                }
                Ok(Err(reason)) => reason,
                // The shell ends when not all of the copy could be written. Should the connection be lost for good,
                // the next one can't be made.
                Err(error) if self.interrupt.asked() => return Err(error),
                Err(error) => {
                    connection = Connection::open(&self.ssh, &self.host, &self.interrupt)?;
                    shell = Shell::start(&mut connection)?;
                    format!("it can't be copied there: {error}")
                }
            };
            self.way = Way::Shell(reason);
        }
        self.session = Some(Session { connection, shell: Some(shell) });
        Ok(())
    }

    /// Does something with the session. One that is lost, or that is out of step, is no more used.
    fn with<T>(
        &mut self,
        ask: impl FnOnce(&mut Session) -> Result<T, ObserveError>,
    ) -> Result<T, ObserveError> {
        let lost = |why: &str| ObserveError::Lost { host: self.host.clone(), why: why.to_owned() };
        let session = self.session.as_mut().ok_or_else(|| lost("not connected"))?;
        let result = ask(session);
        if matches!(result, Err(ObserveError::Lost { .. })) {
            self.session = None;
        }
        result
    }
}

impl Session {
    /// Asks the copy.
    fn ask(&mut self, request: &Request) -> Result<Answer, ObserveError> {
        self.send(request)?;
        let answer = self.connection.wait(ANSWER, answered)?;
        into_result(answer)
    }

    fn send(&mut self, request: &Request) -> Result<(), ObserveError> {
        let frame = wire::framed(request)
            .map_err(|error| ObserveError::Io { what: "cannot write a request".to_owned(), error })?;
        self.connection.send(&frame)
    }

    /// The error that the copy answered with something else than was asked.
    fn out_of_step(&mut self) -> ObserveError {
        self.connection.failed(Some("an answer that was not asked for"))
    }

    fn run(&mut self, command: &str, limit: Duration) -> Result<(ActionEnd, String), ObserveError> {
        if let Some(shell) = &mut self.shell {
            return shell.run(&mut self.connection, command, limit);
        }
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.send(&Request::Run { command: command.to_owned(), limit_ms })?;
        let answer = match self.connection.wait_or_stop(limit.saturating_add(ENDING), answered)? {
            Waited::For(answer) => answer,
            Waited::Interrupted => {
                self.send(&Request::Stop)?;
                self.connection.wait_in_any_case(ENDING, answered)?
            }
            Waited::TimedOut => return Err(self.connection.failed(Some("no news of the action"))),
        };
        match into_result(answer)? {
            Answer::Ran(end, text) => Ok((end, text)),
            _ => Err(self.out_of_step()),
        }
    }
}

fn answered(connection: &mut Connection) -> Result<Option<Answer>, ObserveError> {
    wire::take(&mut connection.received.bytes).map_err(|error| connection.failed(Some(&error.to_string())))
}

fn into_result(answer: Answer) -> Result<Answer, ObserveError> {
    match answer {
        Answer::Failed(failure) => Err(failure.into()),
        answer => Ok(answer),
    }
}

/// Asks the shell by its method, or the copy by a request.
macro_rules! ask {
    ($there:expr, $method:ident($argument:expr), $request:expr, $answer:path) => {
        $there.with(|session| match &session.shell {
            Some(shell) => shell.$method(&mut session.connection, $argument),
            None => match session.ask(&$request)? {
                $answer(answer) => Ok(answer),
                _ => Err(session.out_of_step()),
            },
        })
    };
}

impl Place for There {
    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    fn identity(&mut self, pid: i32) -> Result<Identity, ObserveError> {
        ask!(self, identity(pid), Request::Identity(pid), Answer::Identity)
    }

    fn named(&mut self, name: &str) -> Result<Vec<Identity>, ObserveError> {
        ask!(self, named(name), Request::Named(name.to_owned()), Answer::Identities)
    }

    fn tree(&mut self, pid: i32) -> Result<Vec<Identity>, ObserveError> {
        ask!(self, tree(pid), Request::Tree(pid), Answer::Identities)
    }

    fn reading(&mut self, process: &Identity) -> Result<Reading, ObserveError> {
        ask!(self, reading(process), Request::Reading(process.clone()), Answer::Reading)
    }

    /// Where the shell reads /proc this is [`Place::reading`], whatever it costs there.
    fn glance(&mut self, process: &Identity) -> Result<Reading, ObserveError> {
        ask!(self, reading(process), Request::Glance(process.clone()), Answer::Reading)
    }

    fn areas(&mut self, process: &Identity) -> Result<Vec<Area>, ObserveError> {
        ask!(self, areas(process), Request::Areas(process.clone()), Answer::Areas)
    }

    fn run(&mut self, command: &str, limit: Duration) -> Result<(ActionEnd, String), ObserveError> {
        self.with(|session| session.run(command, limit))
    }

    fn reconnect(&mut self, limit: Duration) -> Result<(), ObserveError> {
        There::reconnect(self, limit)
    }
}

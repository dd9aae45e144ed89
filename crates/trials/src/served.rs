//! A daemon that is started for the trial.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memtrial_target::interrupt::Interrupt;
use memtrial_target::launch::{self, Launch, LaunchError, Program};
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::{ActionEnd, ObserveError, Place};
use memtrial_target::processes;

use crate::leak::options::Ready;
use crate::signal;

/// Most of what a daemon printed that an error shows.
const TAIL: u64 = 2048;
/// Between two looks whether a daemon is ready.
const POLL: Duration = Duration::from_millis(50);
/// How long a daemon has to end when it is asked to.
const PARTING: Duration = Duration::from_secs(5);
/// How long a daemon that nothing says to be ready must live to count as ready.
const ALIVE: Duration = Duration::from_millis(500);

/// Why a daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    /// It did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It did not get ready.
    #[error("the daemon did not get ready: {why}")]
    NotReady {
        /// What was seen of it.
        why: String,
        /// The end of what it printed.
        printed: String,
    },
    /// Nobody can be asked whether it is ready.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A file can't be made.
    #[error("{what}: {error}")]
    Io {
        /// The file.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// The user wanted to stop before it was ready.
    #[error("interrupted before the daemon was ready")]
    Interrupted,
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Served {
    /// Its pid.
    pub pid: i32,
    output: PathBuf,
    /// Whether its end was seen: its pid is nobody's then.
    gone: Cell<bool>,
}

impl Served {
    /// Starts a daemon, with the agent and the memory it joins, if any; what it prints goes to the file `output`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(
        program: &Program,
        agent: Option<(&Path, &SharedMemory)>,
        output: &Path,
    ) -> Result<Served, ServedError> {
        let io = |error| ServedError::Io { what: output.display().to_string(), error };
        let out = File::create(output).map_err(io)?;
        let stdin = File::open("/dev/null").map_err(io)?;
        let launch = Launch {
            program,
            stdin: &stdin,
            stdout: &out,
            stderr: &out,
            agent,
            isolation: None,
            filtered: false,
            traced: false,
        };
        let started = launch::start(&launch)?;
        started.go()?;
        Ok(Served { pid: started.pid, output: output.to_owned(), gone: Cell::new(false) })
    }

    /// How it ended, if it has: in words.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        if self.gone.get() {
            return None;
        }
        let end = processes::reap(self.pid)?;
        self.gone.set(true);
        Some(match end {
            processes::Reaped::Exit(status) => format!("ended with status {status}"),
            processes::Reaped::Signal(number) => format!("was ended by {}", signal::name(number)),
        })
    }

    /// The end of what it has printed.
    #[must_use]
    pub fn printed(&self) -> String {
        tail(&self.output)
    }

    /// Waits until it is ready, at most for `limit`.
    ///
    /// # Errors
    /// When it ends, or does not get ready.
    pub fn wait_until_ready(
        &self,
        ready: Option<&Ready>,
        place: &mut dyn Place,
        interrupt: &Interrupt,
        limit: Duration,
    ) -> Result<(), ServedError> {
        let begun = Instant::now();
        loop {
            if let Some(how) = self.ended() {
                return Err(ServedError::NotReady { why: format!("it {how}"), printed: self.printed() });
            }
            let is_ready = match ready {
                Some(Ready::Command(command)) => {
                    matches!(place.run(command, limit)?, (ActionEnd::Exit(0), _))
                }
                Some(Ready::Port(port)) => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
                    TcpStream::connect_timeout(&address, limit).is_ok()
                }
                None => begun.elapsed() >= ALIVE,
            };
            if is_ready {
                return Ok(());
            }
            if begun.elapsed() > limit {
                let missing = match ready {
                    Some(Ready::Port(port)) => format!(": nothing takes connections on port {port}"),
                    Some(Ready::Command(command)) => format!(": {command}: does not succeed"),
                    None => String::new(),
                };
                let why = format!("it was not ready after {} s{missing}", limit.as_secs_f64());
                return Err(ServedError::NotReady { why, printed: self.printed() });
            }
            if interrupt.sleep(POLL) {
                return Err(ServedError::Interrupted);
            }
        }
    }
}

impl Drop for Served {
    /// Asks the daemon to end, so that it can put away what it has made; what does not end is killed by whoever ends the
    /// trial.
    fn drop(&mut self) {
        if self.ended().is_none() && !self.gone.get() {
            processes::terminate(self.pid);
            let begun = Instant::now();
            while begun.elapsed() < PARTING && self.ended().is_none() {
                std::thread::sleep(POLL);
            }
        }
    }
}

/// The end of a file's text.
pub fn tail(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |facts| facts.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(TAIL)));
        let _ = file.take(TAIL).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

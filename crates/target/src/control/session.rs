//! An agent that answers on a control socket in a process: brought in, talked to, and sent away.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use memtrial_wire::layout::{REAL_FUNCTIONS, mode, refusal, serving};
use serde_json::{Value, json};

use super::allocator::own_allocator;
use super::client::{Client, ClientError};
use super::handover::Handover;
use super::runtime;
use crate::attach::{self, AttachError, Entered};
use crate::memory::{Setup, SharedMemory};

/// How long answers may take: a command may allocate for a while.
const ANSWER: Duration = Duration::from_secs(120);
/// How long the agent's threads may take to end.
const PARTING: Duration = Duration::from_secs(30);
/// Between two looks whether they have.
const POLL: Duration = Duration::from_millis(5);
/// The file in the scratch folder that names the control sockets, for whoever cleans up.
const SOCKETS: &str = "control-sockets";

/// The agent in a process, and the lease by which it stays: when this is dropped, or this process ends however it does, the
/// agent frees everything and leaves.
#[derive(Debug)]
pub struct Session {
    pid: i32,
    socket: PathBuf,
    memory: SharedMemory,
    /// `None`: the agent stays until it is told to leave.
    lease: Option<UnixStream>,
    entered: Option<Entered>,
}

/// Why the agent could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no way into the process.
    #[error("the agent could not get into process {pid}: {error}")]
    Attach {
        /// The process.
        pid: i32,
        /// Why.
        error: AttachError,
    },
    /// It got in, and can't work there; a sentence says why.
    #[error("the agent can't work in process {pid}: {why}")]
    Refused {
        /// The process.
        pid: i32,
        /// Why.
        why: String,
    },
    /// An agent answers there already.
    #[error("an agent answers in process {0} already")]
    Taken(i32),
    /// A file or socket can't be made or used.
    #[error("{what}: {error}")]
    Io {
        /// Which, and for what.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// The socket can't be used.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What an agent that is loaded with a program needs: to be made before the program is started, with the memory that it
/// is launched with.
#[derive(Debug)]
pub struct Expected {
    memory: SharedMemory,
    handover: Handover,
    scratch: PathBuf,
}

impl Expected {
    /// Makes the memory and the socket in `scratch`; `name` tells it from others there. The load may hold `max_total`
    /// bytes.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn prepare(scratch: &Path, name: &str, max_total: u64) -> Result<Expected, ControlError> {
        let path = scratch.join(format!("control-{name}"));
        let failed = |error| ControlError::Io { what: format!("cannot make {}", path.display()), error };
        let mut memory = SharedMemory::create(&path, &Setup::of(mode::CONTROL)).map_err(failed)?;
        memory.set_max_total(max_total);
        let handover = Handover::prepare(&path).map_err(failed)?;
        Ok(Expected { memory, handover, scratch: scratch.to_owned() })
    }

    /// The memory that the program is to be launched with.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Waits until the agent in the process `pid`, a library of this file name, answers.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub fn wait(self, pid: i32, agent: &Path, patience: Duration) -> Result<Session, ControlError> {
        self.meet(pid, agent, true, patience, None)
    }

    fn meet(
        self,
        pid: i32,
        agent: &Path,
        leased: bool,
        patience: Duration,
        entered: Option<Entered>,
    ) -> Result<Session, ControlError> {
        let Expected { memory, handover, scratch } = self;
        let alive = || Path::new(&format!("/proc/{pid}/exe")).exists() && failure(&memory).is_none();
        let refused = |memory: &SharedMemory, error: io::Error| ControlError::Refused {
            pid,
            why: failure(memory).map_or_else(|| in_words(&error), str::to_owned),
        };
        let agent_end = handover.meet(pid, patience, alive).map_err(|error| refused(&memory, error))?;
        memory.set_own_allocator(own_allocator(pid, agent));
        let (listener, socket) = runtime::listen(pid).map_err(|error| ControlError::Io {
            what: format!("cannot make the control socket in {}", runtime::folder().display()),
            error,
        })?;
        if leased {
            remember(&scratch, &socket);
        }
        let lease = handover.give(agent_end, listener, leased, patience);
        let lease = lease.map_err(|error| {
            runtime::remove(&socket);
            refused(&memory, error)
        })?;
        Ok(Session { pid, socket, memory, lease: leased.then_some(lease), entered })
    }
}

impl Session {
    /// Loads the agent, a library that lies in `scratch`, into the running process `pid`, and has it answer. `leased`: it
    /// leaves when the session ends; else it stays until it is told to leave.
    ///
    /// # Errors
    /// When it can't get in.
    pub fn attach(
        pid: i32,
        agent: &Path,
        scratch: &Path,
        max_total: u64,
        leased: bool,
        patience: Duration,
    ) -> Result<Session, ControlError> {
        if runtime::is_answered(&runtime::socket_path(pid)) {
            return Err(ControlError::Taken(pid));
        }
        if is_filtered(pid) {
            let why = "it runs under a seccomp filter, which might end it for a system call of the agent's";
            return Err(ControlError::Refused { pid, why: why.to_owned() });
        }
        let mut expected = Expected::prepare(scratch, &format!("pid-{pid}"), max_total)?;
        let no_way = |error| ControlError::Attach { pid, error };
        let real = attach::definitions(pid, agent, REAL_FUNCTIONS).map_err(no_way)?;
        expected.memory.set_real(real.map(Option::unwrap_or_default));
        let memory = expected.memory.path().to_owned();
        attach::give_access(pid, scratch, agent, &[&memory, expected.handover.path()]).map_err(|error| {
            ControlError::Io { what: format!("cannot let process {pid} at the agent"), error }
        })?;
        let path = memory.to_string_lossy().into_owned();
        let entered = attach::enter(pid, agent, "memtrial_control", &path, patience).map_err(no_way)?;
        match entered.value {
            0 => expected.meet(pid, agent, leased, patience, Some(entered)),
            refusal::TAKEN => Err(ControlError::Taken(pid)),
            value => Err(ControlError::Refused { pid, why: attach::refused(value).to_owned() }),
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The memory that the agent shares.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// A new connection to the socket.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket, ANSWER)
    }

    /// How the agent got into a running process.
    #[must_use]
    pub fn entered(&self) -> Option<&Entered> {
        self.entered.as_ref()
    }

    /// Has the agent free everything and leave, and waits until its threads have ended; returns what it has freed.
    ///
    /// # Errors
    /// When it does not answer, or its threads do not end.
    pub fn leave(self) -> Result<Value, ClientError> {
        let freed = self.client()?.call("memtrial.leave", json!([]))?;
        wait_for_threads(self.pid)?;
        Ok(freed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.lease.is_some() {
            runtime::remove(&self.socket);
        }
    }
}

/// Whether a filter judges the system calls of a process (proc(5), `Seccomp`).
fn is_filtered(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() != "0")
}

/// Waits until no thread of the agent's is in a process any more.
///
/// # Errors
/// [`ClientError::Late`] when one does not end.
pub fn wait_for_threads(pid: i32) -> Result<(), ClientError> {
    let begun = Instant::now();
    while agent_threads(pid) > 0 {
        if begun.elapsed() > PARTING {
            return Err(ClientError::Late(PARTING));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// How many threads of a process are the agent's, by their names. The first thread never is, whatever it is called: the
/// target may be memtrial itself.
#[must_use]
pub fn agent_threads(pid: i32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let others = tasks.filter(|task| task.file_name().to_str() != Some(&pid.to_string()));
    let names = others.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| matches!(name.trim_end(), "memtrial" | "memtrial-heap" | "memtrial-test")).count()
}

/// Why the control thread does not answer, if it has given up.
fn failure(memory: &SharedMemory) -> Option<&'static str> {
    match memory.control().serving.load(Ordering::Acquire) {
        serving::NO_DESCRIPTORS => {
            Some("the kernel is older than Linux 5.9, or a filter forbids close_range")
        }
        serving::NO_SOCKET => Some("it can't reach the socket that is handed over"),
        serving::NO_MEMORY => Some("there is no memory for what it keeps"),
        _ => None,
    }
}

/// Why an agent that had come does not answer.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "it is gone again: the process ended, or runs another program now. Name that program itself, not one that \
             runs it (a script, `env`)"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Names the socket to whoever cleans up, should this process be killed.
fn remember(scratch: &Path, socket: &Path) {
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(scratch.join(SOCKETS));
    // A socket that nobody answers on is removed by the next memtrial at the latest.
    let _ = file.and_then(|mut file| file.write_all(&[socket.as_os_str().as_bytes(), b"\n"].concat()));
}

/// Removes the control sockets of a run that was killed. `scratch` is its scratch folder.
pub fn clean_up(scratch: &Path) {
    for path in std::fs::read_to_string(scratch.join(SOCKETS)).unwrap_or_default().lines() {
        runtime::remove(Path::new(path));
    }
}

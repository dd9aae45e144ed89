//! What can be asked of the machine that a target runs on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Names a process for good: a pid may be used again, with another start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine was (field 22 of `/proc/PID/stat`).
    pub started: u64,
    /// The name the kernel has for it (`/proc/PID/comm`).
    pub name: String,
}

/// What a process holds, in bytes, from `/proc/PID/smaps_rollup` and its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// `Rss`
    pub resident: u64,
    /// `Pss`
    pub proportional: u64,
    /// `Private_Clean`
    pub private_clean: u64,
    /// `Private_Dirty`
    pub private_dirty: u64,
    /// `Anonymous`: of no file, or changed since it was read from one. Unlike the private figures it does not change
    /// when another process that shares pages comes or goes.
    pub anonymous: u64,
    /// `Swap`
    pub swap: u64,
    /// `LazyFree`
    pub lazy_free: u64,
    /// `AnonHugePages`
    pub huge: u64,
    /// Number of mappings.
    pub mappings: u64,
    /// Number of threads.
    pub threads: u64,
    /// Number of open descriptors.
    pub descriptors: u64,
}

impl Reading {
    /// Resident memory that counts: with what is swapped out, without what is free but not yet taken back.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.resident.saturating_add(self.swap).saturating_sub(self.lazy_free)
    }
}

/// One mapping of a process, from `/proc/PID/smaps`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// As `rw-p`.
    pub permissions: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file, or what the kernel calls the memory, such as `[heap]`; or empty.
    pub path: String,
    /// `Rss`
    pub resident: u64,
    /// `Private_Clean`
    pub private_clean: u64,
    /// `Private_Dirty`
    pub private_dirty: u64,
    /// `Anonymous`
    pub anonymous: u64,
    /// `Swap`
    pub swap: u64,
    /// `LazyFree`
    pub lazy_free: u64,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionEnd {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It was ended at its time limit, with all that it had started.
    TimedOut,
    /// It was ended because the user wants to stop, with all that it had started.
    Interrupted,
    /// It could not be started.
    NotStarted(String),
}

/// Why something could not be seen.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// No such process, or it has ended.
    #[error("there is no process {0}")]
    Gone(i32),
    /// Another process has its pid now.
    #[error("process {0} has ended, and another one has its pid now")]
    Replaced(i32),
    /// This user may not look into it.
    #[error("process {pid} belongs to another user, or is protected: {error}")]
    Forbidden {
        /// The process.
        pid: i32,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// The connection to the other machine is lost; it may be made again.
    #[error("the connection to {host} is lost: {why}")]
    Lost {
        /// The machine.
        host: String,
        /// What ssh said.
        why: String,
    },
    /// ssh could not connect or log in.
    #[error("cannot connect to {host}: {why}")]
    Refused {
        /// The machine.
        host: String,
        /// What ssh said.
        why: String,
    },
    /// Something else.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
}

/// A machine on which processes are watched.
pub trait Place {
    /// The name of the machine; `None` for this one.
    fn host(&self) -> Option<&str>;

    /// The process with this pid.
    ///
    /// # Errors
    /// When it is not there or can't be looked into.
    fn identity(&mut self, pid: i32) -> Result<Identity, ObserveError>;

    /// All processes with this name (`/proc/PID/comm`, or the file name of the executable, or of the first argument),
    /// by pid; without memtrial itself.
    ///
    /// # Errors
    /// When processes can't be listed.
    fn named(&mut self, name: &str) -> Result<Vec<Identity>, ObserveError>;

    /// A process and all below it, by pid.
    ///
    /// # Errors
    /// When processes can't be listed.
    fn tree(&mut self, pid: i32) -> Result<Vec<Identity>, ObserveError>;

    /// What a process holds now.
    ///
    /// # Errors
    /// When it has ended, was replaced, or can't be looked into.
    fn reading(&mut self, process: &Identity) -> Result<Reading, ObserveError>;

    /// What a process holds, for watching it all the time: costs less than 1 % of one core at one look a second,
    /// however big the process is. Where [`Place::reading`] would cost more, it is made as often as that allows, and
    /// in between the kernel's counters say by how much resident, private and swapped memory have changed since.
    ///
    /// # Errors
    /// As for [`Place::reading`].
    fn glance(&mut self, process: &Identity) -> Result<Reading, ObserveError> {
        self.reading(process)
    }

    /// The mappings of a process, by address.
    ///
    /// # Errors
    /// As for [`Place::reading`].
    fn areas(&mut self, process: &Identity) -> Result<Vec<Area>, ObserveError>;

    /// Runs a shell command to its end, to the time limit, or until the user interrupts, with stdin empty. Of what it
    /// prints the last 4 KiB are returned. At its limit all that it has started is ended with it; when it ends in
    /// time, what it leaves in the background goes on (but can't print any more).
    ///
    /// # Errors
    /// When the connection is lost.
    fn run(&mut self, command: &str, limit: Duration) -> Result<(ActionEnd, String), ObserveError>;

    /// Makes a lost connection anew, trying for so long.
    ///
    /// # Errors
    /// When that can't be done; this machine is never lost.
    fn reconnect(&mut self, _limit: Duration) -> Result<(), ObserveError> {
        Ok(())
    }
}

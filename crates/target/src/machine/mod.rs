//! What this machine lets memtrial do: each thing is done, on a process made for it, and not guessed from settings.

mod attaching;
mod backends;
mod facts;
mod places;
mod probing;
mod rights;
mod stand_in;
mod starting;

use std::io;
use std::path::{Path, PathBuf};

use stand_in::StandIn;

pub use attaching::others_processes;
pub use backends::{clock, lttng, syslog, trace_marker};
pub use facts::Facts;
pub use places::{control_sockets, program};
pub use probing::why_no_probes;

/// How far a thing works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As it should.
    Yes,
    /// In a lesser way.
    Part,
    /// Not at all.
    No,
}

/// What came of doing a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// How far it works.
    pub answer: Answer,
    /// What was found; what is missing, if something is.
    pub found: String,
    /// The command that changes it, where there is one.
    pub how: Option<String>,
}

/// Something that is missing, and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// The command that grants it, where there is one.
    pub how: Option<String>,
}

impl Tried {
    fn yes(found: impl Into<String>) -> Tried {
        Tried { answer: Answer::Yes, found: found.into(), how: None }
    }

    fn part(found: impl Into<String>, how: Option<String>) -> Tried {
        Tried { answer: Answer::Part, found: found.into(), how }
    }

    fn no(found: impl Into<String>, how: Option<String>) -> Tried {
        Tried { answer: Answer::No, found: found.into(), how }
    }
}

/// A machine being looked at: the agent and an idle process to try things on.
#[derive(Debug)]
pub struct Machine<'a> {
    scratch: &'a Path,
    agent: PathBuf,
    stand_in: StandIn,
}

impl Machine<'_> {
    /// Writes the agent's library into the folder `scratch`, where all that is tried leaves its files, and starts a process
    /// that does nothing. Must be called while there is one thread.
    ///
    /// # Errors
    /// Those of writing, and of making a process.
    pub fn new<'a>(scratch: &'a Path, agent: &[u8]) -> io::Result<Machine<'a>> {
        let library = scratch.join("libmemtrial_agent.so");
        std::fs::write(&library, agent)?;
        Ok(Machine { scratch, agent: library, stand_in: StandIn::start()? })
    }
}

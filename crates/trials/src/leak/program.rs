//! A program that is a round by itself: run anew each time, and looked at in the moment of its exit.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use memtrial_target::interrupt::Interrupt;
use memtrial_target::launch::Program;
use memtrial_target::observe::{ActionEnd, Here, Identity, Place, Reading, run_to_exit};

use super::journal::Stretch;
use super::trial::LeakError;
use crate::served::tail;
use crate::signal;

/// The program, and where its output goes.
#[derive(Debug)]
pub struct Started {
    program: Program,
    output: PathBuf,
}

/// One run of it.
#[derive(Debug)]
pub struct Run {
    /// Why it does not count as a success, if so.
    pub why: Option<String>,
    /// The end of what it printed.
    pub printed: String,
    /// What it held when it was about to exit.
    pub last: Option<(Identity, Reading, Vec<Stretch>)>,
}

impl Started {
    /// The program; what each run prints goes to the file `output`, in place of what the run before has.
    pub fn new(program: Program, output: PathBuf) -> Started {
        Started { program, output }
    }

    /// Runs it once. `at_exit` sees it when it is about to exit: its memory is still there.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(
        &mut self,
        environment: &[(std::ffi::OsString, std::ffi::OsString)],
        limit: Duration,
        interrupt: &Interrupt,
        at_exit: &mut dyn FnMut(i32),
    ) -> Result<Run, LeakError> {
        let io = |error| LeakError::Io { what: self.output.display().to_string(), error };
        let output = File::create(&self.output).map_err(io)?;
        let nothing = File::open("/dev/null").map_err(io)?;
        let streams = [&nothing, &output, &output];
        let mut here = Here::new(interrupt.clone());
        let mut last = None;
        let mut look = |pid: i32| {
            let seen = here.identity(pid).and_then(|identity| {
                let reading = here.reading(&identity)?;
                let areas = here.areas(&identity)?;
                Ok((identity, reading, areas.iter().map(Stretch::of).collect()))
            });
            last = seen.ok();
            at_exit(pid);
        };
        let end = run_to_exit(&self.program, streams, environment, limit, interrupt, &mut look)?;
        let why = match end {
            ActionEnd::Exit(0) | ActionEnd::Interrupted => None,
            ActionEnd::Exit(status) => Some(format!("the program ended with status {status}")),
            ActionEnd::Signal(number) => Some(format!("the program was ended by {}", signal::name(number))),
            ActionEnd::TimedOut => Some(format!("the program had not ended after {} s", limit.as_secs_f64())),
            ActionEnd::NotStarted(why) => Some(format!("the program could not be run: {why}")),
        };
        Ok(Run { why, printed: tail(&self.output), last })
    }
}

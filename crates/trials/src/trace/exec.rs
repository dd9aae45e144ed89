//! A program that is started under trace, with all that it starts itself.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use memtrial_events::Table;
use memtrial_report::trace::Sink;
use memtrial_target::foreground::Foreground;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::processes::{self, Reaped};
use memtrial_wire::layout::CONTROL_VARIABLE;

use super::live::{self, Seen, Source};
use super::memory_events::MemoryEvents;
use super::tree::Tree;
use crate::signal;

/// Between two looks whether a program has ended of which nothing is written down any more.
const LOOK: Duration = Duration::from_millis(20);

/// What is started, and with what.
#[derive(Debug)]
pub struct Started<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments, its name first.
    pub command: &'a [String],
    /// Libraries that are loaded with it, the agent's first.
    pub libraries: Vec<PathBuf>,
    /// When it is asked to end.
    pub duration: Option<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub struct Traced {
    /// What was seen.
    pub seen: Seen,
    /// Why hits were not written down to the end, if they were not.
    pub written: io::Result<()>,
    /// How the program ended.
    pub end: Reaped,
    /// Processes that it has left behind, which are traced no more.
    pub left: usize,
    /// Whether it was asked to end because its time was over.
    pub timed_out: bool,
}

impl Started<'_> {
    /// Starts the program, and hands hits to the sink until it has ended: its memory events, and of `others` what it and its
    /// children do. Its streams and the terminal are its own.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run<S: Source>(
        &self,
        events: &mut MemoryEvents,
        mut others: Option<&mut Tree<S>>,
        table: &Table,
        sink: &mut dyn Sink,
    ) -> io::Result<Traced> {
        let mut command = self.command(events.memory().path());
        // What the user sends is for the program, whose end is the end of the trace.
        let (unasked, _never_closed) = io::pipe()?;
        let interrupt = Interrupt::on_input(unasked.into());
        let mut program = Foreground::start(&mut command)?;
        if let Some(others) = &mut others {
            others.add(program.pid);
        }
        let deadline = self.duration.map(|duration| Instant::now() + duration);
        let mut timed_out = false;
        let mut sources: Vec<&mut dyn Source> = vec![events];
        sources.extend(others.map(|others| others as &mut dyn Source));
        let mut has_ended = || {
            if !timed_out && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                timed_out = true;
                program.ask_to_end();
            }
            program.ended().is_some()
        };
        let (seen, written) = live::follow(&mut sources, table, sink, &interrupt, &mut has_ended);
        // What can't be written down is no reason to disturb the program.
        while written.is_err() && !has_ended() {
            std::thread::sleep(LOOK);
        }
        let end = program.wait();
        let left = processes::living_children().len();
        Ok(Traced { seen, written, end, left, timed_out })
    }

    fn command(&self, control: &Path) -> Command {
        let mut command = Command::new(self.program);
        if let Some((name, arguments)) = self.command.split_first() {
            command.arg0(name).args(arguments);
        }
        let mut preload = OsString::new();
        let theirs = std::env::var_os("LD_PRELOAD").filter(|theirs| !theirs.is_empty());
        let libraries = self.libraries.iter().map(|library| library.as_os_str().to_owned());
        for (number, library) in libraries.chain(theirs).enumerate() {
            if number > 0 {
                preload.push(":");
            }
            preload.push(library);
        }
        command.env("LD_PRELOAD", preload).env(CONTROL_VARIABLE, control);
        command
    }
}

/// How a program ended, in words.
#[must_use]
pub fn end_in_words(end: Reaped) -> String {
    match end {
        Reaped::Exit(status) => format!("ended with status {status}"),
        Reaped::Signal(number) => format!("was ended by {}", signal::name(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_comes_before_what_the_user_preloads() {
        let command = ["./sort".to_owned(), "-r".to_owned()];
        let libraries = vec![PathBuf::from("/agent.so"), PathBuf::from("/other.so")];
        let started =
            Started { program: Path::new("/bin/sort"), command: &command, libraries, duration: None };
        let made = started.command(Path::new("/control"));
        let variable = |name: &str| {
            let mut all = made.get_envs();
            all.find(|(known, _)| *known == name).and_then(|(_, value)| value).unwrap().to_owned()
        };
        assert!(variable("LD_PRELOAD").to_string_lossy().starts_with("/agent.so:/other.so"));
        assert_eq!(variable(CONTROL_VARIABLE), "/control");
        assert_eq!(made.get_args().collect::<Vec<_>>(), ["-r"]);
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(end_in_words(Reaped::Exit(3)), "ended with status 3");
        assert_eq!(end_in_words(Reaped::Signal(9)), "was ended by SIGKILL");
    }
}

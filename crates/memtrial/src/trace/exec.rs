//! `memtrial trace exec`: a program is started under trace.

use std::path::Path;

use anstream::eprintln;
use memtrial_events::Table;
use memtrial_report::wording::printable;
use memtrial_target::keeper;
use memtrial_trials::trace::backends::Backends;
use memtrial_trials::trace::exec::{Started, Traced, end_in_words};
use memtrial_trials::trace::memory_events::MemoryEvents;
use memtrial_trials::trace::static_probes::{Chosen, StaticProbes};
use memtrial_trials::trace::tree::Tree;

use super::wanted::{self, Wanted};
use super::writing::{self, Output, Stream};
use super::{said, statics};
use crate::arguments::trace::Exec;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::{environment, session};

/// Every program that is executed is traced, too.
const FOLLOW: &str = "*";

/// Starts the program, prints what happens in it until its end, and says how that was.
pub fn run(arguments: &Exec) -> Result<ExitStatus, Failure> {
    let fit = session::examine(&arguments.command, &environment::text())?;
    let wanted = Wanted::of(&arguments.patterns, &arguments.writing.events)?;
    let files = wanted.files(&fit.executable);
    wanted.check(&fit.executable, &files)?;
    let backends = wanted::backends(&arguments.backend)?;
    let how = &arguments.writing;
    writing::check(how, backends.recording.is_some())?;
    let output = writing::sink(how.format, how.count, how.output.as_deref(), Stream::Stderr, None)?;
    let begun = Begun { arguments, wanted, backends, output };
    session::kept(keeper::Started::EndedIfKilled, |_| (), |path| begun.in_scratch(&fit.program, &files, path))
}

/// What is known before anything runs.
struct Begun<'a> {
    arguments: &'a Exec,
    wanted: Wanted,
    backends: Backends,
    output: Output,
}

impl Begun<'_> {
    fn in_scratch(mut self, program: &Path, files: &[Chosen], path: &Path) -> Result<ExitStatus, Failure> {
        let (scratch, agent) = session::scratch_with_agent(path)?;
        let follow = [FOLLOW.to_owned()];
        let mut events =
            self.wanted.prepare(scratch.path(), &self.backends, &follow, &self.arguments.writing)?;
        let mut table: Table = events.table().clone();
        let quiet = self.arguments.writing.quiet;
        let probes = statics::watch(&self.wanted, files, &[], &self.arguments.writing, &mut table)?;
        // They are watched in all processes that run these files.
        let mut probes: Option<Tree<StaticProbes>> = probes.map(Tree::new);
        let mut libraries = vec![agent];
        libraries.extend(self.backends.library.clone());
        let started = Started {
            program,
            command: &self.arguments.command,
            libraries,
            duration: self.arguments.writing.duration,
        };
        let traced = started.run(&mut events, probes.as_mut(), &table, self.output.sink());
        let traced = traced.map_err(|error| {
            Failure::new(ExitStatus::Target, format!("cannot start {}: {error}", program.display()))
        })?;
        if !quiet {
            self.summary(&events, &traced);
        }
        self.output.end(traced.written)
    }

    fn summary(&self, events: &MemoryEvents, traced: &Traced) {
        let Begun { arguments, backends, .. } = self;
        let name = arguments.command.first().map_or("", String::as_str);
        for warning in wanted::warnings(events, backends) {
            eprintln!("warning: {warning}");
        }
        if events.images() == 0 {
            eprintln!("warning: the agent did not get into {}", printable(name));
        }
        if traced.left > 0 {
            eprintln!(
                "note: {} of those that it has started live on, and are traced no more; if they execute programs, the loader \
                 says that it cannot preload the agent",
                traced.left
            );
        }
        let asked = if traced.timed_out { ", asked to as the time was over" } else { "" };
        eprintln!(
            "{}; {} {}{asked}",
            said::beside_backends(&traced.seen, events),
            printable(name),
            end_in_words(traced.end)
        );
    }
}

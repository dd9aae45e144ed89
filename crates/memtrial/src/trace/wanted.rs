//! What `exec` and `attach` are to trace: memory events and static probes, by patterns, and the backends.

use std::path::{Path, PathBuf};

use memtrial_events::Selection;
use memtrial_events::memory::PROVIDER;
use memtrial_report::wording::{plural, printable};
use memtrial_trials::trace::backends::{BackendError, Backends};
use memtrial_trials::trace::catalog::{self, Catalog};
use memtrial_trials::trace::memory_events::{self, MemoryEvents, MemoryEventsError};
use memtrial_trials::trace::nearest::nearest;
use memtrial_trials::trace::static_probes::Chosen;
use memtrial_trials::trace::tree;

use crate::arguments::trace::{Format, Writing};
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Most programs that are named of which nothing is told.
const NAMED: usize = 5;

/// What is to be traced.
#[derive(Debug)]
pub struct Wanted {
    /// By which names.
    pub selection: Selection,
    /// Bits of the memory events.
    pub memory_events: u64,
    /// Files that describe static probes.
    pub descriptions: Vec<PathBuf>,
    patterns: Vec<String>,
}

impl Wanted {
    /// What patterns mean.
    pub fn of(patterns: &[String], descriptions: &[PathBuf]) -> Result<Wanted, Failure> {
        let selection = Selection::parse(patterns)?;
        let memory_events = memory_events::selected(&selection);
        Ok(Wanted {
            selection,
            memory_events,
            descriptions: descriptions.to_vec(),
            patterns: patterns.to_vec(),
        })
    }

    /// Gets ready for memory events. Where they go to backends, they are printed only if something says how.
    pub fn prepare(
        &self,
        scratch: &Path,
        backends: &Backends,
        follow: &[String],
        how: &Writing,
    ) -> Result<MemoryEvents, MemoryEventsError> {
        let printed = how.output.is_some() || how.count || how.format != Format::Text;
        let read = backends.bits == 0 || printed;
        MemoryEvents::prepare(
            scratch,
            backends,
            self.memory_events,
            follow,
            read,
            read && how.stack && !how.count,
        )
    }

    /// Whether static probes are asked for: by a pattern that is not one of memory events alone.
    pub fn selects_static_probes(&self) -> bool {
        let own = format!("{PROVIDER}:");
        self.patterns.iter().any(|pattern| !pattern.starts_with('-') && !pattern.starts_with(&own))
    }

    /// The static probes asked for, of a program and the libraries that it is started with.
    pub fn files(&self, executable: &Path) -> Vec<Chosen> {
        if !self.selects_static_probes() {
            return Vec::new();
        }
        let files = tree::files(executable);
        let catalogs = files.iter().filter_map(|file| catalog::of_file(file, &self.selection).ok());
        catalogs.flat_map(|catalog| self.chosen(&catalog)).collect()
    }

    /// The static probes asked for of those in a catalog.
    pub fn chosen(&self, catalog: &Catalog) -> Vec<Chosen> {
        // The agent has its memory events as static probes, too.
        let others = |chosen: &Chosen| chosen.probe.provider != PROVIDER;
        Chosen::all(catalog).into_iter().filter(others).collect()
    }

    /// Sees that there is anything to trace.
    pub fn check(&self, subject: &Path, probes: &[Chosen]) -> Result<(), Failure> {
        if self.memory_events != 0 || !probes.is_empty() {
            return Ok(());
        }
        let patterns = printable(&self.patterns.join(" "));
        let why = format!(
            "neither a memory event nor a static probe of {} is selected by {patterns}",
            subject.display()
        );
        let failure = Failure::new(ExitStatus::Findings, why);
        Err(match near(&self.patterns) {
            Some(near) => failure.help(near),
            None => failure.help("`memtrial trace list` shows the static probes of a program"),
        })
    }
}

/// The memory events that may have been meant, as a help.
pub fn near(patterns: &[String]) -> Option<String> {
    let names = memory_events::names(u64::MAX);
    let full: Vec<String> = names.iter().map(|name| format!("{PROVIDER}:{name}")).collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let near = nearest(&patterns, &full);
    (!near.is_empty()).then(|| format!("perhaps {} is meant", near.join(" or ")))
}

/// The backends that are named, found to be there.
pub fn backends(words: &[String]) -> Result<Backends, Failure> {
    let mut backends = Backends::parse(words)?;
    backends.find()?;
    Ok(backends)
}

/// What the user should know of how memory events were taken.
pub fn warnings(events: &MemoryEvents, backends: &Backends) -> Vec<String> {
    let mut warnings = Vec::new();
    if events.not_taken() > 0 {
        warnings.push(format!("{} events could not be sent to a backend", events.not_taken()));
    }
    if events.without_ust() {
        let library = backends.library.as_deref().unwrap_or(Path::new("liblttng-ust.so"));
        warnings
            .push(format!("backend ust: {} is not loaded in a process, or is too old", library.display()));
    }
    if events.damaged() > 0 {
        warnings.push(format!("{} chunks of the recording could not be read to their end", events.damaged()));
    }
    if events.lost_stacks() > 0 {
        warnings.push(format!("{} found no room", plural(events.lost_stacks(), "call stack")));
    }
    if events.without_unwinder() {
        warnings.push("no call stacks of a program whose C library is older than glibc 2.35".to_owned());
    }
    let barred = events.outsiders().barred();
    let more = barred.len().saturating_sub(NAMED);
    for (program, barrier) in barred.take(NAMED) {
        let program = printable(&program.display().to_string());
        warnings.push(format!("nothing is told of {program}, which was executed: {barrier}"));
    }
    if more > 0 {
        let more = plural(more as u64, "more program");
        warnings.push(format!("nothing is told of {more} that the agent can't be loaded into"));
    }
    warnings
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Failure {
        let message = error.to_string();
        match error {
            BackendError::Unknown(_) => Failure::new(ExitStatus::Usage, printable(&message))
                .help("backends are log, log=FILE, simple=FILE, syslog, ftrace and ust"),
            BackendError::Missing { help, .. } => Failure::new(ExitStatus::Barred, message).help(help),
        }
    }
}

impl From<MemoryEventsError> for Failure {
    fn from(error: MemoryEventsError) -> Failure {
        Failure::new(ExitStatus::Barred, error.to_string())
    }
}

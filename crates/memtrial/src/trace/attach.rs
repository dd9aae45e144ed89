//! `memtrial trace attach`: a running process is traced for a while.

use std::path::Path;
use std::time::{Duration, Instant};

use anstream::eprintln;
use memtrial_events::Table;
use memtrial_target::attach::AttachError;
use memtrial_target::keeper::Started;
use memtrial_target::observe::{Here, Identity, Place};
use memtrial_trials::redirect;
use memtrial_trials::trace::attach::{Attached, AttachedError};
use memtrial_trials::trace::backends::Backends;
use memtrial_trials::trace::catalog;
use memtrial_trials::trace::live::{self, Source};
use memtrial_wire::tracing::backend;

use super::wanted::{self, Wanted};
use super::writing::{self, Stream};
use super::{said, statics};
use crate::arguments::trace::Attach;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::session;

/// Between two looks whether the process is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Prints what happens in the process until the user interrupts, the time is over or the process ends, and leaves the process
/// as it was.
pub fn run(arguments: &Attach) -> Result<ExitStatus, Failure> {
    let wanted = Wanted::of(&arguments.patterns, &arguments.writing.events)?;
    let backends = backends(arguments)?;
    let how = &arguments.writing;
    writing::check(how, backends.recording.is_some())?;
    session::kept(
        Started::LeftAlone,
        |scratch| drop(redirect::put_back(scratch)),
        |path| in_scratch(arguments, &wanted, &backends, path),
    )
}

fn backends(arguments: &Attach) -> Result<Backends, Failure> {
    let backends = wanted::backends(&arguments.backend)?;
    let refused = |what: &str, help: &str| Err(Failure::new(ExitStatus::Usage, what).help(help));
    if backends.bits & backend::LOG != 0 && backends.log.is_none() {
        return refused("backend log: stderr is the process's own", "name a file: --backend log=FILE");
    }
    Ok(backends)
}

fn in_scratch(
    arguments: &Attach,
    wanted: &Wanted,
    backends: &Backends,
    path: &Path,
) -> Result<ExitStatus, Failure> {
    let (scratch, agent, interrupt) = session::workshop(path)?;
    let (pid, how) = (arguments.pid, &arguments.writing);
    let output = how.output.as_deref();
    let mut output = writing::sink(how.format, how.count, output, Stream::Stdout, Some(&interrupt))?;
    let mut here = Here::new(interrupt.clone());
    let identity = here.identity(pid)?;
    let files = match wanted.selects_static_probes() {
        true => wanted.chosen(&catalog::of_process(pid, &wanted.selection)?),
        false => Vec::new(),
    };
    wanted.check(Path::new(&identity.name), &files)?;
    let events = wanted.prepare(scratch.path(), backends, &[], how)?;
    let mut table: Table = events.table().clone();
    let mut probes = statics::watch(wanted, &files, &[pid], how, &mut table)?;
    let mut attached = Attached::begin(&identity, events, &agent, &scratch)?;
    if !how.quiet {
        let stopped = attached.stopped().as_secs_f64() * 1e3;
        eprintln!("tracing {} (pid {pid}), a thread of which stood still for {stopped:.1} ms", identity.name);
    }
    let mut end = End::new(how.duration, &identity, attached.base());
    let mut sources: Vec<&mut dyn Source> = vec![&mut attached];
    sources.extend(probes.as_mut().map(|probes| probes as &mut dyn Source));
    let (seen, written) =
        live::follow(&mut sources, &table, output.sink(), &interrupt, || end.is_reached(&mut here));
    end.look(&mut here);
    let warnings = wanted::warnings(attached.events(), backends);
    let seen = said::beside_backends(&seen, attached.events());
    let notes = attached.leave(end.gone.is_none());
    if !how.quiet {
        for warning in warnings.iter().chain(&notes) {
            eprintln!("warning: {warning}");
        }
        let gone = end.gone.map(|how| format!("; {} (pid {pid}) {how}", identity.name)).unwrap_or_default();
        eprintln!("{seen}{gone}");
    }
    output.end(written)
}

impl From<AttachedError> for Failure {
    fn from(error: AttachedError) -> Failure {
        let status = match &error {
            AttachedError::Attach { error: AttachError::Gone(_), .. } => ExitStatus::Target,
            _ => ExitStatus::Barred,
        };
        Failure::new(status, error.to_string())
    }
}

/// What ends a trace by itself.
struct End<'a> {
    deadline: Option<Instant>,
    identity: &'a Identity,
    /// Where the agent is.
    base: u64,
    next_look: Instant,
    /// What became of the process, if it is not there any more.
    gone: Option<&'static str>,
}

impl<'a> End<'a> {
    fn new(duration: Option<Duration>, identity: &'a Identity, base: u64) -> End<'a> {
        let now = Instant::now();
        End {
            deadline: duration.map(|duration| now + duration),
            identity,
            base,
            next_look: now + LOOK,
            gone: None,
        }
    }

    fn is_reached(&mut self, here: &mut Here) -> bool {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look(here);
        }
        self.gone.is_some() || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn look(&mut self, here: &mut Here) {
        let pid = self.identity.pid;
        let same = here.identity(pid).is_ok_and(|now| now.started == self.identity.started);
        self.gone = match (same, redirect::is_at(pid, self.base)) {
            (false, _) => Some("has ended"),
            (true, false) if ends(pid) => Some("has ended"),
            (true, false) => Some("runs another program now"),
            (true, true) => None,
        };
    }
}

/// Whether a process has ended and waits for its parent to take note, or is about to.
fn ends(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).map_or(true, |maps| maps.is_empty())
}

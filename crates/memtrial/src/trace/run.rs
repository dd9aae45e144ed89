//! `memtrial trace run`: hits of static probes, live.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anstream::eprintln;
use memtrial_events::{Selection, Table};
use memtrial_report::trace::{Counts, Sink};
use memtrial_report::wording::{plural, printable};
use memtrial_symbols::probes::Warning;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::probes::Fetched;
use memtrial_target::processes::has_ended;
use memtrial_trials::trace::catalog::{self, Catalog};
use memtrial_trials::trace::descriptions::Descriptions;
use memtrial_trials::trace::listing;
use memtrial_trials::trace::live::{self, Source};
use memtrial_trials::trace::static_probes::{Chosen, StaticProbes};

use super::writing::{self, Output, Stream};
use super::{list, said};
use crate::arguments::trace::{Run, Writing};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::session;

/// Between two looks whether the file is still the one that is watched.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks whether a count is over.
const TICK: Duration = Duration::from_millis(50);

/// Prints hits until the user interrupts, the time is over, or the processes named have ended.
pub fn run(arguments: &Run) -> Result<ExitStatus, Failure> {
    let selection = Selection::parse(&arguments.patterns)?;
    let file = catalog::file(&arguments.binary)?;
    let catalog = selected(&file, &arguments.pid, &selection)?;
    if catalog.is_empty() {
        return Err(list::nothing(&file.display().to_string(), &arguments.patterns, &catalog));
    }
    let how = &arguments.writing;
    writing::check(how, false)?;
    let mut descriptions = Descriptions::read(&how.events)?;
    let interrupt = Interrupt::new().map_err(|error| session::barred("cannot watch for signals", &error))?;
    let chosen = Chosen::all(&catalog);
    let mut table = Table { wall_offset: memtrial_target::processes::wall_offset(), ..Table::default() };
    let fetched = match (how.count, how.stack) {
        (true, _) => Fetched::Counts,
        (_, true) => Fetched::Stacks,
        _ => Fetched::Arguments,
    };
    let output = match (how.count, how.output.as_deref()) {
        (true, path) => Writes::Counts(writing::counts(path)?),
        (false, path) => {
            let output = writing::sink(how.format, false, path, Stream::Stdout, Some(&interrupt))?;
            Writes::Hits(output)
        }
    };
    let watched = StaticProbes::watch(&chosen, &arguments.pid, fetched, &mut descriptions, &mut table)?;
    let (mut probes, set) = watched;
    if !how.quiet {
        for warning in set.warnings.iter().chain(&hazards(&chosen)) {
            eprintln!("warning: {}", printable(warning));
        }
        let what = plural(set.probes as u64, "probe");
        eprintln!("watching {what} at {} of {}", plural(set.sites as u64, "site"), file.display());
    }
    let mut end = End::new(how, &file, &arguments.pid);
    let mut output = match output {
        Writes::Hits(output) => output,
        Writes::Counts(output) => {
            while !end.is_reached() && !interrupt.sleep(TICK) {}
            probes.stop();
            return count(&probes, &table, output);
        }
    };
    let (seen, result) =
        live::follow(&mut [&mut probes], &table, output.sink(), &interrupt, || end.is_reached());
    if !how.quiet {
        eprintln!("{}", said::in_words(&seen));
    }
    output.end(result)
}

/// What is written, opened before anything is watched.
enum Writes {
    Hits(Output),
    Counts(Output<Counts>),
}

/// Prints what the kernel has counted.
fn count(probes: &StaticProbes, table: &Table, mut output: Output<Counts>) -> Result<ExitStatus, Failure> {
    for (event, hits) in probes.counts() {
        output.sink().add(event, hits);
    }
    let written = output.sink().finish(table);
    output.end(written)
}

/// The probes selected: of the file, or of what the processes have loaded from there.
fn selected(file: &Path, pids: &[i32], selection: &Selection) -> Result<Catalog, Failure> {
    if pids.is_empty() {
        return Ok(catalog::of_file(file, selection)?);
    }
    let (mut all, mut known) = (Catalog::default(), HashSet::new());
    for pid in pids {
        let loaded = catalog::of_process(*pid, selection)?;
        let meant = |path: &Path, from: &Path| path == file || identity(from) == identity(file);
        let mut modules =
            loaded.modules.into_iter().filter(|module| meant(&module.path, &module.file)).peekable();
        if modules.peek().is_none() {
            let why = format!("process {pid} has not loaded {}", file.display());
            return Err(Failure::new(ExitStatus::Usage, why).help(format!(
                "`memtrial trace list --pid {pid}` shows the probes of all that it has loaded"
            )));
        }
        all.modules.extend(modules.filter(|module| known.insert(identity(&module.file))));
    }
    Ok(all)
}

/// What may go wrong at the sites chosen.
fn hazards(chosen: &[Chosen]) -> Vec<String> {
    let with = |wanted: Warning| {
        let has = |chosen: &&Chosen| chosen.probe.sites.iter().any(|site| site.warnings.contains(&wanted));
        let mut named = chosen.iter().filter(has).map(|chosen| chosen.probe.name.as_str());
        let first = named.next()?;
        Some((first, named.count()))
    };
    let all = [Warning::Nop5, Warning::SharedSemaphorePage].into_iter();
    let said = all.filter_map(|warning| {
        let (first, others) = with(warning)?;
        let others = if others > 0 { format!(" and {others} more") } else { String::new() };
        Some(format!("{first}{others}: {}", listing::warning(warning).explanation()))
    });
    said.collect()
}

/// What ends a trace by itself.
struct End<'a> {
    deadline: Option<Instant>,
    pids: &'a [i32],
    file: &'a Path,
    identity: Option<(u64, u64)>,
    next_look: Instant,
    quiet: bool,
}

impl<'a> End<'a> {
    fn new(how: &Writing, file: &'a Path, pids: &'a [i32]) -> End<'a> {
        let now = Instant::now();
        End {
            deadline: how.duration.map(|duration| now + duration),
            pids,
            file,
            identity: identity(file),
            next_look: now + LOOK,
            quiet: how.quiet,
        }
    }

    fn is_reached(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look();
        }
        let ended = |pid: &i32| has_ended(*pid);
        self.deadline.is_some_and(|deadline| now >= deadline)
            || !self.pids.is_empty() && self.pids.iter().all(ended)
    }

    /// Says once if the file was replaced: the kernel goes on watching the old one.
    fn look(&mut self) {
        let now = identity(self.file);
        if self.identity.is_some() && now != self.identity && !self.quiet {
            let path = self.file.display();
            eprintln!(
                "warning: {path} was replaced: processes started from now on are not watched; begin again for them"
            );
            self.identity = None;
        }
    }
}

/// Device and inode: the kernel watches these, whatever the name.
fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).map(|facts| (facts.dev(), facts.ino())).ok()
}

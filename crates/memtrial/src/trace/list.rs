//! `memtrial trace list`: the static probes of a program, a library or a process.

use std::io::{self, Write};
use std::path::Path;

use anstream::eprintln;
use memtrial_events::Selection;
use memtrial_report::wording::printable;
use memtrial_trials::trace::catalog::{self, Catalog, CatalogError};
use memtrial_trials::trace::listing::listing;
use memtrial_trials::trace::logging;
use memtrial_trials::trace::nearest::{nearest, unmatched};

use crate::arguments::trace::List;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::renderings;

/// Prints the probes that are selected.
pub fn run(arguments: &List) -> Result<ExitStatus, Failure> {
    let (subject, patterns, catalog) = match (arguments.pid, arguments.words.split_first()) {
        (Some(pid), _) => {
            let patterns = &arguments.words[..];
            (format!("process {pid}"), patterns, catalog::of_process(pid, &Selection::parse(patterns)?)?)
        }
        (None, Some((binary, patterns))) => {
            let selection = Selection::parse(patterns)?;
            let file = catalog::file(Path::new(binary))?;
            (file.display().to_string(), patterns, catalog::of_file(&file, &selection)?)
        }
        (None, None) => return Err(Failure::new(ExitStatus::Usage, "no BINARY and no --pid")),
    };
    let list = listing(&catalog);
    for warning in list.warnings() {
        eprintln!("warning: {warning}");
    }
    if catalog.is_empty() {
        return Err(nothing(&subject, patterns, &catalog));
    }
    let names: Vec<&str> = catalog.names().collect();
    for pattern in unmatched(patterns, &names) {
        let near = proposals(&[pattern], &names).map(|near| format!("; {near}")).unwrap_or_default();
        eprintln!("warning: no probe is called {}{near}", printable(pattern));
    }
    if arguments.json {
        let json = list.json().map_err(|error| Failure::new(ExitStatus::Bug, error.to_string()))?;
        renderings::print_as_it_is(&format!("{json}\n"))?;
    } else {
        print(&list.text(arguments.verbose))?;
    }
    Ok(ExitStatus::Passed)
}

fn print(text: &str) -> Result<(), Failure> {
    match anstream::stdout().write_all(text.as_bytes()) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result
            .map_err(|error| Failure::new(ExitStatus::Barred, format!("cannot write to stdout: {error}"))),
    }
}

/// That nothing is selected of what `subject` has, and what may have been meant.
pub fn nothing(subject: &str, patterns: &[String], catalog: &Catalog) -> Failure {
    let names: Vec<&str> = catalog.names().collect();
    let subject = printable(subject);
    if !names.is_empty() {
        let wanted = unmatched(patterns, &names);
        let failure = Failure::new(
            ExitStatus::Findings,
            format!("{subject} has no static probe that is selected by {}", printable(&patterns.join(" "))),
        );
        let all = format!("without a pattern `memtrial trace list` shows all {}", names.len());
        return failure.help(proposals(&wanted, &names).unwrap_or(all));
    }
    let failure = Failure::new(ExitStatus::Findings, format!("{subject} has no static probes"));
    match logging::of(Path::new(&subject)) {
        Some(logging) => failure.help(match logging.described {
            Some(file) => format!(
                "it logs its events instead: run it with {}; {} has their names and formats",
                logging.options,
                file.display()
            ),
            None => format!("it logs its events instead: run it with {}", logging.options),
        }),
        None => failure.help(
            "the libraries that it loads may have some: memtrial trace list --pid PID, while it runs; its memory events \
             are seen by memtrial trace exec -- CMD",
        ),
    }
}

fn proposals(patterns: &[&str], names: &[&str]) -> Option<String> {
    let near = nearest(patterns, names);
    (!near.is_empty()).then(|| format!("is one of these meant? {}", printable(&near.join(", "))))
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Failure {
        let message = printable(&error.to_string());
        match error {
            CatalogError::NotFound(_) => Failure::new(ExitStatus::Usage, message)
                .help("name a program or library by its path, as ./PROGRAM, or a process that has loaded it by --pid"),
            CatalogError::Script { interpreter, .. } => Failure::new(ExitStatus::Usage, message)
                .help(format!("name the program itself: {}, or what it starts", printable(&interpreter.display().to_string()))),
            CatalogError::Unreadable(_) => Failure::new(ExitStatus::Usage, message)
                .help("name an ELF program or library, or a process by --pid"),
            CatalogError::Gone(_) => Failure::new(ExitStatus::Target, message)
                .help("name a process that runs: see `pgrep -a NAME`"),
            CatalogError::Process { .. } => {
                Failure::new(ExitStatus::Barred, message).help("run memtrial as that user, or as root")
            }
        }
    }
}

//! `memtrial trace show`: a recording, printed or converted.

use anstream::eprintln;
use memtrial_events::Selection;
use memtrial_events::recording::{Recording, RecordingError};
use memtrial_report::wording::{plural, printable};

use super::writing::{self, Stream};
use crate::arguments::trace::Show;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Prints what is selected of a recording, and says what is missing in it.
pub fn run(show: &Show) -> Result<ExitStatus, Failure> {
    let selection = Selection::parse(&show.patterns)?;
    let recording = Recording::open(&show.file).map_err(|error| unreadable(&error))?;
    let table = recording.table();
    let selected: Vec<bool> =
        table.events.iter().map(|event| selection.selects(&event.provider, &event.name)).collect();
    if !show.patterns.is_empty() && !selected.contains(&true) {
        let names: Vec<String> =
            table.events.iter().take(20).map(|event| printable(&event.full_name())).collect();
        let message = format!("no event of {} is selected", show.file.display());
        return Err(Failure::new(ExitStatus::Findings, message).help(format!("it has {}", names.join(", "))));
    }
    let mut output = writing::sink(show.format, show.count, show.output.as_deref(), Stream::Stdout, None)?;
    let mut hits = recording.hits();
    let mut written = Ok(());
    let mut last = 0;
    while written.is_ok()
        && let Some(hit) = hits.next()
    {
        let hit =
            hit.map_err(|source| unreadable(&RecordingError::Io { path: show.file.clone(), source }))?;
        last = hit.time.max(last);
        if selected.get(hit.event) == Some(&true) {
            written = output.sink().hit(table, &hit);
        }
    }
    // When hits were lost, the recording does not say.
    let dropped = recording.dropped();
    let sink = output.sink();
    let written = written
        .and_then(|()| if dropped > 0 { sink.lost(table, dropped, last) } else { Ok(()) })
        .and_then(|()| sink.finish(table));
    let status = output.end(written)?;
    let warn = |count: u64, what: &str| {
        if count > 0 {
            eprintln!("warning: {} {what}", plural(count, "chunk"));
        }
    };
    if dropped > 0 {
        eprintln!("warning: {} found no room in the recording, and are lost", plural(dropped, "hit"));
    }
    warn(hits.damaged(), "cut or damaged; what was before the damage is shown");
    warn(hits.absent(), "begun but not in the file: it is cut, or its writer was killed");
    Ok(status)
}

fn unreadable(error: &RecordingError) -> Failure {
    Failure::new(ExitStatus::Usage, error.to_string())
        .help("name a file that was written by --format simple or --backend simple=FILE")
}

//! The figures of a load on a terminal: what was asked for, and what it did to a process.

use std::fmt::{self, Write};

use super::pieces::{BAD, DOUBTFUL, FAINT, STRONG};
use super::table::{self, Align};
use crate::stress::{Load, Loaded, Probe, Timing};
use crate::wording::{bytes, grouped, milliseconds, percent, plural, printable, rate, share};

/// Failures of the probe that are shown; the rest is in `findings.json`.
const FAILURES: usize = 3;

/// The load that was asked for.
pub fn write_load(out: &mut String, load: &Load) -> fmt::Result {
    line(out, "load", &load.sizes())?;
    line(out, "", &load.pace())?;
    line(out, "", &load.manner())
}

/// All figures of one process.
pub fn write(out: &mut String, loaded: &Loaded) -> fmt::Result {
    line(out, "loaded", &loaded.words())?;
    line(out, "agent", &loaded.entry())?;
    write_allocations(out, loaded)?;
    write_memory(out, loaded)?;
    write_contents(out, loaded)?;
    if let Some(limit) = &loaded.limit {
        line(out, "limit", &limit.words())?;
        line(out, "", &printable(&limit.sentence))?;
    }
    if let Some(probe) = &loaded.probe {
        write_probe(out, probe)?;
    }
    write_end(out, loaded)?;
    write_notes(out, loaded)
}

/// What a table of several does not say of one of them.
pub fn write_in_short(out: &mut String, loaded: &Loaded) -> fmt::Result {
    line(out, "loaded", &loaded.words())?;
    write_contents(out, loaded)?;
    if let Some(limit) = &loaded.limit {
        line(out, "limit", &format!("{}; {}", limit.words(), printable(&limit.sentence)))?;
    }
    write_end(out, loaded)?;
    write_notes(out, loaded)
}

fn write_allocations(out: &mut String, loaded: &Loaded) -> fmt::Result {
    let (all, resized, pace) = (grouped(loaded.allocations), grouped(loaded.reallocs), rate(loaded.rate()));
    line(out, "allocations", &format!("{all} ({resized} resized a chunk), {pace} a second"))?;
    let errors = plural(loaded.errors, "error");
    let (overflows, all) = (plural(loaded.overflows, "overflow"), bytes(loaded.allocated));
    line(out, "", &format!("{errors}, {overflows}, {all} allocated in all"))
}

fn write_memory(out: &mut String, loaded: &Loaded) -> fmt::Result {
    let (before, peak) = (bytes(loaded.before.resident), bytes(loaded.peak.resident));
    let after = loaded.after.map_or("not known".to_owned(), |after| bytes(after.resident));
    line(out, "RSS", &format!("{before} before, {peak} at its peak, {after} after freeing"))?;
    let live = bytes(loaded.peak.live);
    let fragmentation = match loaded.peak.fragmentation {
        Some(part) => format!("{} fragmentation", share(part)),
        None => "too little growth to tell fragmentation".to_owned(),
    };
    line(out, "at its peak", &format!("{live} live, {fragmentation}"))?;
    let grown = loaded.grown();
    let returned = match loaded.returned() {
        Some(back) => format!("{} of {} grown ({})", bytes(back), bytes(grown), percent(back, grown)),
        None => "not known: the process had ended".to_owned(),
    };
    line(out, "came back", &returned)?;
    match loaded.after {
        Some(after) => {
            let (before, after) = (bytes(loaded.before.private), bytes(after.private));
            let own = bytes(loaded.bookkeeping);
            line(
                out,
                "private",
                &format!("{before} before, {after} after freeing ({own} of it the agent's own)"),
            )
        }
        None => Ok(()),
    }
}

fn write_contents(out: &mut String, loaded: &Loaded) -> fmt::Result {
    if loaded.checked == 0 && loaded.overwritten_count == 0 {
        return Ok(());
    }
    let count = loaded.overwritten_count;
    let overwritten = match count {
        0 => "none overwritten".to_owned(),
        _ => format!("{BAD}{} overwritten{BAD:#}", grouped(count)),
    };
    let kept = loaded.overwritten.len() as u64;
    let shown = if kept < count { format!(" ({} kept)", grouped(kept)) } else { String::new() };
    line(out, "contents", &format!("{} looked at, {overwritten}{shown}", plural(loaded.checked, "chunk")))
}

fn write_probe(out: &mut String, probe: &Probe) -> fmt::Result {
    line(out, "probe", &printable(&probe.command))?;
    let cells = |name: &str, timing: &Timing| {
        let times = [timing.median_ms, timing.p95_ms, timing.max_ms];
        let times = times.map(|time| if timing.runs > 0 { milliseconds(time) } else { dash() });
        [name.to_owned(), grouped(timing.runs)].into_iter().chain(times).collect::<Vec<_>>()
    };
    let ratios = probe.ratios().map(|ratio| ratio.map_or_else(dash, |times| format!("{times:.2} ×")));
    let ratios = ["             ratio".to_owned(), String::new()].into_iter().chain(ratios).collect();
    let rows = [
        cells("             unloaded", &probe.unloaded),
        cells("             loaded", &probe.loaded),
        ratios,
    ];
    table::write(out, &["", "answered", "median", "95 %", "longest"], &[Align::Left], &rows)?;
    if probe.failed > 0 {
        let failed = format!("{BAD}{} failed{BAD:#} under load", grouped(probe.failed));
        line(out, "", &failed)?;
    }
    for failure in probe.failures.iter().take(FAILURES) {
        line(out, "", &format!("  after {:.1} s: {}", failure.seconds, printable(&failure.how)))?;
        write_printed(out, &failure.printed)?;
    }
    Ok(())
}

fn write_end(out: &mut String, loaded: &Loaded) -> fmt::Result {
    let Some(end) = &loaded.end else { return Ok(()) };
    let how = printable(&end.how);
    line(out, "end", &format!("{BAD}{how}{BAD:#} after {:.1} s of load", end.seconds))?;
    write_printed(out, &end.printed)
}

/// The last lines that a process printed.
fn write_printed(out: &mut String, printed: &str) -> fmt::Result {
    const LINES: usize = 5;
    let lines: Vec<&str> = printed.lines().filter(|line| !line.trim().is_empty()).collect();
    for printed in &lines[lines.len().saturating_sub(LINES)..] {
        line(out, "", &format!("  {FAINT}|{FAINT:#} {}", printable(printed)))?;
    }
    Ok(())
}

fn write_notes(out: &mut String, loaded: &Loaded) -> fmt::Result {
    for note in &loaded.notes {
        line(out, "", &format!("{DOUBTFUL}note{DOUBTFUL:#}: {}", printable(note)))?;
    }
    Ok(())
}

/// A line of figures behind its title.
fn line(out: &mut String, title: &str, text: &str) -> fmt::Result {
    writeln!(out, "{STRONG}{title:<11}{STRONG:#}  {text}")
}

fn dash() -> String {
    "–".to_owned()
}

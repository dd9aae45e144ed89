//! The report of `memtrial leak` as people read it on a terminal.

use std::fmt::{self, Write};

use anstyle::Style;

use super::pieces::{BAD, DOUBTFUL, FAINT, GOOD, STRONG, WIDTH, write_stack};
use super::plot::{Along, PLOT_HEIGHT, plot};
use super::table::{self, Align};
use crate::leak::{
    Finding, FindingKind, Judgement, Located, LocatedSite, MappingChange, Process, Report, Role, Sample,
    Verdict,
};
use crate::wording::{bytes, change, duration, grouped, growth, plural, printable};

/// Targets shown with plot and maps; those of all are in `report.html`.
const TARGETS: usize = 3;
/// Mappings shown of the difference between the maps; the rest is in `findings.json`.
const MAPPINGS: usize = 8;

/// Sites shown of those with living blocks; the rest is in `findings.json`.
const SITES: usize = 8;

/// The whole report: findings worst first, then what was seen, and last the verdict. Coloured by escape sequences,
/// which whoever prints it strips where they do not belong.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string never fails.
    let _ = write_report(&mut text, report);
    text
}

/// Samples so far (rounds and sizes in bytes) as a plot of so many columns and lines; empty for less than two.
#[must_use]
pub fn progress_plot(samples: &[(u32, u64)], width: usize, height: usize) -> String {
    plot(Along::Rounds, samples, width, height)
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    for finding in &report.findings {
        write_finding(out, report, finding)?;
        writeln!(out)?;
    }
    for failed in &report.failed_rounds {
        writeln!(out, "{DOUBTFUL}failed{DOUBTFUL:#}: round {}: {}", failed.round, printable(&failed.why))?;
    }
    for warning in &report.warnings {
        writeln!(out, "{DOUBTFUL}warning{DOUBTFUL:#}: {}", printable(warning))?;
    }
    let shown = in_full(&report.processes);
    for process in &shown {
        write_plot(out, process)?;
    }
    if !report.processes.is_empty() {
        write_judgements(out, &report.processes)?;
        write_memory(out, &report.processes)?;
    }
    for process in &shown {
        write_map_difference(out, process)?;
    }
    for located in &report.located {
        write_located(out, located)?;
    }
    if let Some(why) = &report.not_located {
        writeln!(out, "{STRONG}blocks{STRONG:#}  not followed: {}", printable(why))?;
    }
    for comparison in &report.comparisons {
        let [low, high] = comparison.interval;
        let (sentence, range) = (printable(&comparison.sentence), between(low, high));
        writeln!(out, "{STRONG}against{STRONG:#} {}: {sentence} ({range})", printable(&comparison.folder))?;
    }
    write_verdict(out, report)
}

/// The targets shown with plot and maps: of many those that come out worst.
fn in_full(processes: &[Process]) -> Vec<&Process> {
    let mut targets: Vec<&Process> =
        processes.iter().filter(|process| process.role == Role::Target).collect();
    targets.sort_by_key(|process| process.verdict().unwrap_or(Verdict::Clean));
    targets.truncate(TARGETS);
    targets
}

fn write_verdict(out: &mut String, report: &Report) -> fmt::Result {
    let style = style(report.verdict);
    let certainty = report.certainty.map_or(String::new(), |certainty| format!(" ({})", certainty.word()));
    writeln!(
        out,
        "{style}{}{certainty}{style:#}: {} ({} in {})",
        report.verdict.word(),
        printable(&report.sentence),
        plural(report.rounds.into(), "round"),
        duration(report.seconds),
    )?;
    if report.exit_status == 130 {
        writeln!(
            out,
            "{DOUBTFUL}interrupted{DOUBTFUL:#}: what is known so far is above; `--resume` goes on"
        )?;
    }
    Ok(())
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Leak => BAD,
        Verdict::Inconclusive => DOUBTFUL,
        Verdict::Clean => GOOD,
    }
}

fn write_finding(out: &mut String, report: &Report, finding: &Finding) -> fmt::Result {
    let (what, certainty) = match finding.kind {
        FindingKind::Died => ("died", String::new()),
        FindingKind::Site | FindingKind::Growth => ("leak", format!(" ({})", finding.certainty.word())),
    };
    writeln!(out, "{BAD}{what}{BAD:#}{certainty}  {STRONG}{}{STRONG:#}", printable(&finding.sentence),)?;
    let site = finding.site.as_deref().unwrap_or("");
    let at = if site.is_empty() { String::new() } else { format!(", site {site}") };
    writeln!(out, "  in {} (pid {}){at}", printable(&finding.name), finding.pid)?;
    if let Some(located) = report.site_of(finding) {
        write_survivors(out, located)?;
    }
    if !finding.stack.is_empty() {
        write_stack(out, "allocated in", &finding.stack)?;
    }
    writeln!(out, "  reproduce: {STRONG}{}{STRONG:#}", printable(&finding.repro))
}

/// Living blocks of a site: their ages, addresses, and how many nothing points to.
fn write_survivors(out: &mut String, site: &LocatedSite) -> fmt::Result {
    writeln!(
        out,
        "  {} alive ({}), {}: from {} of {}",
        plural(site.blocks, "block"),
        bytes(site.bytes),
        site.survival.words(),
        site.rounds_with,
        plural(site.rounds.into(), "round"),
    )?;
    let oldest = site.by_round.iter().position(|&count| count > 0);
    let ages = oldest.map_or(String::new(), |round| {
        let age = site.by_round.len() - 1 - round;
        format!("the oldest for {}, ", plural(age as u64, "round"))
    });
    let lost = match site.unreachable {
        Some(0) => ", all reachable",
        Some(count) if count == site.blocks => ", none reachable",
        Some(count) => &format!(", {} unreachable", grouped(count)),
        None => "",
    };
    let [first, last] = site.addresses;
    writeln!(out, "  {ages}at {first:#x} to {last:#x}{lost}")
}

fn write_plot(out: &mut String, process: &Process) -> fmt::Result {
    let private = |sample: &Sample| (sample.round, sample.figures.held_privately());
    let points: Vec<(u32, u64)> = process.samples.iter().map(private).collect();
    let drawn = plot(Along::Rounds, &points, WIDTH, PLOT_HEIGHT);
    if drawn.is_empty() {
        return Ok(());
    }
    let (name, pid) = (printable(&process.name), process.pid);
    writeln!(out, "{STRONG}private memory{STRONG:#} of {name} (pid {pid}) after each round")?;
    writeln!(out, "{drawn}")
}

fn write_judgements(out: &mut String, processes: &[Process]) -> fmt::Result {
    let mut rows = Vec::new();
    for process in processes {
        let Some(judgement) = process.decisive() else {
            rows.push(row([name(process), process.role.word().to_owned(), "too short".to_owned()]));
            continue;
        };
        rows.push(row([
            name(process),
            process.role.word().to_owned(),
            judgement.verdict.word().to_owned(),
            growth(judgement.slope),
            judgement.interval.map_or_else(dash, |[low, high]| between(low, high)),
            judgement.detectable.map_or_else(dash, growth),
        ]));
    }
    let header = ["process", "role", "verdict", "a round", "90 % sure", "detectable"];
    table::write(out, &header, &[Align::Left, Align::Left, Align::Left], &rows)?;
    for process in processes {
        if let Some(fate) = &process.fate {
            writeln!(out, "  {}: {}", name(process), printable(fate))?;
        }
        for judgement in &process.judgements {
            write_reason(out, process, judgement)?;
        }
    }
    writeln!(out)
}

fn write_reason(out: &mut String, process: &Process, judgement: &Judgement) -> fmt::Result {
    let Some(reason) = judgement.reason else { return Ok(()) };
    let (measure, verdict) = (judgement.measure.words(), judgement.verdict.word());
    writeln!(out, "  {}: {measure} {verdict}: {}", name(process), reason.text())
}

fn write_memory(out: &mut String, processes: &[Process]) -> fmt::Result {
    let mut rows = Vec::new();
    for process in processes {
        let (Some(first), Some(last)) = (process.samples.first(), process.samples.last()) else { continue };
        let (first, last) = (&first.figures, &last.figures);
        rows.push(row([
            name(process),
            bytes(first.held_privately()),
            bytes(last.held_privately()),
            change(first.resident, last.resident),
            change(first.proportional, last.proportional),
            difference(first.mappings, last.mappings),
            difference(first.threads, last.threads),
            difference(first.descriptors, last.descriptors),
        ]));
    }
    let header = ["process", "private", "at end", "RSS", "PSS", "maps", "threads", "fds"];
    table::write(out, &header, &[Align::Left], &rows)?;
    writeln!(out)
}

fn write_map_difference(out: &mut String, process: &Process) -> fmt::Result {
    let changes = &process.map_difference;
    if changes.is_empty() {
        return Ok(());
    }
    let (title, name) = ("mappings that changed", name(process));
    writeln!(
        out,
        "{STRONG}{title}{STRONG:#} in {name}: {} of {}",
        changes.len().min(MAPPINGS),
        changes.len()
    )?;
    let mut shown: Vec<&MappingChange> = changes.iter().take(MAPPINGS).collect();
    shown.sort_by_key(|change| change.class);
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|mapping| {
            row([
                mapping.class.words().to_owned(),
                change(mapping.size[0], mapping.size[1]),
                change(mapping.resident[0], mapping.resident[1]),
                change(mapping.private_dirty[0], mapping.private_dirty[1]),
                shortened(&mapping.name, 28),
            ])
        })
        .collect();
    let header = ["class", "size", "resident", "dirty", "name"];
    let right = Align::Right;
    table::write(out, &header, &[Align::Left, right, right, right, Align::Left], &rows)?;
    writeln!(out)
}

fn write_located(out: &mut String, located: &Located) -> fmt::Result {
    let name = printable(&located.name);
    writeln!(
        out,
        "{STRONG}blocks{STRONG:#} of {name} (pid {}) from {}, followed for {} {}",
        located.pid,
        printable(&located.allocator),
        plural(located.rounds.into(), "round"),
        located.way.words(),
    )?;
    for site in located.sites.iter().take(SITES) {
        let place = crate::frames::place(&site.stack, crate::frames::is_foreign);
        let survival = site.survival.words();
        writeln!(
            out,
            "  {:<18} {}  {}, {} in {} of {}",
            survival,
            site.site,
            plural(site.blocks, "block"),
            bytes(site.bytes),
            site.rounds_with,
            plural(site.rounds.into(), "round"),
        )?;
        writeln!(out, "    {FAINT}{place}{FAINT:#}")?;
    }
    if let Some(more @ 1..) = located.sites.len().checked_sub(SITES) {
        writeln!(out, "  … {} more in findings.json", plural(more as u64, "site"))?;
    }
    if let Some(fragmentation) = located.fragmentation {
        let [held, live, private] =
            [fragmentation.held(), fragmentation.live_growth, fragmentation.private_growth].map(signed);
        writeln!(out, "  private memory {private}: live blocks {live}, the allocator beyond them {held}",)?;
    }
    write_limits(out, located)
}

/// What following the blocks did not see.
fn write_limits(out: &mut String, located: &Located) -> fmt::Result {
    if let Some(mean) = located.sampled {
        writeln!(out, "  one block in {} is followed; the counts are estimates", bytes(mean))?;
    }
    if let Some(stopped) = located.stopped_ms {
        writeln!(out, "  the target stood still for {stopped:.1} ms when the agent came in")?;
    }
    let [count, size] = located.freed_from_before;
    if count > 0 {
        let size = bytes(size);
        writeln!(out, "  {} ({size}) from before were freed meanwhile", plural(count, "block"))?;
    }
    if located.dropped > 0 {
        let dropped = plural(located.dropped, "allocation");
        writeln!(out, "  {DOUBTFUL}{dropped} could not be kept{DOUBTFUL:#}: the counts are too low")?;
    }
    for note in &located.notes {
        writeln!(out, "  note: {}", printable(note))?;
    }
    writeln!(out)
}

fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.into()
}

fn dash() -> String {
    "–".to_owned()
}

fn name(process: &Process) -> String {
    shortened(&process.name, 12)
}

fn shortened(text: &str, most: usize) -> String {
    let text = printable(text);
    let count = text.chars().count();
    if count <= most {
        return text;
    }
    // The end of a path says more than its start.
    format!("…{}", text.chars().skip(count + 1 - most).collect::<String>())
}

fn between(low: f64, high: f64) -> String {
    format!("{} to {}", growth(low), growth(high))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn signed(bytes: i64) -> String {
    growth(bytes as f64)
}

/// A count at start and end, or once if both are equal.
fn difference(before: u64, after: u64) -> String {
    if before == after { grouped(after) } else { format!("{}→{}", grouped(before), grouped(after)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clean_report, leak_report};

    fn plain(report: &Report) -> String {
        anstream::adapter::strip_str(&super::report(report)).to_string()
    }

    #[test]
    fn a_leak_is_told_with_its_site_first_and_its_verdict_last() {
        let text = plain(&leak_report());
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("leak (confirmed)  2 blocks (1.0 KiB) in every one of 61 rounds"),
            "{text}"
        );
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("leak (confirmed): server leaks"), "{text}");
        for part in [
            "/src/server/session.c:88 session_open",
            "the oldest for 60 rounds",
            "at 0x55819a0012a0 to 0x55819a01ffe0",
            "61 unreachable",
        ] {
            assert!(text.contains(part), "{part:?} is missing\n{text}");
        }
    }

    #[test]
    fn names_from_a_target_can_not_act_on_the_terminal() {
        let text = plain(&leak_report());
        assert!(!super::report(&leak_report()).contains("\u{1b}[2J"), "{text}");
        assert!(!text.contains("\nroot#"), "{text}");
    }

    #[test]
    fn tables_and_plots_fit_the_terminal() {
        let processes = &leak_report().processes;
        let mut text = String::new();
        write_plot(&mut text, &processes[0]).unwrap();
        write_memory(&mut text, processes).unwrap();
        write_map_difference(&mut text, &processes[0]).unwrap();
        let text = anstream::adapter::strip_str(&text).to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn a_clean_run_says_so() {
        let text = plain(&clean_report());
        assert!(text.trim_end().ends_with("would have shown (120 rounds in 61.5 s)"), "{text}");
        assert!(text.contains("not followed: nothing grows"), "{text}");
    }
}

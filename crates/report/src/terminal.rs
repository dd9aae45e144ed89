//! The report as people read it on a terminal.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::model::{Coverage, Crash, Difference, End, Finding, Frame, Grade, Report, Site, Verdict};

/// Frames shown of a stack; the rest is in `findings.json`.
const FRAMES: usize = 12;
/// Allocations named under a finding that stands for several.
const NAMED: usize = 4;

const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// The whole report: findings worst first, then what was tested and what it came to. Coloured by escape
/// sequences, which whoever prints it strips where they do not belong.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string never fails.
    let _ = write_report(&mut text, report);
    text
}

/// The census: sites with count, bytes and stack.
#[must_use]
pub fn census(report: &Report, sites: &[Site]) -> String {
    let mut text = String::new();
    let _ = write_census(&mut text, report, sites);
    text
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    for finding in &report.findings {
        write_finding(out, finding)?;
        writeln!(out)?;
    }
    if !report.unconfirmed.is_empty() {
        writeln!(
            out,
            "{DOUBTFUL}unconfirmed{DOUBTFUL:#}: shown by a snapshot, not by a plain rerun; not counted"
        )?;
        for finding in &report.unconfirmed {
            let note = finding.note.as_deref().unwrap_or("no rerun was made");
            writeln!(out, "  {} {}:{}  {note}", finding.verdict.word(), finding.site, finding.nth)?;
        }
        writeln!(out)?;
    }
    for warning in report.warnings.iter().chain(&report.reference.differences) {
        writeln!(out, "{DOUBTFUL}warning{DOUBTFUL:#}: {warning}")?;
    }
    write_summary(out, report)
}

fn write_summary(out: &mut String, report: &Report) -> fmt::Result {
    let reference = &report.reference;
    writeln!(
        out,
        "{STRONG}reference{STRONG:#}  {} of {} at {}, {}",
        plural(reference.allocations, "allocation"),
        bytes(reference.bytes),
        plural(reference.sites, "site"),
        end(reference.end),
    )?;
    write_coverage(out, &report.coverage, reference.allocations)?;
    write!(out, "{STRONG}outcomes{STRONG:#}   ")?;
    for (number, (verdict, count)) in report.verdicts.iter().enumerate() {
        let style = if report.policy.passes(*verdict) { Style::new() } else { BAD };
        let separator = if number == 0 { "" } else { ", " };
        write!(out, "{separator}{style}{} {}{style:#}", grouped(*count), verdict.word())?;
    }
    writeln!(out)?;
    let injections: u64 = report.findings.iter().map(|finding| finding.injections).sum();
    let policy = report.policy.word();
    if report.exit_status == 130 {
        writeln!(out, "{DOUBTFUL}interrupted{DOUBTFUL:#}: what is known so far is above; `--resume` goes on")
    } else if report.findings.is_empty() {
        writeln!(out, "{GOOD}passed{GOOD:#} under policy {policy}, fault {}", report.fault)
    } else {
        let findings = plural(report.findings.len() as u64, "finding");
        writeln!(
            out,
            "{BAD}{findings}{BAD:#} from {} under policy {policy}, fault {}",
            plural(injections, "injection"),
            report.fault
        )
    }
}

fn write_coverage(out: &mut String, coverage: &Coverage, allocations: u64) -> fmt::Result {
    writeln!(
        out,
        "{STRONG}tested{STRONG:#}     {} of {} planned ({} of all), {}: {} by snapshot, {} by rerun",
        grouped(coverage.tested),
        grouped(coverage.planned),
        percent(coverage.tested, allocations),
        plural(coverage.sites_tested, "site"),
        grouped(coverage.by_snapshot),
        grouped(coverage.by_rerun),
    )?;
    if let Some(why) = &coverage.snapshots_ended {
        writeln!(out, "           no snapshots: {why}")?;
    }
    for (why, count) in &coverage.handed_over {
        writeln!(out, "           {} made again as reruns: {why}", plural(*count, "snapshot"))?;
    }
    if let Some(why) = &coverage.stopped {
        writeln!(out, "           stopped: {why}")?;
    }
    Ok(())
}

fn write_finding(out: &mut String, finding: &Finding) -> fmt::Result {
    let place = place(finding);
    write!(out, "{BAD}{}{BAD:#}{}", finding.verdict.word(), grade(finding.grade))?;
    writeln!(out, "  {STRONG}{place}{STRONG:#}  {}", how(finding))?;
    let message = finding.crash.as_ref().and_then(|crash| crash.message.as_ref());
    for said in finding.note.iter().chain(message.filter(|message| finding.note.as_ref() != Some(message))) {
        writeln!(out, "  {}", printable(said))?;
    }
    writeln!(out, "  {}", stands_for(finding))?;
    write_stack(out, "allocation that failed", &finding.stack)?;
    if let Some(crash) = &finding.crash {
        write_crash(out, finding.verdict, crash)?;
    }
    if let Some(difference) = &finding.difference {
        write_difference(out, difference)?;
    }
    writeln!(out, "  reproduce: {STRONG}{}{STRONG:#}", finding.repro)
}

/// How many injections and sites a finding stands for, and the first of them.
fn stands_for(finding: &Finding) -> String {
    let first = format!("{}:{}", finding.site, finding.nth);
    if finding.sites.len() <= 1 {
        return format!("failing {first} ({})", plural(finding.injections, "injection"));
    }
    let others: Vec<&str> =
        finding.sites.iter().filter(|site| **site != first).map(String::as_str).take(NAMED).collect();
    let more = finding.sites.len() - 1 - others.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (injections, sites) = (plural(finding.injections, "injection"), finding.sites.len());
    format!("failing {first}, also {}{more} ({injections} at {sites} sites)", others.join(", "))
}

fn grade(grade: Option<Grade>) -> &'static str {
    match grade {
        Some(Grade::Complained) => " (complained on stderr)",
        Some(Grade::NotAWord) => " (not a word)",
        None => "",
    }
}

/// Where to look first: the crash if there is one, else the allocation; `file:line` if known. The first frame
/// that is not the system's, and if that has no name, the next one that has.
fn place(finding: &Finding) -> String {
    let stack = finding.crash.as_ref().map_or(&finding.stack, |crash| &crash.stack);
    let mut ours = stack.iter().filter(|frame| !is_system(frame) && !frame.module.is_empty());
    let Some(first) = ours.next().or_else(|| stack.first()) else { return "unknown place".to_owned() };
    match ours.find(|frame| frame.function.is_some()) {
        Some(named) if first.function.is_none() => format!("{} below {}", short(first), short(named)),
        _ => short(first),
    }
}

fn is_system(frame: &Frame) -> bool {
    let base = frame.module.rsplit('/').next().unwrap_or("");
    ["libc.so", "libstdc++.so", "libgcc_s.so", "ld-linux"].iter().any(|library| base.starts_with(library))
}

fn how(finding: &Finding) -> String {
    match &finding.crash {
        Some(crash) => match crash.address {
            Some(address) => format!("{} at address {address:#x}", crash.signal),
            None => crash.signal.clone(),
        },
        None => end(finding.end),
    }
}

fn write_crash(out: &mut String, verdict: Verdict, crash: &Crash) -> fmt::Result {
    let title = if verdict == Verdict::Crashed { "crashed in" } else { "gave up in" };
    write_stack(out, title, &crash.stack)
}

fn write_stack(out: &mut String, title: &str, stack: &[Frame]) -> fmt::Result {
    writeln!(out, "  {title}")?;
    for (number, frame) in stack.iter().take(FRAMES).enumerate() {
        writeln!(out, "    {FAINT}#{number:<2}{FAINT:#} {}", line(frame))?;
    }
    match stack.len().saturating_sub(FRAMES) {
        0 => Ok(()),
        more => writeln!(out, "    {FAINT}… {more} more{FAINT:#}"),
    }
}

fn write_difference(out: &mut String, difference: &Difference) -> fmt::Result {
    writeln!(out, "  {} differs from line {} on", difference.of, difference.line)?;
    let nothing = || "(ends here)".to_owned();
    let show = |lines: &[String]| if lines.is_empty() { vec![nothing()] } else { lines.to_vec() };
    for line in show(&difference.reference) {
        writeln!(out, "    - {}", printable(&line))?;
    }
    for line in show(&difference.injection) {
        writeln!(out, "    + {}", printable(&line))?;
    }
    Ok(())
}

fn write_census(out: &mut String, report: &Report, sites: &[Site]) -> fmt::Result {
    for warning in report.warnings.iter().chain(&report.reference.differences) {
        writeln!(out, "{DOUBTFUL}warning{DOUBTFUL:#}: {warning}")?;
    }
    for site in sites {
        let size = bytes(site.bytes);
        writeln!(out, "{STRONG}{}{STRONG:#}  {}, {size}", site.site, plural(site.count, "allocation"))?;
        for frame in &site.stack {
            writeln!(out, "    {}", line(frame))?;
        }
    }
    let reference = &report.reference;
    writeln!(
        out,
        "{} of {} at {}",
        plural(reference.allocations, "allocation"),
        bytes(reference.bytes),
        plural(reference.sites, "site")
    )
}

/// A frame in a line: `file:line` first, so that editors can jump.
fn line(frame: &Frame) -> String {
    let function = frame.function.as_deref().unwrap_or("?");
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let base = base(&frame.module);
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{file}:{line} {function}{inlined} [{base}]"),
        _ if frame.module.is_empty() => format!("{:#x}", frame.offset),
        _ => match frame.function_offset {
            Some(offset) => format!("{function}+{offset:#x} [{base}+{:#x}]", frame.offset),
            None => format!("{function}{inlined} [{base}+{:#x}]", frame.offset),
        },
    }
}

fn short(frame: &Frame) -> String {
    let function = frame.function.as_deref();
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => match function {
            Some(function) => format!("{file}:{line} {function}"),
            None => format!("{file}:{line}"),
        },
        _ if frame.module.is_empty() => format!("{:#x}", frame.offset),
        _ => match function {
            Some(function) => format!("{function} [{}]", base(&frame.module)),
            None => format!("{}+{:#x}", base(&frame.module), frame.offset),
        },
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn end(end: End) -> String {
    match end {
        End::Exit(status) => format!("exit status {status}"),
        End::Signal(signal) => format!("signal {signal}"),
        End::Timeout => "no end within the time limit".to_owned(),
        End::Flood => "output without end".to_owned(),
    }
}

/// What a target wrote, with control characters made visible: they would act on the terminal.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = count as f64;
    let mut unit = "B";
    for next in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!((grouped(7), grouped(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
        assert_eq!((bytes(12), bytes(1536)), ("12 B".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(percent(1, 8), "12.5 %");
    }

    #[test]
    fn what_a_target_wrote_can_not_act_on_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}

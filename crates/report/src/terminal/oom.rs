//! The report of `memtrial oom` as people read it on a terminal.

use std::fmt::{self, Write};

use anstyle::Style;

use super::pieces::{BAD, DOUBTFUL, GOOD, STRONG, write_stack};
use crate::frames;
use crate::model::{Coverage, Crash, Difference, Finding, Grade, Report, Site, Verdict};
use crate::wording::{bytes, grouped, percent, plural, printable};

/// Allocations named under a finding that stands for several.
const NAMED: usize = 4;

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
        reference.end.words(),
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
    let place = finding.place();
    write!(out, "{BAD}{}{BAD:#}{}", finding.verdict.word(), finding.grade.map_or("", Grade::words))?;
    writeln!(out, "  {STRONG}{place}{STRONG:#}  {}", finding.how())?;
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

fn write_crash(out: &mut String, verdict: Verdict, crash: &Crash) -> fmt::Result {
    let title = if verdict == Verdict::Crashed { "crashed in" } else { "gave up in" };
    write_stack(out, title, &crash.stack)
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
            writeln!(out, "    {}", frames::line(frame))?;
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

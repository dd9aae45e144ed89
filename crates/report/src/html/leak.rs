//! The page of `memtrial leak`.

use maud::{Markup, html};

use super::bars::bars;
use super::{document, flame, memory, pieces, series};
use crate::frames;
use crate::leak::{Comparison, Finding, FindingKind, Located, LocatedSite, Report};
use crate::wording::{bytes, duration, grouped, growth, plural, printable};

/// Sites shown with stack and rounds; then so many with a line each.
const SITES: usize = 20;
const LINES: usize = 200;

/// The report as a page.
pub fn page(report: &Report) -> String {
    let content = html! {
        h1 { "memtrial leak: " (printable(&report.target)) }
        (verdict(report))
        (pieces::command(&report.command))
        dl.facts {
            (pieces::fact("rounds", &format!("{} of at most {}", grouped(report.rounds.into()), grouped(report.rounds_allowed.into()))))
            (pieces::fact("time", &duration(report.seconds)))
            (pieces::fact("tolerated", &format!("{} a round", bytes(report.tolerated))))
            @if let Some(host) = &report.host { (pieces::fact("host", &printable(host))) }
        }
        (pieces::warnings(&report.warnings))
        @if !report.findings.is_empty() {
            h2 { "Findings" }
            @for found in &report.findings { (finding(report, found)) }
        }
        h2 { "Processes" }
        (memory::judgements(&report.processes))
        @for (number, process) in report.processes.iter().enumerate() { (memory::section(number, process)) }
        h2 { "Blocks" }
        @if let Some(why) = &report.not_located { p { "Not followed: " (printable(why)) } }
        (flame::graph(&report.located))
        @for located in &report.located { (self::located(located)) }
        @if !report.comparisons.is_empty() { (comparisons(&report.comparisons)) }
        @if !report.failed_rounds.is_empty() {
            h2 { "Failed rounds" }
            @for failed in &report.failed_rounds { p { "round " (failed.round) ": " (printable(&failed.why)) } }
        }
    };
    document::frame(
        &format!("memtrial leak: {}", printable(&report.target)),
        &content,
        Some(&series::of(report)),
    )
}

fn verdict(report: &Report) -> Markup {
    let certainty = report.certainty.map_or(String::new(), |certainty| format!(" ({})", certainty.word()));
    html! {
        p.verdict.(memory::class(report.verdict)) role="status" {
            b { (report.verdict.word()) (certainty) }
            span { (printable(&report.sentence)) }
        }
        @if report.exit_status == 130 { p { b.doubtful { "interrupted" } ": what is known so far is here" } }
    }
}

fn finding(report: &Report, finding: &Finding) -> Markup {
    let (word, certainty) = match finding.kind {
        FindingKind::Died => ("died", ""),
        FindingKind::Site | FindingKind::Growth => ("leak", finding.certainty.word()),
    };
    html! {
        article {
            h3 { span.bad { (word) } " " (printable(&finding.sentence)) }
            p.faint {
                (certainty) " in " (printable(&finding.name)) " (pid " (finding.pid) ")"
                @if let Some(site) = &finding.site { ", site " code { (site) } }
            }
            @if let Some(site) = report.site_of(finding) { (survivors(site)) }
            @if !finding.stack.is_empty() { (pieces::stack("allocated in", &finding.stack)) }
            (pieces::repro(&finding.repro))
        }
    }
}

/// The living blocks of a site, with their rounds drawn.
fn survivors(site: &LocatedSite) -> Markup {
    let [first, last] = site.addresses;
    html! {
        p {
            (plural(site.blocks, "block")) " alive (" (bytes(site.bytes)) "), " (site.survival.words()) ": from "
            (site.rounds_with) " of " (plural(site.rounds.into(), "round"))
            @if let Some(count) = site.unreachable { ", " (grouped(count)) " unreachable" }
            ", at " code { (format!("{first:#x}")) } " to " code { (format!("{last:#x}")) }
        }
        (bars(&site.by_round))
    }
}

fn located(located: &Located) -> Markup {
    let [count, size] = located.freed_from_before;
    html! {
        h3 { "Sites with living blocks in " (printable(&located.name)) " (pid " (located.pid) ")" }
        p {
            "Blocks from " (printable(&located.allocator)) ", followed for "
            (plural(located.rounds.into(), "round")) " " (located.way.words()) "."
            @if let Some(mean) = located.sampled { " One block in " (bytes(mean)) " is followed: the counts are estimates." }
            @if let Some(stopped) = located.stopped_ms { " The target stood still for " (format!("{stopped:.1}")) " ms." }
            @if count > 0 { " " (plural(count, "block")) " (" (bytes(size)) ") from before were freed meanwhile." }
        }
        @if located.dropped > 0 {
            p.doubtful { (plural(located.dropped, "allocation")) " could not be kept: the counts are too low." }
        }
        @if let Some(fragmentation) = located.fragmentation {
            p {
                "Private memory " (signed(fragmentation.private_growth)) ": live blocks "
                (signed(fragmentation.live_growth)) ", the allocator beyond them " (signed(fragmentation.held())) "."
            }
        }
        @for note in &located.notes { p { b { "note" } ": " (printable(note)) } }
        @for site in located.sites.iter().take(SITES) {
            article {
                h3 { code { (site.site) } " " (site.survival.words()) }
                (survivors(site))
                (pieces::stack("allocated in", &site.stack))
            }
        }
        @if located.sites.len() > SITES { (more_sites(&located.sites[SITES..])) }
    }
}

/// Sites in a line each: there can be many.
fn more_sites(sites: &[LocatedSite]) -> Markup {
    html! {
        details {
            summary { (plural(sites.len() as u64, "more site")) }
            div.scroll {
                table {
                    thead { tr { th.word { "site" } th.word { "blocks are" } th { "alive" } th { "bytes" } th { "rounds" } th.word { "at" } } }
                    tbody {
                        @for site in sites.iter().take(LINES) {
                            tr {
                                td.word { code { (site.site) } } td.word { (site.survival.words()) }
                                td { (grouped(site.blocks)) } td { (bytes(site.bytes)) }
                                td { (site.rounds_with) " of " (site.rounds) }
                                td.name { code { (frames::place(&site.stack, frames::is_foreign)) } }
                            }
                        }
                    }
                }
            }
            @if sites.len() > LINES { p.faint { (plural((sites.len() - LINES) as u64, "more site")) " in findings.json" } }
        }
    }
}

fn comparisons(comparisons: &[Comparison]) -> Markup {
    html! {
        h2 { "Against a stored run" }
        div.scroll {
            table {
                thead { tr { th.word { "process" } th { "there" } th { "here" } th { "difference, 90 % sure" } th.word { "" } } }
                tbody {
                    @for comparison in comparisons {
                        @let [there, here] = comparison.slopes;
                        @let [low, high] = comparison.interval;
                        tr {
                            td.name { (printable(&comparison.name)) }
                            td { (growth(there)) } td { (growth(here)) }
                            td { (growth(low)) " to " (growth(high)) }
                            td.name { (printable(&comparison.sentence)) " (" (printable(&comparison.folder)) ")" }
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn signed(bytes: i64) -> String {
    growth(bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::leak::Process;
    use crate::testing::{clean_report, leak_report};

    #[test]
    fn a_page_has_all_there_is_to_say() {
        let page = page(&leak_report());
        for part in
            ["session_open", "0x55819a0012a0", "known-good.out", "round 7", "1.0 KiB a round", "from before"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn names_from_a_target_are_no_markup() {
        let page = page(&leak_report());
        assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains('\u{1b}'));
    }

    #[test]
    fn a_clean_run_without_located_blocks_has_a_page_too() {
        assert!(page(&clean_report()).contains("Not followed: nothing grows"));
    }

    #[test]
    fn a_long_run_of_several_processes_stays_small() {
        let mut report = leak_report();
        let long = |process: &Process| {
            let mut process = process.clone();
            process.samples = (0..480)
                .map(|round| {
                    let mut sample = process.samples[round % process.samples.len()];
                    sample.round = u32::try_from(round).unwrap();
                    sample.figures.private_dirty += 4096 * (round as u64 * 7919 % 1000);
                    sample
                })
                .collect();
            process
        };
        report.processes = (0..5).map(|number| long(&report.processes[number % 2])).collect();
        let size = page(&report).len();
        assert!(size < 400_000, "{size} bytes");
    }
}

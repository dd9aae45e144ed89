//! The page of `memtrial oom`.

use maud::{Markup, html};

use super::{document, pieces};
use crate::model::{Difference, Finding, Grade, Report, Verdict};
use crate::wording::{bytes, command_line, grouped, percent, plural, printable};

/// The report as a page.
pub fn page(report: &Report) -> String {
    let content = html! {
        h1 { "memtrial oom" }
        (verdict(report))
        (pieces::command(&report.command))
        (facts(report))
        (pieces::warnings(report.warnings.iter().chain(&report.reference.differences)))
        h2 { "Outcomes" }
        (verdicts(report))
        @if !report.findings.is_empty() {
            h2 { "Findings" }
            @for found in &report.findings { (finding(found, "bad")) }
        }
        @if !report.unconfirmed.is_empty() {
            h2 { "Unconfirmed" }
            p.faint { "Shown by a snapshot, not by a plain rerun; not counted." }
            @for found in &report.unconfirmed { (finding(found, "doubtful")) }
        }
    };
    document::frame(&format!("memtrial oom: {}", printable(&command_line(&report.command))), &content, None)
}

fn verdict(report: &Report) -> Markup {
    let policy = report.policy.word();
    let injections: u64 = report.findings.iter().map(|finding| finding.injections).sum();
    let (class, word, sentence) = if report.exit_status == 130 {
        ("doubtful", "interrupted", "what is known so far is below".to_owned())
    } else if report.findings.is_empty() {
        ("good", "passed", format!("under policy {policy}, fault {}", report.fault))
    } else {
        let findings = plural(report.findings.len() as u64, "finding");
        let injections = plural(injections, "injection");
        (
            "bad",
            "failed",
            format!("{findings} from {injections} under policy {policy}, fault {}", report.fault),
        )
    };
    html! { p.verdict.(class) role="status" { b { (word) } span { (sentence) } } }
}

fn facts(report: &Report) -> Markup {
    let (reference, coverage) = (&report.reference, &report.coverage);
    html! {
        dl.facts {
            (pieces::fact("reference", &format!(
                "{} of {} at {}, {}",
                plural(reference.allocations, "allocation"),
                bytes(reference.bytes),
                plural(reference.sites, "site"),
                reference.end.words(),
            )))
            (pieces::fact("tested", &format!(
                "{} of {} planned ({} of all), {}: {} by snapshot, {} by rerun",
                grouped(coverage.tested),
                grouped(coverage.planned),
                percent(coverage.tested, reference.allocations),
                plural(coverage.sites_tested, "site"),
                grouped(coverage.by_snapshot),
                grouped(coverage.by_rerun),
            )))
            @if let Some(why) = &coverage.snapshots_ended { (pieces::fact("no snapshots", &printable(why))) }
            @for (why, count) in &coverage.handed_over {
                (pieces::fact("made again", &format!("{} as reruns: {}", plural(*count, "snapshot"), printable(why))))
            }
            @if let Some(why) = &coverage.stopped { (pieces::fact("stopped", &printable(why))) }
        }
    }
}

fn verdicts(report: &Report) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th.word { "verdict" } th { "outcomes" } th.word { "under the policy" } } }
                tbody {
                    @for (verdict, count) in &report.verdicts {
                        @let passes = report.policy.passes(*verdict);
                        tr {
                            td.word { (verdict.word()) }
                            td { (grouped(*count)) }
                            td.word.(if passes { "good" } else { "bad" }) { (if passes { "passes" } else { "fails" }) }
                        }
                    }
                }
            }
        }
    }
}

fn finding(finding: &Finding, class: &str) -> Markup {
    let crashed = if finding.verdict == Verdict::Crashed { "crashed in" } else { "gave up in" };
    let message = finding.crash.as_ref().and_then(|crash| crash.message.as_ref());
    let said = finding.note.iter().chain(message.filter(|message| finding.note.as_ref() != Some(message)));
    html! {
        article {
            h3 {
                span.(class) { (finding.verdict.word()) (finding.grade.map_or("", Grade::words)) }
                "  " (finding.place())
            }
            p { (finding.how()) }
            @for said in said { p { (printable(said)) } }
            p.faint {
                "failing " (finding.site) ":" (finding.nth) " ("
                (plural(finding.injections, "injection")) " at " (plural(finding.sites.len() as u64, "site")) ")"
            }
            @if finding.sites.len() > 1 {
                details { summary { "all sites" } p { code { (finding.sites.join(" ")) } } }
            }
            @if let Some(crash) = &finding.crash { (pieces::stack(crashed, &crash.stack)) }
            (pieces::stack("allocation that failed", &finding.stack))
            @if let Some(difference) = &finding.difference { (differs(difference)) }
            (pieces::repro(&finding.repro))
        }
    }
}

fn differs(difference: &Difference) -> Markup {
    html! {
        p.faint { (printable(&difference.of)) " differs from line " (difference.line) " on" }
        pre {
            @if difference.reference.is_empty() { "- (ends here)\n" }
            @for line in &difference.reference { "- " (printable(line)) "\n" }
            @if difference.injection.is_empty() { "+ (ends here)\n" }
            @for line in &difference.injection { "+ " (printable(line)) "\n" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::testing::{oom_report, oom_report_with_findings};

    #[test]
    fn a_finding_has_its_stacks_and_its_command() {
        let page = page(&oom_report_with_findings());
        for part in [
            "SIGSEGV at address 0x10",
            "crashed in",
            "allocation that failed",
            "memtrial oom --at 3fa91c02:1",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn a_run_that_passed_says_so() {
        assert!(page(&oom_report()).contains("passed"));
    }
}

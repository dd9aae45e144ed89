//! The page of `memtrial stress`.

use maud::{Markup, html};

use super::{document, load, pieces};
use crate::dump;
use crate::frames;
use crate::stress::comparison::columns;
use crate::stress::{Finding, Overwrite, Report, Verdict};
use crate::wording::{bytes, duration, plural, printable};

/// The report as a page.
pub fn page(report: &Report) -> String {
    let content = html! {
        h1 { "memtrial stress: " (printable(&report.target)) }
        (verdict(report))
        (pieces::command(&report.command))
        dl.facts {
            (pieces::fact("chunks", &report.load.sizes()))
            (pieces::fact("pace", &report.load.pace()))
            (pieces::fact("load", &report.load.manner()))
            (pieces::fact("time", &duration(report.seconds)))
        }
        (pieces::warnings(&report.warnings))
        @if !report.findings.is_empty() {
            h2 { "Findings" }
            @for found in &report.findings { (finding(report, found)) }
        }
        @if report.compares() {
            h2 { "Side by side" }
            (comparison(report))
        }
        (load::charts(&report.loaded))
        @for loaded in &report.loaded { (load::section(loaded)) }
    };
    let title = format!("memtrial stress: {}", printable(&report.target));
    document::frame(&title, &content, Some(&load::data(&report.loaded)))
}

fn verdict(report: &Report) -> Markup {
    let class = match report.verdict {
        Verdict::Died | Verdict::Overwritten | Verdict::Unanswered => "bad",
        Verdict::Inconclusive => "doubtful",
        Verdict::Held => "good",
    };
    html! {
        p.verdict.(class) role="status" {
            b { (report.verdict.word()) }
            span { (printable(&report.sentence)) }
        }
        @if report.interrupted() { p { b.doubtful { "interrupted" } ": what is known so far is here" } }
    }
}

fn finding(report: &Report, finding: &Finding) -> Markup {
    let name = report.loaded_of(finding).map_or(String::new(), |loaded| printable(&loaded.name) + " ");
    let chunk = report.chunk_of(finding);
    html! {
        article {
            h3 { span.bad { (finding.kind.word()) } " " (printable(&finding.message)) }
            p.faint {
                @if !finding.stack.is_empty() { (frames::place(&finding.stack, frames::is_foreign)) " " }
                "in " (name) "(pid " (finding.pid) "), " (plural(finding.count, "time"))
            }
            @match chunk {
                Some(chunk) => (overwritten(chunk)),
                None => @if !finding.stack.is_empty() { (pieces::stack("seen in", &finding.stack)) },
            }
            (pieces::repro(&finding.repro))
        }
    }
}

/// A chunk that was overwritten: where, what is there instead, and whose block may be to blame.
fn overwritten(chunk: &Overwrite) -> Markup {
    let digits = dump::DIGITS;
    let header = format!("{:<8}  {:<digits$}  {:<digits$}  as text\n", "offset", "expected", "found");
    html! {
        p {
            "Chunk of " (bytes(chunk.size)) " at " code { (printable(&chunk.address)) } " (" (chunk.whose()) "): "
            (chunk.extent()) "."
        }
        pre {
            code {
                span.faint { (header) }
                @for line in dump::lines(chunk.offset, &chunk.expected, &chunk.found) {
                    (format!("{:<8}  {:<digits$}  ", format!("+{:#x}", line.offset), line.expected))
                    b { (format!("{:<digits$}", line.found)) } (format!("  |{}|\n", line.text))
                }
            }
        }
        @if let Some(more) = chunk.beyond_dump() { p.faint { (plural(more, "more byte")) } }
        @for suspect in &chunk.suspects {
            @let title = format!("{} of {} at {} (site {}), allocated in", suspect.words(), bytes(suspect.size),
                printable(&suspect.address), printable(&suspect.site));
            (pieces::stack(&title, &suspect.stack))
        }
        @if !chunk.stack.is_empty() { (pieces::stack("the chunk was allocated in", &chunk.stack)) }
    }
}

/// The table of several; the best of a column is marked by a star too, for whoever does not see that it is bold.
fn comparison(report: &Report) -> Markup {
    let columns = columns(&report.load, &report.loaded);
    html! {
        div.scroll {
            table {
                thead { tr { th.word { "loaded" } @for column in &columns { th { (column.title) } } } }
                tbody {
                    @for (row, loaded) in report.loaded.iter().enumerate() {
                        tr {
                            td.name { (printable(&loaded.name)) " " span.faint { (printable(&loaded.allocator)) } }
                            @for column in &columns {
                                @let (text, best) = &column.cells[row];
                                td { @if *best { b { (text) " *" } } @else { (text) } }
                            }
                        }
                    }
                }
            }
        }
        p.faint { "* the best of its column" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HOSTILE, allocators_report, stress_report};

    #[test]
    fn a_page_has_all_there_is_to_say() {
        let page = page(&stress_report());
        for part in [
            "session_open",
            "0x7f3a1c0042a0",
            "just before it lies a block of 40 B",
            "5f bd ff e3 c5 80 00 00",
            "|long nam|",
            "66.0 MiB of 68.0 MiB",
            "1.50 ×",
            "memtrial stress --pid 4211 --check-content --seed 7",
            "met 12 times",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn allocators_share_their_charts() {
        let report = allocators_report();
        let page = page(&report);
        assert!(page.contains("<b>8,345,679 *</b>") && page.contains("7.2 % *"));
        assert_eq!(page.matches("class=\"chart\"").count(), 3);
    }

    #[test]
    fn names_from_a_target_are_no_markup() {
        let mut report = stress_report();
        report.loaded[0].name = HOSTILE.to_owned();
        report.loaded[0].overwritten[0].address = HOSTILE.to_owned();
        report.loaded[0].overwritten[0].suspects[0].site = HOSTILE.to_owned();
        let page = page(&report);
        assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains('\u{1b}'));
    }

    #[test]
    fn a_long_run_stays_small() {
        let mut report = allocators_report();
        for loaded in &mut report.loaded {
            loaded.samples = (0..20_000).map(|step| loaded.samples[step % loaded.samples.len()]).collect();
        }
        let size = page(&report).len();
        assert!(size < 400_000, "{size} bytes");
    }
}

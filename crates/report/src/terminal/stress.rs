//! The report of `memtrial stress` as people read it on a terminal.

use std::fmt::{self, Write};

use anstyle::Style;

use super::pieces::{BAD, DOUBTFUL, FAINT, GOOD, STRONG, WIDTH, write_stack};
use super::plot::{Along, PLOT_HEIGHT, plot};
use super::{comparison, load};
use crate::dump;
use crate::frames;
use crate::stress::{Finding, Loaded, Overwrite, Report, Verdict};
use crate::wording::{bytes, duration, plural, printable};

/// The whole report: findings worst first, then what was seen, and last the verdict. Coloured by escape sequences,
/// which whoever prints it strips where they do not belong.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string never fails.
    let _ = write_report(&mut text, report);
    text
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    for finding in &report.findings {
        write_finding(out, report, finding)?;
        writeln!(out)?;
    }
    for warning in &report.warnings {
        writeln!(out, "{DOUBTFUL}warning{DOUBTFUL:#}: {}", printable(warning))?;
    }
    if report.compares() {
        comparison::write(out, report)?;
    }
    if let [loaded] = &report.loaded[..] {
        write_plot(out, loaded)?;
    }
    load::write_load(out, &report.load)?;
    for loaded in &report.loaded {
        if report.compares() {
            load::write_in_short(out, loaded)?;
        } else {
            load::write(out, loaded)?;
        }
    }
    writeln!(out)?;
    write_verdict(out, report)
}

fn write_verdict(out: &mut String, report: &Report) -> fmt::Result {
    let style = style(report.verdict);
    let (word, sentence) = (report.verdict.word(), printable(&report.sentence));
    writeln!(out, "{style}{word}{style:#}: {sentence} ({})", duration(report.seconds))?;
    if report.interrupted() {
        writeln!(out, "{DOUBTFUL}interrupted{DOUBTFUL:#}: what is known so far is above")?;
    }
    Ok(())
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Died | Verdict::Overwritten | Verdict::Unanswered => BAD,
        Verdict::Inconclusive => DOUBTFUL,
        Verdict::Held => GOOD,
    }
}

fn write_finding(out: &mut String, report: &Report, finding: &Finding) -> fmt::Result {
    let kind = finding.kind.word();
    let place = match &finding.stack[..] {
        [] => String::new(),
        stack => format!("{STRONG}{}{STRONG:#}  ", frames::place(stack, frames::is_foreign)),
    };
    writeln!(out, "{BAD}{kind}{BAD:#}  {place}{}", printable(&finding.message))?;
    let name = report.loaded_of(finding).map_or(String::new(), |loaded| printable(&loaded.name) + " ");
    let often = if finding.count > 1 { format!(", {} times", finding.count) } else { String::new() };
    writeln!(out, "  in {name}(pid {}){often}", finding.pid)?;
    match report.chunk_of(finding) {
        Some(chunk) => write_chunk(out, chunk)?,
        None if !finding.stack.is_empty() => write_stack(out, "seen in", &finding.stack)?,
        None => {}
    }
    writeln!(out, "  reproduce: {STRONG}{}{STRONG:#}", printable(&finding.repro))
}

/// An overwritten chunk without a report around it: what the report says of it, and the call stack that allocated it.
#[must_use]
pub fn chunk(chunk: &Overwrite) -> String {
    let mut text = format!("{BAD}overwritten{BAD:#}\n");
    let _ = write_chunk(&mut text, chunk);
    if !chunk.stack.is_empty() {
        let _ = write_stack(&mut text, "the chunk was allocated in", &chunk.stack);
    }
    text
}

/// An overwritten chunk: where, what is there instead, and whose block may be to blame.
fn write_chunk(out: &mut String, chunk: &Overwrite) -> fmt::Result {
    let (address, size) = (printable(&chunk.address), bytes(chunk.size));
    writeln!(out, "  chunk of {size} at {address} ({}): {}", chunk.whose(), chunk.extent())?;
    let digits = dump::DIGITS;
    writeln!(out, "    {FAINT}offset    {:<digits$}  found{FAINT:#}", "expected")?;
    for line in dump::lines(chunk.offset, &chunk.expected, &chunk.found) {
        let (offset, expected) = (format!("+{:#x}", line.offset), line.expected);
        writeln!(out, "    {offset:<8}  {expected:<digits$}  {:<digits$}  |{}|", line.found, line.text)?;
    }
    if let Some(more) = chunk.beyond_dump() {
        writeln!(out, "    {FAINT}… {} more{FAINT:#}", plural(more, "byte"))?;
    }
    for suspect in &chunk.suspects {
        let (size, address, site) =
            (bytes(suspect.size), printable(&suspect.address), printable(&suspect.site));
        let title = format!("{} of {size} at {address} (site {site}), allocated in", suspect.words());
        write_stack(out, &title, &suspect.stack)?;
    }
    Ok(())
}

fn write_plot(out: &mut String, loaded: &Loaded) -> fmt::Result {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0; it ends at 49 days")]
    let time = |seconds: f64| (seconds * 1000.0) as u32;
    let samples = loaded.thinned(WIDTH * 4);
    let points: Vec<(u32, u64)> =
        samples.iter().map(|sample| (time(sample.seconds), sample.resident)).collect();
    let drawn = plot(Along::Time, &points, WIDTH, PLOT_HEIGHT);
    if drawn.is_empty() {
        return Ok(());
    }
    let (name, pid) = (printable(&loaded.name), loaded.pid);
    writeln!(out, "{STRONG}resident memory{STRONG:#} of {name} (pid {pid}) under load")?;
    writeln!(out, "{drawn}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::End;
    use crate::testing::{HOSTILE, allocators_report, stress_report};

    fn plain(report: &Report) -> String {
        anstream::adapter::strip_str(&super::report(report)).to_string()
    }

    #[test]
    fn an_overwritten_chunk_is_told_with_its_place_first_and_the_verdict_last() {
        let text = plain(&stress_report());
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("overwritten  /src/server/buffer.h:12 buffer_new  12 bytes"), "{text}");
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(
            last,
            "overwritten: server overwrote 3 chunks, and did not answer 2 of 602 probes (63.5 s)"
        );
        for part in [
            "  chunk of 64 B at 0x7f3a1c0042a0 (allocation 812 of test 2): 12 bytes from offset 0 are not as it was\n",
            "    +0x0      5f bd ff e3 c5 80 00 00  6c 6f 6e 67 20 6e 61 6d  |long nam|\n",
            "    +0x8      57 bd ff e3              65 20 00 41              |e .A|\n",
            "  just before it lies a block of 40 B at 0x7f3a1c004270 (site 9b1c22d0), allocated in\n",
            "  in its place lay, until it was freed, a block of 60 B",
            "came back    66.0 MiB of 68.0 MiB grown (97.1 %)\n",
            "             ratio                1.50 ×   2.50 ×  60.25 ×\n",
            "limit        256.0 MiB more than before, by a control group (v2): met 12 times\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing\n{text}");
        }
        let findings: Vec<&str> = text.split("\n\n").take(2).collect();
        for finding in findings {
            assert!(finding.lines().last().unwrap_or_default().starts_with("  reproduce: memtrial stress"));
        }
    }

    #[test]
    fn allocators_stand_beside_each_other_with_the_best_marked() {
        let text = plain(&allocators_report());
        let expected = [
            "loaded    allocations/s   peak RSS  fragmentation  RSS after  came back  errors",
            "glibc        4,123,457   70.0 MiB*         7.2 %*  66.0 MiB      5.9 %       0",
            "jemalloc     5,234,568   78.0 MiB         16.8 %   12.0 MiB     86.8 %       0",
            "mimalloc     8,345,679*  74.0 MiB         12.1 %    9.0 MiB*    90.3 %*      0",
            "* the best of its column",
        ];
        assert_eq!(text.lines().take(5).collect::<Vec<_>>(), expected, "{text}");
        for part in ["░ 9.0 MiB of 74.0 MiB", "held: glibc, jemalloc and mimalloc held (34.0 s)"] {
            assert!(text.contains(part), "{part:?} is missing\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn what_ended_says_how_and_what_it_printed_last() {
        let mut report = allocators_report();
        report.loaded[0].after = None;
        report.loaded[0].end = Some(End {
            seconds: 2.5,
            how: "was ended by SIGSEGV".to_owned(),
            printed: "first\nlast\u{1b}[2J\n".to_owned(),
        });
        let text = plain(&report);
        assert!(text.contains("end          was ended by SIGSEGV after 2.5 s of load\n"), "{text}");
        assert!(text.contains("▒ – of 70.0 MiB") && text.contains("| last\u{fffd}[2J"), "{text}");
        report.loaded.truncate(1);
        assert!(plain(&report).contains("came back    not known: the process had ended\n"));
    }

    #[test]
    fn a_run_without_samples_or_processes_is_told_too() {
        let mut report = stress_report();
        report.loaded[0].samples.clear();
        assert!(!plain(&report).contains("resident memory of"));
        report.loaded.clear();
        report.exit_status = 130;
        assert!(plain(&report).trim_end().ends_with("interrupted: what is known so far is above"));
    }

    #[test]
    fn names_from_a_target_can_not_act_on_the_terminal() {
        let mut report = stress_report();
        report.loaded[0].name = HOSTILE.to_owned();
        report.loaded[0].allocator = HOSTILE.to_owned();
        report.findings[0].repro = HOSTILE.to_owned();
        for text in
            [&mut report.loaded[0].overwritten[0].address, &mut report.sentence, &mut report.load.sizes]
        {
            *text = HOSTILE.to_owned();
        }
        let text = super::report(&report);
        assert!(!text.contains("\u{1b}[2J") && !text.contains("\nroot#"), "{text}");
    }
}

//! The part of a stress page about what was loaded: charts of memory over time, and the figures of each process.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::pieces;
use crate::stress::{End, Loaded, Probe, Sample, Timing};
use crate::wording::{bytes, grouped, milliseconds, percent, plural, printable, rate, share};

/// Points drawn of each process: more can't be told apart.
const POINTS: usize = 1000;
/// Chunks listed of those that were overwritten; the rest is in `findings.json`.
const CHUNKS: usize = 100;

/// A figure by its name.
type Figure = (&'static str, fn(&Sample) -> u64);

/// What is drawn of the samples.
const FIGURES: [Figure; 3] = [
    ("resident", |sample| sample.resident),
    ("private", |sample| sample.private),
    ("live", |sample| sample.live),
];

/// The data of all charts: of one process its figures in one chart, of several a chart for each figure.
pub fn data(loaded: &[Loaded]) -> Value {
    let drawn: Vec<(&Loaded, Vec<&Sample>)> = loaded.iter().map(|one| (one, one.thinned(POINTS))).collect();
    let times = |samples: &[&Sample]| -> Vec<f64> {
        samples.iter().map(|sample| (sample.seconds * 1000.0).round() / 1000.0).collect()
    };
    let line = |label: &str, samples: &[&Sample], figure: fn(&Sample) -> u64| {
        let values: Vec<u64> = samples.iter().map(|&sample| figure(sample)).collect();
        json!({ "label": printable(label), "seconds": times(samples), "values": values })
    };
    let charts: Vec<Vec<Value>> = if let [(_, samples)] = &drawn[..] {
        vec![FIGURES.iter().map(|(name, figure)| line(name, samples, *figure)).collect()]
    } else {
        let of_all = |figure| drawn.iter().map(|(one, samples)| line(&one.name, samples, figure)).collect();
        FIGURES.iter().map(|(_, figure)| of_all(*figure)).collect()
    };
    json!({ "loads": charts })
}

/// The places of the charts.
pub fn charts(loaded: &[Loaded]) -> Markup {
    let titles: &[&str] = match loaded {
        [] => &[],
        [_] => &["Memory under load"],
        _ => &["Resident memory", "Private memory", "Live in chunks"],
    };
    html! {
        @if loaded.iter().any(|one| one.samples.len() > 1) {
            h2 { "Memory over time" }
            div.charts {
                @for (number, title) in titles.iter().enumerate() {
                    @let about = format!("{title}, by seconds; the arrow keys go from sample to sample");
                    div.chart id=(format!("load-{number}")) tabindex="0" role="group" aria-label=(about) {
                        h4 { (title) }
                    }
                }
            }
            @if loaded.iter().any(|one| one.samples.len() > POINTS) {
                p.faint { "Of each stretch of time the sample with the most resident memory is drawn; samples.csv has all." }
            } @else {
                p.faint { "samples.csv has the values." }
            }
        }
    }
}

/// All figures of one process.
pub fn section(loaded: &Loaded) -> Markup {
    html! {
        h2 { (loaded.words()) }
        dl.facts {
            (pieces::fact("agent", &loaded.entry()))
            (pieces::fact("allocations", &format!("{} ({} resized a chunk), {} a second",
                grouped(loaded.allocations), grouped(loaded.reallocs), rate(loaded.rate()))))
            (pieces::fact("errors", &grouped(loaded.errors)))
            (pieces::fact("overflows", &grouped(loaded.overflows)))
            (pieces::fact("allocated", &bytes(loaded.allocated)))
            (memory(loaded))
            @if loaded.checked > 0 || loaded.overwritten_count > 0 {
                (pieces::fact("contents", &format!("{} looked at, {} overwritten",
                    plural(loaded.checked, "chunk"), grouped(loaded.overwritten_count))))
            }
            @if let Some(limit) = &loaded.limit {
                (pieces::fact("limit", &format!("{}; {}", limit.words(), printable(&limit.sentence))))
            }
        }
        @if let Some(end) = &loaded.end { (ended(end)) }
        @for note in &loaded.notes { p { b { "note" } ": " (printable(note)) } }
        @if let Some(probe) = &loaded.probe { (self::probe(probe)) }
        @if !loaded.overwritten.is_empty() { (chunks(loaded)) }
    }
}

fn memory(loaded: &Loaded) -> Markup {
    let after = loaded.after.map_or("not known: it had ended".to_owned(), |after| bytes(after.resident));
    let grown = loaded.grown();
    let back = loaded
        .returned()
        .map(|back| format!("{} of {} grown ({})", bytes(back), bytes(grown), percent(back, grown)));
    let private = loaded.after.map_or("not known".to_owned(), |after| bytes(after.private));
    html! {
        (pieces::fact("RSS", &format!("{} before, {} at its peak, {after} after freeing",
            bytes(loaded.before.resident), bytes(loaded.peak.resident))))
        (pieces::fact("live at its peak", &bytes(loaded.peak.live)))
        (pieces::fact("fragmentation", &loaded.peak.fragmentation.map_or("too little growth to tell".to_owned(), share)))
        (pieces::fact("came back", &back.unwrap_or_else(|| "not known".to_owned())))
        (pieces::fact("private", &format!("{} before, {private} after freeing ({} of it the agent's own)",
            bytes(loaded.before.private), bytes(loaded.bookkeeping))))
    }
}

fn ended(end: &End) -> Markup {
    html! {
        p { b.bad { "end" } ": " (printable(&end.how)) " after " (format!("{:.1}", end.seconds)) " s of load" }
        (printed(&end.printed))
    }
}

/// What a process printed, line by line.
fn printed(text: &str) -> Markup {
    let text: Vec<String> = text.lines().map(printable).collect();
    html! { @if !text.is_empty() { pre { code { (text.join("\n")) } } } }
}

fn probe(probe: &Probe) -> Markup {
    let row = |name: &str, timing: &Timing| {
        let times = [timing.median_ms, timing.p95_ms, timing.max_ms];
        html! {
            tr {
                td.word { (name) } td { (grouped(timing.runs)) }
                @for time in times { td { (if timing.runs > 0 { milliseconds(time) } else { "–".to_owned() }) } }
            }
        }
    };
    html! {
        h3 { "Probe " code { (printable(&probe.command)) } }
        div.scroll {
            table {
                thead { tr { th.word { "" } th { "answered" } th { "median" } th { "95 %" } th { "longest" } } }
                tbody {
                    (row("unloaded", &probe.unloaded))
                    (row("loaded", &probe.loaded))
                    tr {
                        td.word { "ratio" } td {}
                        @for ratio in probe.ratios() {
                            td { (ratio.map_or("–".to_owned(), |times| format!("{times:.2} ×"))) }
                        }
                    }
                }
            }
        }
        @if probe.failed > 0 { p { b.bad { (grouped(probe.failed)) " failed" } " under load" } }
        @for failure in &probe.failures {
            p { "after " (format!("{:.1}", failure.seconds)) " s: " (printable(&failure.how)) }
            (printed(&failure.printed))
        }
    }
}

/// The overwritten chunks, a line each.
fn chunks(loaded: &Loaded) -> Markup {
    html! {
        h3 { "Overwritten chunks: " (grouped(loaded.overwritten.len() as u64)) " of " (grouped(loaded.overwritten_count)) }
        div.scroll {
            table {
                thead { tr { th.word { "address" } th { "size" } th { "offset" } th { "length" } th.word { "chunk" } } }
                tbody {
                    @for chunk in loaded.overwritten.iter().take(CHUNKS) {
                        tr {
                            td.word.mono { (printable(&chunk.address)) } td { (bytes(chunk.size)) }
                            td { (grouped(chunk.offset)) } td { (grouped(chunk.length)) } td.name { (chunk.whose()) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{allocators_report, stress_report};

    #[test]
    fn one_process_has_a_chart_of_its_figures_and_several_one_for_each_figure() {
        let one = data(&stress_report().loaded);
        assert_eq!(
            (one["loads"].as_array().unwrap().len(), &one["loads"][0][2]["label"]),
            (1, &json!("live"))
        );
        let report = allocators_report();
        let several = data(&report.loaded);
        assert_eq!(several["loads"].as_array().unwrap().len(), 3);
        let line = &several["loads"][0][1];
        assert_eq!((&line["label"], &line["seconds"][20]), (&json!("jemalloc"), &json!(10.0)));
        assert_eq!(line["values"][20], report.loaded[1].samples[20].resident);
    }
}

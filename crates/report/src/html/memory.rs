//! The part of a leak page about processes: what they are judged to be, their charts, and their maps.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::leak::{Judgement, MappingChange, MappingClass, Process, Verdict};
use crate::wording::{bytes, change, grouped, growth, printable};

/// The class that colours a verdict.
pub fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Leak => "bad",
        Verdict::Inconclusive => "doubtful",
        Verdict::Clean => "good",
    }
}

/// The table of judgements: two lines a process. Of the rounds those of the warm-up are taken off.
pub fn judgements(processes: &[Process]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th.word { "process" } th.word { "role" } th.word { "memory" } th.word { "verdict" }
                        th { "a round" } th { "90 % sure" } th { "detectable" } th { "rounds" }
                        th { "start" } th { "end" }
                    }
                }
                tbody { @for process in processes { (process_rows(process)) } }
            }
        }
        @for process in processes { (reasons(process)) }
    }
}

fn process_rows(process: &Process) -> Markup {
    let who = html! {
        td.name { (printable(&process.name)) " " span.faint { (process.pid) } }
        td.word { (process.role.word()) }
    };
    html! {
        @if process.judgements.is_empty() {
            tr { (who) td.word colspan="8" { "too few rounds to say" } }
        }
        @for judgement in &process.judgements {
            tr { (who) (judgement_cells(process, judgement)) }
        }
    }
}

fn judgement_cells(process: &Process, judgement: &Judgement) -> Markup {
    use crate::leak::{Figures, Measure};
    let figure: fn(&Figures) -> u64 = match judgement.measure {
        Measure::Private => Figures::held_privately,
        Measure::Resident => Figures::held,
    };
    let held = |sample: Option<&crate::leak::Sample>| sample.map_or(0, |sample| figure(&sample.figures));
    let certainty = judgement.certainty.map_or(String::new(), |certainty| format!(" ({})", certainty.word()));
    html! {
        td.word { (judgement.measure.words()) }
        td.word.(class(judgement.verdict)) { (judgement.verdict.word()) (certainty) }
        td { (growth(judgement.slope)) }
        td { @match judgement.interval {
            Some([low, high]) => { (growth(low)) " to " (growth(high)) }
            None => "–",
        } }
        td { (judgement.detectable.map_or("–".to_owned(), growth)) }
        td { (judgement.rounds) " − " (judgement.warm_up) }
        td { (bytes(held(process.samples.first()))) }
        td { (bytes(held(process.samples.last()))) }
    }
}

fn reasons(process: &Process) -> Markup {
    let name = printable(&process.name);
    html! {
        @if let Some(fate) = &process.fate { p { (name) ": " (printable(fate)) } }
        @for judgement in &process.judgements {
            @if let Some(reason) = judgement.reason {
                p { (name) ": " (judgement.measure.words()) " " (judgement.verdict.word()) ": " (reason.text()) }
            }
        }
    }
}

/// Charts, values and map difference of one process; `number` is its place in the data of the charts.
pub fn section(number: usize, process: &Process) -> Markup {
    let name = printable(&process.name);
    html! {
        section {
            h3 { (name) " (pid " (process.pid) ", " (process.role.word()) ")" }
            @if process.samples.len() > 1 {
                div.charts {
                    (chart("memory", number, "", "Memory: change since the start", &name))
                    (chart("aside", number, "small", "Swapped out, lazily freed, in huge pages", &name))
                    (chart("counts", number, "small", "Mappings, threads, descriptors", &name))
                }
                details data-process=(number) {
                    summary { "values of all " (process.samples.len()) " samples" }
                    div.scroll {}
                }
            } @else {
                p.faint { "too few samples to draw" }
            }
            (map_difference(number, &process.map_difference))
        }
    }
}

fn chart(kind: &str, number: usize, class: &str, title: &str, name: &str) -> Markup {
    let about = format!("{title}, of {name}, by round; the arrow keys go from round to round");
    html! {
        div.chart.(class) id=(format!("{kind}-{number}")) tabindex="0" role="group" aria-label=(about) {
            h4 { (title) }
        }
    }
}

fn map_difference(number: usize, changes: &[MappingChange]) -> Markup {
    if changes.is_empty() {
        return html! {};
    }
    let classes: BTreeSet<MappingClass> = changes.iter().map(|change| change.class).collect();
    let id = format!("maps-{number}");
    html! {
        h4 { "Mappings that changed: " (grouped(changes.len() as u64)) }
        @if classes.len() > 1 {
            label.filter {
                "class "
                select data-filter=(id) {
                    option value="" { "all" }
                    @for class in &classes { option value=(class.words()) { (class.words()) } }
                }
            }
        }
        div.scroll {
            table id=(id) {
                thead {
                    tr {
                        th.word { "class" } th { "address" } th { "size" } th { "change" } th { "resident" }
                        th { "change" } th { "dirty" } th { "change" } th.word { "name" }
                    }
                }
                tbody { @for mapping in changes { (mapping_row(mapping)) } }
            }
        }
    }
}

fn mapping_row(mapping: &MappingChange) -> Markup {
    let cells = |[before, after]: [u64; 2]| html! { td { (bytes(after)) } td { (change(before, after)) } };
    html! {
        tr data-class=(mapping.class.words()) {
            td.word { (mapping.class.words()) }
            td.mono { (format!("{:#x}", mapping.start)) }
            (cells(mapping.size)) (cells(mapping.resident)) (cells(mapping.private_dirty))
            td.name { (printable(&mapping.name)) }
        }
    }
}

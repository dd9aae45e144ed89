//! Stacks, facts and sentences, as every page has them.

use maud::{Markup, html};

use crate::frames;
use crate::model::Frame;
use crate::wording::{command_line, printable};

/// Frames shown at once; the rest is behind a click.
const FRAMES: usize = 12;

/// A stack below its title; where to look first stands out.
pub fn stack(title: &str, stack: &[Frame]) -> Markup {
    let first = stack.iter().position(|frame| !frames::is_foreign(frame));
    let line = |number: usize, frame: &Frame| {
        html! { li class=[(first == Some(number)).then_some("first")] { code { (frames::line(frame)) } } }
    };
    html! {
        p.faint { (title) }
        ol.stack { @for (number, frame) in stack.iter().take(FRAMES).enumerate() { (line(number, frame)) } }
        @if stack.len() > FRAMES {
            details {
                summary { (stack.len() - FRAMES) " more" }
                ol.stack { @for (number, frame) in stack.iter().enumerate().skip(FRAMES) { (line(number, frame)) } }
            }
        }
    }
}

/// The command that shows it again.
pub fn repro(command: &str) -> Markup {
    html! { p.faint { "reproduce" } pre { code { (printable(command)) } } }
}

/// Warnings, each a sentence.
pub fn warnings<'a>(warnings: impl IntoIterator<Item = &'a String>) -> Markup {
    html! { @for warning in warnings { p { b.doubtful { "warning" } ": " (printable(warning)) } } }
}

/// A term and what there is to say about it.
pub fn fact(term: &str, text: &str) -> Markup {
    html! { dt { (term) } dd { (text) } }
}

/// A command line in words.
pub fn command(words: &[String]) -> Markup {
    html! { p { code { (printable(&command_line(words))) } } }
}

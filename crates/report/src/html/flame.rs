//! The flame graph of stacks whose blocks grow, in bytes.

use inferno::flamegraph::{self, Options, TextTruncateDirection};
use maud::{Markup, PreEscaped, html};

use crate::frames::base;
use crate::leak::{Located, Survival};
use crate::model::Frame;
use crate::wording::printable;

/// The graph in a frame of its own, so that its script and its names are apart from those of the page; nothing if
/// no stack grows.
pub fn graph(located: &[Located]) -> Markup {
    let Some(svg) = svg(located) else { return html! {} };
    let height = height(&svg).unwrap_or(400);
    // Its script keeps what is zoomed into in the address, which a page from a file may not.
    let page = html! {
        style { "body { margin: 0; } svg { display: block; width: 100%; }" }
        script { (PreEscaped("history.replaceState = () => {};")) }
        (PreEscaped(svg))
    };
    html! { iframe.flame title="flame graph of growing stacks" srcdoc=(page.into_string()) height=(height) {} }
}

/// The graph as SVG; nothing if no stack grows.
fn svg(located: &[Located]) -> Option<String> {
    let mut lines: Vec<String> = located.iter().flat_map(folded).collect();
    if lines.is_empty() {
        return None;
    }
    lines.sort_unstable();
    let mut options = Options::default();
    "Bytes in blocks that pile up, by call stack".clone_into(&mut options.title);
    "bytes".clone_into(&mut options.count_name);
    "Function:".clone_into(&mut options.name_type);
    options.hash = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg).ok()?;
    let svg = String::from_utf8(svg).ok()?;
    // Inside a page there is no prolog.
    svg.find("<svg").map(|start| svg[start..].to_owned())
}

/// The growing stacks as lines that begin with the process and end with the bytes.
fn folded(located: &Located) -> impl Iterator<Item = String> {
    let grows = |survival| matches!(survival, Survival::Leaking | Survival::Lost);
    let process = word(&format!("{} (pid {})", located.name, located.pid));
    located.sites.iter().filter(move |site| grows(site.survival) && site.bytes > 0).map(move |site| {
        let frames: Vec<String> = site.stack.iter().rev().map(name).collect();
        format!("{process};{} {}", frames.join(";"), site.bytes)
    })
}

fn name(frame: &Frame) -> String {
    let function = match &frame.function {
        Some(function) => function.clone(),
        None => format!("{}+{:#x}", base(&frame.module), frame.offset),
    };
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => word(&format!("{function} ({}:{line})", base(file))),
        _ => word(&function),
    }
}

/// A name in which nothing means the end of a frame.
fn word(name: &str) -> String {
    printable(name).replace(';', ":")
}

fn height(svg: &str) -> Option<u32> {
    let rest = &svg[svg.find("height=\"")? + "height=\"".len()..];
    rest[..rest.find('"')?].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::leak_report;

    #[test]
    fn only_what_grows_is_in_the_graph() {
        let svg = svg(&leak_report().located).unwrap();
        assert!(svg.contains("session_open (session.c:88)") && svg.contains("62,464 bytes"), "{svg}");
        assert!(!svg.contains("cache_put"));
        assert!(height(&svg).unwrap() > 100);
    }

    #[test]
    fn names_from_a_target_are_no_markup() {
        let graph = graph(&leak_report().located).into_string();
        assert!(!graph.contains("<script>alert"), "{graph}");
        assert!(!svg(&leak_report().located).unwrap().contains("<script>alert"));
    }

    #[test]
    fn nothing_is_drawn_where_nothing_grows() {
        assert_eq!(graph(&[]).into_string(), "");
    }
}

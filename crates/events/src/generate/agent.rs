//! The agent's functions, one for each memory event.

use std::fmt::Write;

use super::{As, Described, NOTICE, Printed};
use crate::description::qemu;
use crate::event::{Class, Parameter};
use crate::memory::PROVIDER;

/// What comes before all events. `{notice}` is replaced.
const HEAD: &str = r#"//! The memory events: what the agent calls when one happens.
//!
//! {notice}
#![allow(dead_code, reason = "not all of it has a use in every build")]

use super::format::{Kind, Piece};
use super::probe::probe;
use super::{Argument, tell};
"#;

pub(super) fn make(events: &[Described]) -> String {
    let mut made = HEAD.replace("{notice}", NOTICE);
    let _ = write!(made, "\n/// How many events there are.\npub const COUNT: usize = {};\n", events.len());
    for (number, described) in events.iter().enumerate() {
        event(&mut made, number, described);
    }
    tables(&mut made, events);
    made
}

fn event(made: &mut String, number: usize, described: &Described) {
    let event = described.event();
    let name = &event.name;
    let constant = name.to_uppercase();
    let _ = write!(made, "\n/// Number of [`{name}`].\npub const {constant}: u16 = {number};\n");
    let parameters = &event.parameters;
    let texts: Vec<_> = parameters.iter().filter(|parameter| parameter.class == Class::Text).collect();
    let types: Vec<_> = parameters.iter().map(|parameter| rust(parameter.class)).collect();
    let disabled = described.disabled();
    if !disabled {
        let notes: Vec<_> =
            parameters.iter().enumerate().map(|(at, parameter)| note(at, parameter)).collect();
        let _ = write!(
            made,
            "\nprobe! {{ {name}_probe, \"{PROVIDER}\", \"{name}\", \"{}\", ({}) }}\n",
            notes.join(" "),
            types.join(", ")
        );
    }
    made.push('\n');
    for line in wrapped(&described.entry.comment, 110 - 4) {
        let _ = writeln!(made, "/// {line}");
    }
    if disabled {
        made.push_str("///\n/// It is compiled out.\n");
    }
    if !texts.is_empty() {
        let names: Vec<_> = texts.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
        let _ =
            write!(made, "///\n/// # Safety\n/// {} must be NULL or end in a NUL.\n", names.join(" and "));
    }
    let prefix = if disabled { "_" } else { "" };
    let declared: Vec<_> = parameters
        .iter()
        .zip(&types)
        .map(|(parameter, rust)| format!("{prefix}{}: {rust}", parameter.name))
        .collect();
    let safety = if texts.is_empty() { "" } else { "unsafe " };
    let head = format!("pub {safety}fn {name}({})", declared.join(", "));
    if disabled {
        let _ = writeln!(made, "#[inline]\n{head} {{}}");
        return;
    }
    let names: Vec<_> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let _ = write!(made, "{head} {{\n    {name}_probe({});\n", names.join(", "));
    let handed: Vec<_> = parameters.iter().map(argument).collect();
    let one_line = format!("    tell({constant}, &[{}]);\n", handed.join(", "));
    if one_line.len() <= 110 {
        made.push_str(&one_line);
    } else {
        // As rustfmt would break it.
        let _ = write!(made, "    tell(\n        {constant},\n        &[\n");
        for argument in handed {
            let _ = writeln!(made, "            {argument},");
        }
        made.push_str("        ],\n    );\n");
    }
    made.push_str("}\n");
}

/// What is known of all events.
fn tables(made: &mut String, events: &[Described]) {
    made.push_str("\n/// Their names, by number.\n#[rustfmt::skip]\npub static NAMES: [&str; COUNT] = [\n");
    for described in events {
        let _ = writeln!(made, "    {:?},", described.event().name);
    }
    made.push_str(
        "];\n\n/// Their formats, by number.\n#[rustfmt::skip]\npub static FORMATS: [&[Piece]; COUNT] = [\n",
    );
    for described in events {
        let pieces: Vec<_> = described.pieces.iter().map(piece).collect();
        let _ = writeln!(made, "    &[{}],", pieces.join(", "));
    }
    let table: String = events.iter().map(|described| qemu::write(described.event()) + "\n").collect();
    // As many as nowhere follow a quote in it.
    let mut fence = "#".to_owned();
    while table.contains(&format!("\"{fence}")) {
        fence.push('#');
    }
    made.push_str("];\n\n/// The table of a recording.\n");
    let _ = writeln!(made, "pub static TABLE: &str = r{fence}\"{table}\"{fence};");
}

fn piece(piece: &Printed) -> String {
    match piece {
        Printed::Text(text) => format!("Piece::Text({text:?})"),
        Printed::Value(argument, kind) => {
            let kind = match kind {
                As::Decimal => "Decimal",
                As::Hex => "Hex",
                As::HexPrefixed => "HexPrefixed",
                As::Pointer => "Pointer",
                As::Text => "Text",
            };
            format!("Piece::Value {{ argument: {argument}, kind: Kind::{kind} }}")
        }
    }
}

fn rust(class: Class) -> &'static str {
    match class {
        Class::Signed(4) => "i32",
        Class::Unsigned(4) => "u32",
        Class::Signed(_) => "i64",
        Class::Text => "*const u8",
        _ => "u64",
    }
}

/// Where an argument is, in a note.
fn note(number: usize, parameter: &Parameter) -> String {
    let long = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"][number];
    let short = ["edi", "esi", "edx", "ecx", "r8d", "r9d"][number];
    match parameter.class {
        Class::Signed(4) => format!("-4@%{short}"),
        Class::Unsigned(4) => format!("4@%{short}"),
        Class::Signed(_) => format!("-8@%{long}"),
        _ => format!("8@%{long}"),
    }
}

fn argument(parameter: &Parameter) -> String {
    let name = &parameter.name;
    match parameter.class {
        Class::Signed(4) => format!("Argument::Signed({name}.into())"),
        Class::Unsigned(4) => format!("Argument::Unsigned({name}.into())"),
        Class::Signed(_) => format!("Argument::Signed({name})"),
        Class::Pointer => format!("Argument::Pointer({name})"),
        Class::Text => format!("Argument::Text({name})"),
        _ => format!("Argument::Unsigned({name})"),
    }
}

/// Words in lines of at most `most` characters.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

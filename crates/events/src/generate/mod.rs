//! Files made of memory.events. They stand in the tree; a test compares them with what is made here.

mod agent;
mod bpftrace;
mod dtrace;
mod reference;
mod tapset;

use crate::description::{DescriptionError, qemu::Entry};
use crate::event::{Class, Event};
use crate::format::{Conversion, Directive, Piece, pieces};
use crate::memory;

/// What is said first in each file.
const NOTICE: &str = "Made of crates/events/memory.events by `cargo run -p memtrial-events --bin generate`.";

/// Most arguments of an event: as many as there are registers for arguments.
const MOST: usize = 6;

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Where, from the root of the tree.
    pub path: &'static str,
    /// What is in it.
    pub text: String,
}

/// Why nothing can be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The description is damaged.
    #[error("memory.events: {0}")]
    Description(#[from] DescriptionError),
    /// An event is none that the agent can tell of.
    #[error("memory.events: {event}: {why}")]
    Event {
        /// Its name.
        event: String,
        /// What it asks too much of.
        why: String,
    },
}

/// An event that can be generated.
struct Described {
    entry: Entry,
    /// Its format, for programs without `printf`.
    pieces: Vec<Printed>,
}

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Printed {
    Text(String),
    /// An argument, and as what it is printed.
    Value(usize, As),
}

/// As what the agent prints an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    Decimal,
    Hex,
    HexPrefixed,
    Pointer,
    Text,
}

impl Described {
    fn event(&self) -> &Event {
        &self.entry.event
    }

    fn disabled(&self) -> bool {
        self.entry.properties.iter().any(|property| property == "disable")
    }
}

/// Makes all files.
///
/// # Errors
/// When memory.events says something that can't be made.
pub fn files() -> Result<Vec<Made>, GenerateError> {
    let entries = memory::entries()?;
    let events = entries.into_iter().map(described).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        Made { path: "crates/agent/src/events/generated.rs", text: agent::make(&events) },
        Made { path: "docs/src/memory-events.md", text: reference::make(&events) },
        Made { path: "crates/events/generated/memtrial.d", text: dtrace::make(&events) },
        Made { path: "crates/events/generated/memtrial.stp", text: tapset::make(&events) },
        Made { path: "crates/events/generated/memtrial.bt", text: bpftrace::make(&events) },
    ])
}

/// Checks that an event can be generated.
fn described(entry: Entry) -> Result<Described, GenerateError> {
    let event = entry.event.name.clone();
    match checked(&entry.event) {
        Ok(pieces) => Ok(Described { entry, pieces }),
        Err(why) => Err(GenerateError::Event { event, why }),
    }
}

fn checked(event: &Event) -> Result<Vec<Printed>, String> {
    let names = event.parameters.iter().map(|parameter| &parameter.name).chain([&event.name]);
    for name in names {
        let first = name.chars().next();
        let fits = |character: char| character.is_ascii_lowercase() || matches!(character, '_' | '0'..='9');
        if !name.chars().all(fits) || !first.is_some_and(|first| first.is_ascii_lowercase()) {
            return Err(format!("{name} is not of small letters, digits and _"));
        }
        // Words of Rust that are none of C.
        if [
            "as", "dyn", "fn", "in", "impl", "let", "loop", "match", "mod", "move", "mut", "ref", "self",
            "type", "use",
        ]
        .contains(&name.as_str())
        {
            return Err(format!("{name} is a word of Rust"));
        }
    }
    if event.parameters.len() > MOST {
        return Err(format!("more than {MOST} parameters"));
    }
    let format = event.format.as_deref().ok_or("it has no format")?;
    let mut printed = Vec::new();
    let mut argument = 0;
    for piece in pieces(format) {
        match piece.map_err(|_| format!("{format} has a directive that is not served"))? {
            Piece::Text(text) => match printed.last_mut() {
                Some(Printed::Text(before)) => before.push_str(text),
                _ => printed.push(Printed::Text(text.to_owned())),
            },
            Piece::Directive(directive) => {
                let class = event.parameters.get(argument).ok_or("more directives than parameters")?.class;
                let kind = kind(&directive, class).ok_or_else(|| {
                    format!("the agent does not print argument {} as the format says", argument + 1)
                })?;
                printed.push(Printed::Value(argument, kind));
                argument += 1;
            }
        }
    }
    if argument < event.parameters.len() {
        return Err("fewer directives than parameters".to_owned());
    }
    Ok(printed)
}

/// As what the agent prints an argument of this class; `None` if it can't print it so.
fn kind(directive: &Directive, class: Class) -> Option<As> {
    let plain =
        Directive { bytes: directive.bytes, conversion: directive.conversion, ..Directive::default() };
    let long = directive.bytes == Some(8);
    Some(match (class, directive.conversion) {
        (Class::Text, Conversion::Text) if *directive == plain => As::Text,
        (Class::Pointer, Conversion::Pointer) if *directive == plain => As::Pointer,
        (Class::Signed(4), Conversion::Signed) | (Class::Unsigned(4), Conversion::Unsigned)
            if *directive == plain && directive.bytes.is_none() =>
        {
            As::Decimal
        }
        (Class::Signed(8), Conversion::Signed) | (Class::Unsigned(8), Conversion::Unsigned)
            if *directive == plain && long =>
        {
            As::Decimal
        }
        (Class::Signed(4) | Class::Unsigned(4), Conversion::Hex) | (Class::Unsigned(8), Conversion::Hex)
            if long == (class == Class::Unsigned(8)) =>
        {
            match directive {
                _ if *directive == plain => As::Hex,
                _ if *directive == (Directive { alternate: true, ..plain }) => As::HexPrefixed,
                _ => return None,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::qemu;

    #[test]
    fn what_stands_in_the_tree_is_what_is_made() {
        for made in files().expect("memory.events") {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(made.path);
            let stands = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(stands == made.text, "{} is old: cargo run -p memtrial-events --bin generate", made.path);
        }
    }

    #[test]
    fn what_the_agent_cannot_tell_is_said() {
        for (line, why) in [
            ("a(int x) \"%5d\"", "argument 1"),
            ("a(int x) \"%ld\"", "argument 1"),
            ("a(double x) \"%f\"", "argument 1"),
            ("a(int x) \"%.*s\"", "not served"),
            ("a(int x) \"\"", "fewer"),
            ("a() \"%d\"", "more directives"),
            ("a()", "no format"),
            ("a(int a, int b, int c, int d, int e, int f, int g) \"\"", "more than 6"),
            ("A()", "small letters"),
            ("a(int type) \"%d\"", "word of Rust"),
        ] {
            let entry = qemu::entries(line).expect(line).remove(0);
            let error = described(entry).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn a_disabled_event_keeps_its_number_and_does_nothing() {
        let text = "# One.\na(int x) \"x=%d\"\n# Two.\ndisable b(const char *path) \"%s\"\n";
        let entries = qemu::entries(text).expect("entries");
        let events: Vec<_> = entries.into_iter().map(|entry| described(entry).expect("event")).collect();
        let made = agent::make(&events);
        assert!(made.contains("pub const B: u16 = 1;") && !made.contains("b_probe"), "{made}");
        for made in [dtrace::make(&events), tapset::make(&events), bpftrace::make(&events)] {
            assert!(!made.contains("path"), "{made}");
        }
    }
}

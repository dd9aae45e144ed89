//! Files that describe events: what the arguments of a static probe are called, and how they are printed.

pub mod dtrace;
mod literal;
pub mod qemu;
mod source;
pub mod tapset;
mod types;

use std::path::Path;

use crate::event::{Class, Event};

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct DescriptionError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// The grammar of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// QEMU's trace-events.
    Qemu,
    /// A provider file of DTrace.
    DTrace,
    /// A tapset of SystemTap.
    Tapset,
}

impl Kind {
    /// By the extension of `path`, `.d` or `.stp`, else by what stands in the file.
    #[must_use]
    pub fn of(path: &Path, text: &str) -> Kind {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("d") => return Kind::DTrace,
            Some("stp") => return Kind::Tapset,
            _ => {}
        }
        let starts = |words: &[&str]| {
            text.lines().any(|line| {
                let mut found = line.split_whitespace();
                let first = found.next().unwrap_or_default();
                // `probe(int a)` is an event of QEMU.
                words.contains(&first) && found.next().is_some_and(|next| !next.starts_with('('))
            })
        };
        if starts(&["provider"]) {
            Kind::DTrace
        } else if starts(&["probe"]) {
            Kind::Tapset
        } else {
            Kind::Qemu
        }
    }
}

/// Parses a description of events.
///
/// # Errors
/// When something in it is not understood; nothing is taken from it then.
pub fn parse(kind: Kind, text: &str) -> Result<Vec<Event>, DescriptionError> {
    match kind {
        Kind::Qemu => qemu::parse(text),
        Kind::DTrace => dtrace::parse(text),
        Kind::Tapset => tapset::parse(text),
    }
}

/// Whether a type of C says what an argument is: `size_t` does, a typedef of the program does not.
#[must_use]
pub fn is_known(text: &str) -> bool {
    types::class(text).is_some()
}

/// A type of C that means `class`.
#[must_use]
pub fn type_of(class: Class) -> &'static str {
    types::of(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_is_its_extension_or_what_is_in_it() {
        for (path, text, kind) in [
            ("a.d", "", Kind::DTrace),
            ("a.stp", "", Kind::Tapset),
            ("trace-events", "# probe x\nprobe(int a)\nprobe (int a)", Kind::Qemu),
            ("a", "/* x */\nprovider pg {", Kind::DTrace),
            ("a", "global x\n  probe x.y = process(\"\").mark(\"\")", Kind::Tapset),
        ] {
            assert_eq!(Kind::of(Path::new(path), text), kind, "{path} {text}");
        }
    }
}

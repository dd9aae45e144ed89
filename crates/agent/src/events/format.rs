//! Events as text, in memory on the stack.

use memtrial_wire::line::Line;
use memtrial_wire::recording::MAX_TEXT;

use super::Argument;
use super::generated::{FORMATS, NAMES};
use crate::files;

/// A part of an event's format.
#[derive(Clone, Copy)]
pub enum Piece {
    /// What is printed as it stands.
    Text(&'static str),
    /// An argument, counted from 0.
    Value {
        /// Which.
        argument: u8,
        /// As what.
        kind: Kind,
    },
}

/// As what an argument is printed.
#[allow(dead_code, reason = "the events there are need not print in every way")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A decimal number, with its sign if it has one.
    Decimal,
    /// A hexadecimal number.
    Hex,
    /// A hexadecimal number with `0x`; 0 without.
    HexPrefixed,
    /// An address: `0x` and hexadecimal; `(nil)` for NULL.
    Pointer,
    /// A text; `(null)` for NULL.
    Text,
}

/// Room for a line. It must fit on the smallest stack that a thread or a signal handler may have, and into a pipe in one piece.
pub const LINE: usize = 1400;

/// Bytes of a text that are read at once.
const PART: usize = 256;

/// Appends an event: its name, and its arguments as its format says.
pub fn event(line: &mut Line<'_>, event: u16, arguments: &[Argument]) {
    let number = usize::from(event);
    line.text(NAMES.get(number).map_or(&b"?"[..], |name| name.as_bytes()));
    let format = FORMATS.get(number).copied().unwrap_or_default();
    if !format.is_empty() {
        line.text(b" ");
    }
    for piece in format {
        match piece {
            Piece::Text(text) => line.text(text.as_bytes()),
            Piece::Value { argument, kind } => {
                if let Some(argument) = arguments.get(usize::from(*argument)) {
                    value(line, *argument, *kind);
                }
            }
        }
    }
}

fn value(line: &mut Line<'_>, argument: Argument, kind: Kind) {
    let bits = match (argument, kind) {
        (Argument::Text(address), Kind::Text) => return text(line, address as u64),
        (Argument::Signed(number), Kind::Decimal) => return line.signed(number),
        // An `int` has 4 bytes.
        (Argument::Signed(number), _) => {
            i32::try_from(number).map_or(number as u64, |int| u64::from(int as u32))
        }
        (Argument::Unsigned(bits) | Argument::Pointer(bits), _) => bits,
        (Argument::Text(address), _) => address as u64,
    };
    match kind {
        Kind::Decimal => line.number(bits, 1),
        Kind::Pointer | Kind::Text if bits == 0 => line.text(b"(nil)"),
        Kind::Hex => line.hexadecimal(bits),
        Kind::HexPrefixed if bits == 0 => line.text(b"0"),
        Kind::HexPrefixed | Kind::Pointer | Kind::Text => {
            line.text(b"0x");
            line.hexadecimal(bits);
        }
    }
}

/// Appends a text of the target's, part by part.
fn text(line: &mut Line<'_>, address: u64) {
    if address == 0 {
        return line.text(b"(null)");
    }
    let mut done = 0;
    while done < MAX_TEXT {
        let mut buffer = [0; PART];
        let part = address.checked_add(done as u64).and_then(|at| files::read_text(at, &mut buffer));
        let Some(part) = part else {
            return line.text(if done == 0 { b"<fault>" } else { b"..." });
        };
        let bytes = buffer.get(..part.bytes).unwrap_or_default();
        let more = !part.ended && done + part.bytes < MAX_TEXT;
        done += line.escaped(bytes, more);
        if part.ended {
            return;
        }
    }
    line.mark_cut();
}

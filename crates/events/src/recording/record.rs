//! A record: an event that happened, as bytes.

use memtrial_wire::recording::{
    Before, CHUNK, CHUNK_HEAD, CUT, Field, MAX_TEXT, NULL, RECORD_HEAD, TEXT, WHOLE, WIDE, Why, unfold,
    write_record,
};

use super::head::u64_at;
use crate::event::{Class, Event};
use crate::value::{Missing, Value};

/// Most bytes of a number, or in front of a text, with the half byte that says what it is.
const NUMBER: usize = 9;
/// Most bytes of all arguments: a record fits into an empty chunk, with the 8 bytes that a number is written as.
const ARGUMENTS: usize = CHUNK - CHUNK_HEAD - RECORD_HEAD - 8;

/// A record that was read.
#[derive(Debug)]
pub(super) struct Record {
    pub event: usize,
    pub time: u64,
    pub values: Vec<Value>,
    /// Its bytes.
    pub size: usize,
}

/// What stands in front of a record's arguments.
struct Start<'a> {
    event: usize,
    time: u64,
    rest: &'a [u8],
}

/// The time of the record that the bytes begin with, if there is all of it.
pub(super) fn time(bytes: &[u8], before: &Before) -> Option<u64> {
    start(bytes, before).map(|start| start.time)
}

fn start<'a>(bytes: &'a [u8], before: &Before) -> Option<Start<'a>> {
    let (head, mut rest) = bytes.split_first()?;
    let mut event = usize::from(head >> 4);
    if head >> 4 == WIDE {
        let number;
        (number, rest) = rest.split_first_chunk()?;
        event = usize::from(u16::from_le_bytes(*number));
    }
    let passed = number(&mut rest, head & 15)?;
    Some(Start { event, time: before.time.wrapping_add(passed), rest })
}

/// Reads the record that the bytes begin with, behind the one that `before` is of; none if it makes no sense.
pub(super) fn read(bytes: &[u8], events: &[Event], before: &mut Before) -> Option<Record> {
    let Start { event, time, rest } = start(bytes, before)?;
    let parameters = &events.get(event)?.parameters;
    let (marks, mut rest) = rest.split_at_checked(parameters.len().div_ceil(2))?;
    let (mut pointers, mut pointer) = (before.pointers, 0);
    let mut values = Vec::with_capacity(parameters.len());
    for (index, parameter) in parameters.iter().enumerate() {
        let mark = marks.get(index / 2)? >> (index % 2 * 4) & 15;
        let base = if parameter.class == Class::Pointer {
            pointer += 1;
            pointers.get_mut(pointer - 1)
        } else {
            None
        };
        values.push(argument(&mut rest, parameter.class, mark, base)?);
    }
    *before = Before { time, pointers };
    Some(Record { event, time, values, size: bytes.len() - rest.len() })
}

/// Takes an argument from the bytes.
fn argument(bytes: &mut &[u8], class: Class, mark: u8, base: Option<&mut u64>) -> Option<Value> {
    if let Some(why) = why(mark) {
        return Some(Value::Missing(why));
    }
    if class == Class::Text {
        return text(bytes, mark);
    }
    let number = number(bytes, mark)?;
    Some(match class {
        Class::Signed(_) => Value::Signed(unfold(number)),
        Class::Float(_) => Value::Float(f64::from_bits(number)),
        Class::Pointer => {
            let from = base.as_ref().map_or(0, |base| **base);
            let address = from.wrapping_add(unfold(number).cast_unsigned());
            if let Some(base) = base {
                *base = address;
            }
            Value::Unsigned(address)
        }
        Class::Unsigned(_) | Class::Text => Value::Unsigned(number),
    })
}

/// Takes a number of so many bytes.
fn number(bytes: &mut &[u8], length: u8) -> Option<u64> {
    let (number, rest) = bytes.split_at_checked(usize::from(length)).filter(|_| length <= WHOLE)?;
    *bytes = rest;
    let mut word = [0; 8];
    word[..number.len()].copy_from_slice(number);
    u64_at(&word, 0)
}

fn text(bytes: &mut &[u8], mark: u8) -> Option<Value> {
    if mark == NULL {
        return Some(Value::Unsigned(0));
    }
    let cut = match mark {
        TEXT => false,
        CUT => true,
        _ => return None,
    };
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *bytes = rest;
    Some(Value::Text { bytes: text.to_owned(), cut })
}

/// Appends a record of at most `room` bytes, behind the one that `before` is of. Returns whether it could: an event may
/// even have more arguments than an empty chunk has room for.
pub(super) fn write(
    into: &mut Vec<u8>,
    room: usize,
    number: u16,
    event: &Event,
    time: u64,
    values: &[Value],
    before: &mut Before,
) -> bool {
    let count = event.parameters.len();
    // Texts share what the other arguments leave.
    let Some(left) = ARGUMENTS.checked_sub(count * NUMBER) else { return false };
    let limit = (left / count.max(1)).min(MAX_TEXT);
    let field = |(index, class): (usize, Class)| field(class, values.get(index), limit);
    let classes = event.parameters.iter().map(|parameter| parameter.class);
    let fields: Vec<Field> = classes.enumerate().map(field).collect();
    let length = |field: &Field| match field {
        Field::Text { bytes, .. } => bytes.len(),
        _ => 0,
    };
    let most = RECORD_HEAD + 8 + count * NUMBER + fields.iter().map(length).sum::<usize>();
    let from = into.len();
    into.resize(from + most.min(room), 0);
    let written = write_record(&mut into[from..], number, time, fields.into_iter(), before);
    into.truncate(from + written.unwrap_or(0));
    written.is_some()
}

/// What is written of an argument: that it is missing, if it is not what was declared.
fn field(class: Class, value: Option<&Value>, limit: usize) -> Field<'_> {
    let Some(value) = value else { return Field::Missing(Why::Absent) };
    let bits = match (class, value) {
        (_, Value::Missing(why)) => return Field::Missing(number_of(*why)),
        (Class::Text, Value::Text { bytes, cut }) => {
            let kept = &bytes[..bytes.len().min(limit)];
            return Field::Text { bytes: kept, cut: *cut || kept.len() < bytes.len() };
        }
        (Class::Text, Value::Unsigned(0)) => return Field::Null,
        (Class::Text, _) | (_, Value::Text { .. }) => return Field::Missing(Why::Operand),
        (Class::Float(_), Value::Float(number)) => return Field::Number(number.to_bits()),
        (_, Value::Float(_)) => return Field::Missing(Why::Operand),
        (_, Value::Unsigned(bits)) => *bits,
        (_, Value::Signed(number)) => number.cast_unsigned(),
    };
    match class {
        Class::Float(4) => Field::Number(f64::from(f32::from_bits(bits as u32)).to_bits()),
        Class::Signed(_) => Field::Signed(bits.cast_signed()),
        Class::Pointer => Field::Pointer(bits),
        _ => Field::Number(bits),
    }
}

fn number_of(why: Missing) -> Why {
    match why {
        Missing::Fault => Why::Fault,
        Missing::Operand => Why::Operand,
        Missing::Absent => Why::Absent,
    }
}

fn why(mark: u8) -> Option<Missing> {
    [Missing::Fault, Missing::Operand, Missing::Absent].into_iter().find(|why| number_of(*why) as u8 == mark)
}

//! A record: an event that happened, as bytes.

use memtrial_wire::recording::{CUT, MAX_TEXT, NULL, RECORD_HEAD};

use super::head::{u32_at, u64_at};
use crate::event::{Class, Event};
use crate::value::{Missing, Value};

/// Arguments that can be missing.
const MASKED: usize = 32;
/// Most bytes of a record.
const MOST: usize = u16::MAX as usize & !7;

/// A record that was read.
#[derive(Debug)]
pub(super) struct Record {
    pub event: usize,
    pub time: u64,
    pub values: Vec<Value>,
    /// Its bytes.
    pub size: usize,
}

/// Reads the record that the bytes begin with; none if it makes no sense.
pub(super) fn read(bytes: &[u8], events: &[Event]) -> Option<Record> {
    let size = usize::from(u16::from_le_bytes(*bytes.get(2..)?.first_chunk()?));
    let bytes = bytes.get(..size)?;
    let event = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let missing = u32_at(bytes, 4)?;
    let time = u64_at(bytes, 8)?;
    let parameters = &events.get(event)?.parameters;
    let mut rest = bytes.get(RECORD_HEAD..)?;
    let mut values = Vec::with_capacity(parameters.len().min(size / 8));
    for (index, parameter) in parameters.iter().enumerate() {
        let (value, used) = if index < MASKED && missing >> index & 1 == 1 {
            (Value::Missing(why(u64_at(rest, 0)?)?), 8)
        } else {
            argument(rest, parameter.class)?
        };
        values.push(value);
        rest = rest.get(used..)?;
    }
    rest.is_empty().then_some(Record { event, time, values, size })
}

fn argument(bytes: &[u8], class: Class) -> Option<(Value, usize)> {
    let value = match class {
        Class::Text => {
            let length = u32_at(bytes, 0)?;
            if length == NULL {
                return Some((Value::Unsigned(0), 8));
            }
            let (length, cut) = ((length & !CUT) as usize, length & CUT != 0);
            let text = bytes.get(4..)?.get(..length)?;
            return Some((Value::Text { bytes: text.to_owned(), cut }, (4 + length).next_multiple_of(8)));
        }
        Class::Signed(_) => Value::Signed(u64_at(bytes, 0)?.cast_signed()),
        Class::Float(_) => Value::Float(f64::from_bits(u64_at(bytes, 0)?)),
        Class::Unsigned(_) | Class::Pointer => Value::Unsigned(u64_at(bytes, 0)?),
    };
    Some((value, 8))
}

/// Appends a record. Returns whether it could: an event may have more arguments than a record has room for.
pub(super) fn write(into: &mut Vec<u8>, number: u16, event: &Event, time: u64, values: &[Value]) -> bool {
    let count = event.parameters.len();
    // Texts share what the other arguments leave.
    let Some(room) = (MOST - RECORD_HEAD).checked_sub(count * 8) else { return false };
    let limit = (room / count.max(1)).min(MAX_TEXT);
    let from = into.len();
    into.extend([0; RECORD_HEAD]);
    let mut missing = 0;
    for (index, parameter) in event.parameters.iter().enumerate() {
        let value = values.get(index).unwrap_or(&Value::Missing(Missing::Absent));
        if let Err(why) = write_argument(into, parameter.class, value, limit) {
            if index < MASKED {
                missing |= 1 << index;
            }
            // Behind those that can be missing, a text that is empty, or 0.
            let word = if index < MASKED { number_of(why) } else { 0 };
            into.extend(word.to_le_bytes());
        }
    }
    let size = into.len() - from;
    let head = &mut into[from..from + RECORD_HEAD];
    head[..2].copy_from_slice(&number.to_le_bytes());
    head[2..4].copy_from_slice(&(size as u16).to_le_bytes());
    head[4..8].copy_from_slice(&u32::to_le_bytes(missing));
    head[8..].copy_from_slice(&time.to_le_bytes());
    true
}

/// Appends an argument, unless it is missing or not what was declared.
fn write_argument(into: &mut Vec<u8>, class: Class, value: &Value, limit: usize) -> Result<(), Missing> {
    let word = match (class, value) {
        (_, Value::Missing(why)) => return Err(*why),
        (Class::Text, Value::Text { bytes, cut }) => {
            let kept = &bytes[..bytes.len().min(limit)];
            let cut = *cut || kept.len() < bytes.len();
            into.extend((kept.len() as u32 | if cut { CUT } else { 0 }).to_le_bytes());
            into.extend(kept);
            into.resize(into.len() + (4 + kept.len()).next_multiple_of(8) - (4 + kept.len()), 0);
            return Ok(());
        }
        (Class::Text, Value::Unsigned(0)) => u64::from(NULL),
        (Class::Text, _) | (_, Value::Text { .. }) => return Err(Missing::Operand),
        (Class::Float(_), Value::Float(number)) => number.to_bits(),
        (Class::Float(4), Value::Unsigned(bits)) => f64::from(f32::from_bits(*bits as u32)).to_bits(),
        (Class::Float(4), Value::Signed(bits)) => f64::from(f32::from_bits(*bits as u32)).to_bits(),
        (_, Value::Float(_)) => return Err(Missing::Operand),
        (_, Value::Unsigned(number)) => *number,
        (_, Value::Signed(number)) => number.cast_unsigned(),
    };
    into.extend(word.to_le_bytes());
    Ok(())
}

fn number_of(why: Missing) -> u64 {
    match why {
        Missing::Fault => 1,
        Missing::Operand => 2,
        Missing::Absent => 3,
    }
}

fn why(number: u64) -> Option<Missing> {
    [Missing::Fault, Missing::Operand, Missing::Absent].into_iter().find(|why| number_of(*why) == number)
}

//! A hit as it came out of the ring.

use memtrial_events::Value;
use memtrial_events::value::Missing;
use memtrial_symbols::probes::{Argument, Site};
use memtrial_symbols::remote::Registers;

use super::layout::{Layout, MISSING, MOST_ARGUMENTS, MOST_TEXT, NUMBER, Place, THREAD, TIME};

/// A hit of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct RawHit {
    /// Index of the site among those watched.
    pub site: usize,
    /// When: nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The arguments.
    pub values: Vec<Value>,
    /// Registers and the innermost part of the stack, if they were asked for.
    pub stack: Option<(Registers, Vec<u8>)>,
}

fn word(record: &[u8], at: i16) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    Some(u64::from_ne_bytes(record.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// The index of the site that a record is of.
pub fn site_of(record: &[u8]) -> Option<usize> {
    usize::try_from(word(record, NUMBER)?).ok()
}

/// Reads a record of a site with this layout; `None` if it is too short.
pub fn read(record: &[u8], index: usize, site: &Site, layout: &Layout) -> Option<RawHit> {
    let thread = word(record, THREAD)?;
    let missing = word(record, MISSING)?;
    let mut values = Vec::with_capacity(site.arguments.len());
    for (number, (argument, place)) in site.arguments.iter().zip(&layout.arguments).enumerate() {
        let is_missing = number < MOST_ARGUMENTS && missing & 1 << number != 0;
        values.push(match *place {
            Place::Nowhere => Value::Missing(Missing::Operand),
            _ if is_missing => Value::Missing(Missing::Fault),
            Place::Number(at) => value(argument, word(record, at)?),
            Place::Text(at, text_at) => text(record, at, text_at, layout.text)?,
        });
    }
    let stack = match layout.registers {
        None => None,
        Some(at) => {
            let registers =
                Registers { ip: word(record, at)?, sp: word(record, at + 8)?, bp: word(record, at + 16)? };
            let length = usize::try_from(word(record, at + 24)?).ok()?;
            let from = usize::try_from(at).ok()? + 32;
            Some((registers, record.get(from..from.checked_add(length)?)?.to_vec()))
        }
    };
    Some(RawHit {
        site: index,
        time: word(record, TIME)?,
        pid: (thread >> 32) as u32,
        tid: thread as u32,
        values,
        stack,
    })
}

/// What so many of the lower bytes mean.
fn value(argument: &Argument, word: u64) -> Value {
    let unused = 64 - 8 * u32::from(argument.bytes.clamp(1, 8));
    let unsigned = word << unused >> unused;
    match (argument.float, argument.bytes, argument.signed) {
        (true, 4, _) => Value::Float(f32::from_bits(unsigned as u32).into()),
        (true, _, _) => Value::Float(f64::from_bits(unsigned)),
        (false, _, true) => Value::Signed(word.cast_signed() << unused >> unused),
        (false, _, false) => Value::Unsigned(unsigned),
    }
}

fn text(record: &[u8], at: i16, text_at: i16, room: i16) -> Option<Value> {
    if word(record, at)? == 0 {
        return Some(Value::Unsigned(0));
    }
    let length = word(record, text_at)?.cast_signed();
    let Ok(length) = usize::try_from(length) else { return Some(Value::Missing(Missing::Fault)) };
    let from = usize::try_from(text_at).ok()? + 8;
    let with_end = record.get(from..from.checked_add(length)?)?;
    let bytes = with_end.strip_suffix(&[0]).unwrap_or(with_end);
    let whole = length < usize::try_from(room).ok()? && bytes.len() <= MOST_TEXT;
    Some(Value::Text { bytes: bytes[..bytes.len().min(MOST_TEXT)].to_vec(), cut: !whole })
}

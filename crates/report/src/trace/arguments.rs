//! Arguments of a hit, as several formats need them.

use std::borrow::Cow;
use std::fmt::Write;

use memtrial_events::value::Missing;
use memtrial_events::{Class, Event, Value};

/// An argument, with its bits as its class has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Argument<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Address(u64),
    Text {
        bytes: &'a [u8],
        cut: bool,
    },
    /// A text that is a NULL pointer.
    Null,
    Missing(Missing),
}

impl<'a> Argument<'a> {
    fn new(class: Class, value: &'a Value) -> Argument<'a> {
        let bits = match value {
            Value::Unsigned(bits) => *bits,
            Value::Signed(bits) => bits.cast_unsigned(),
            Value::Float(number) => return Argument::Float(*number),
            Value::Text { bytes, cut } => return Argument::Text { bytes, cut: *cut },
            Value::Missing(why) => return Argument::Missing(*why),
        };
        let beyond = |bytes: u8| 64_u32.saturating_sub(u32::from(bytes) * 8).min(63);
        match class {
            Class::Unsigned(bytes) => Argument::Unsigned(bits << beyond(bytes) >> beyond(bytes)),
            Class::Signed(bytes) => Argument::Signed((bits << beyond(bytes)).cast_signed() >> beyond(bytes)),
            Class::Text if bits == 0 => Argument::Null,
            Class::Pointer | Class::Text => Argument::Address(bits),
            Class::Float(4) => Argument::Float(f64::from(f32::from_bits(bits as u32))),
            Class::Float(_) => Argument::Float(f64::from_bits(bits)),
        }
    }
}

/// The arguments of all parameters, whatever the hit has.
pub(super) fn arguments<'a>(event: &'a Event, values: &'a [Value]) -> impl Iterator<Item = Argument<'a>> {
    event.parameters.iter().enumerate().map(|(index, parameter)| match values.get(index) {
        Some(value) => Argument::new(parameter.class, value),
        None => Argument::Missing(Missing::Absent),
    })
}

/// The names of an event's parameters, each different from those before it.
pub(super) fn names(event: &Event) -> Vec<Cow<'_, str>> {
    distinct(event.parameters.iter().map(|parameter| Cow::Borrowed(parameter.name.as_str())))
}

/// Makes names different from those before them.
pub(super) fn distinct<'a>(wanted: impl Iterator<Item = Cow<'a, str>>) -> Vec<Cow<'a, str>> {
    let mut names: Vec<Cow<'a, str>> = Vec::new();
    for mut name in wanted {
        if name.is_empty() || names.contains(&name) {
            name = Cow::Owned(format!("{name}_{}", names.len() + 1));
        }
        while names.contains(&name) {
            name.to_mut().push('_');
        }
        names.push(name);
    }
    names
}

/// Appends `{"name":value,…}`: a number as a number, an address as text in hexadecimal, what is missing and NULL as null,
/// a text with what is no UTF-8 replaced by U+FFFD.
pub(super) fn object(text: &mut String, event: &Event, values: &[Value]) {
    text.push('{');
    for (index, (name, argument)) in names(event).iter().zip(arguments(event, values)).enumerate() {
        if index > 0 {
            text.push(',');
        }
        string(text, name);
        text.push(':');
        let _ = match argument {
            Argument::Unsigned(number) => write!(text, "{number}"),
            Argument::Signed(number) => write!(text, "{number}"),
            Argument::Float(number) if number.is_finite() => write!(text, "{number:?}"),
            Argument::Float(number) => write!(text, "\"{number}\""),
            Argument::Address(address) => write!(text, "\"{address:#x}\""),
            Argument::Text { bytes, .. } => {
                string(text, &String::from_utf8_lossy(bytes));
                Ok(())
            }
            Argument::Null | Argument::Missing(_) => write!(text, "null"),
        };
    }
    text.push('}');
}

/// Appends a list of texts.
pub(super) fn list<'a>(text: &mut String, items: impl IntoIterator<Item = &'a str>) {
    text.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        string(text, item);
    }
    text.push(']');
}

/// Appends a text of JSON, without what could act on a terminal.
pub(super) fn string(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        let _ = match letter {
            '"' | '\\' => write!(text, "\\{letter}"),
            '\n' => write!(text, "\\n"),
            '\t' => write!(text, "\\t"),
            letter
                if letter.is_control()
                    || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                write!(text, "\\u{:04x}", u32::from(letter))
            }
            letter => {
                text.push(letter);
                Ok(())
            }
        };
    }
    text.push('"');
}

/// Why an argument is missing, in one word.
pub(super) fn word(why: Missing) -> &'static str {
    why.text().trim_matches(['<', '>'])
}

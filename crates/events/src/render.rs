//! The arguments of a hit, written as its event's format says.

use std::fmt::Write;

use crate::escape::{escape, quote};
use crate::event::{Class, Event, Parameter};
use crate::format::{Conversion, Directive, Piece, pieces};
use crate::number;
use crate::value::{Missing, Value};

/// The arguments as text, without the event's name: by its format, else `name=value name=value`. It has no line end in it,
/// whatever the values are.
///
/// A format that does not fit the parameters, or asks for what is not served (`%.*s`), is not used. A value that is not
/// there is `<absent>`; one more than there are parameters is not printed.
#[must_use]
pub fn render(event: &Event, values: &[Value]) -> String {
    let mut line = String::new();
    render_into(&mut line, event, values);
    line
}

/// Appends what [`render`] returns.
pub fn render_into(line: &mut String, event: &Event, values: &[Value]) {
    let start = line.len();
    if let Some(format) = &event.format {
        if formatted(line, format, event, values).is_some() {
            return;
        }
        line.truncate(start);
    }
    for (index, parameter) in event.parameters.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        escape(line, parameter.name.as_bytes());
        line.push('=');
        plain(line, parameter.class, value(values, index));
    }
}

/// Writes by the format; `None` if that can't be done, with a part of it written.
fn formatted(line: &mut String, format: &str, event: &Event, values: &[Value]) -> Option<()> {
    let mut index = 0;
    for piece in pieces(format.trim_end_matches('\n')) {
        match piece.ok()? {
            Piece::Text(text) => escape(line, text.as_bytes()),
            Piece::Directive(directive) => {
                argument(line, &directive, event.parameters.get(index)?, value(values, index))?;
                index += 1;
            }
        }
    }
    (index == event.parameters.len()).then_some(())
}

fn value(values: &[Value], index: usize) -> &Value {
    values.get(index).unwrap_or(&Value::Missing(Missing::Absent))
}

/// Writes one argument as its directive says; `None` if it says something that makes no sense for it.
fn argument(line: &mut String, directive: &Directive, parameter: &Parameter, value: &Value) -> Option<()> {
    let bits = match value {
        Value::Missing(why) => {
            line.push_str(why.text());
            return Some(());
        }
        Value::Text { bytes, cut } => {
            text(line, directive, bytes, *cut);
            return Some(());
        }
        Value::Float(number) => {
            number::float(line, directive, *number)?;
            return Some(());
        }
        Value::Unsigned(_) | Value::Signed(_) => bits(parameter.class, value),
    };
    match directive.conversion {
        Conversion::Text if bits == 0 => number::pad(line, directive, "(null)"),
        // The address of a text that nobody fetched.
        Conversion::Text | Conversion::Pointer => number::pointer(line, directive, bits),
        Conversion::Character => text(line, directive, &[bits as u8], false),
        Conversion::Fixed | Conversion::Exponent | Conversion::General => {
            let Class::Float(bytes) = parameter.class else { return None };
            number::float(line, directive, float(bytes, bits))?;
        }
        _ => number::whole(line, directive, size(parameter.class), bits),
    }
    Some(())
}

/// Writes a value without format.
fn plain(line: &mut String, class: Class, value: &Value) {
    let _ = match value {
        Value::Missing(why) => write!(line, "{}", why.text()),
        Value::Text { bytes, cut } => {
            quote(line, bytes);
            if *cut {
                line.push_str("...");
            }
            Ok(())
        }
        Value::Float(number) => write!(line, "{number}"),
        Value::Unsigned(_) | Value::Signed(_) => {
            let bits = bits(class, value);
            match class {
                Class::Signed(_) => write!(line, "{}", bits as i64),
                Class::Unsigned(_) => write!(line, "{bits}"),
                Class::Pointer => write!(line, "{bits:#x}"),
                Class::Text if bits == 0 => write!(line, "(null)"),
                Class::Text => write!(line, "{bits:#x}"),
                Class::Float(bytes) => write!(line, "{}", float(bytes, bits)),
            }
        }
    };
}

/// A text, of which the directive's precision may want less.
fn text(line: &mut String, directive: &Directive, bytes: &[u8], cut: bool) {
    let wanted = match directive.precision {
        Some(most) if directive.conversion == Conversion::Text => &bytes[..most.min(bytes.len())],
        _ => bytes,
    };
    // What the format does not want is not missed.
    let more = cut && directive.precision.is_none_or(|most| most > bytes.len());
    let write = |line: &mut String| {
        escape(line, wanted);
        line.push_str(if more { "..." } else { "" });
    };
    if directive.width == 0 {
        return write(line);
    }
    let mut written = String::new();
    write(&mut written);
    number::pad(line, directive, &written);
}

/// A whole number as its class has it, extended to 64 bits.
fn bits(class: Class, value: &Value) -> u64 {
    let bits = match value {
        Value::Signed(number) => *number as u64,
        Value::Unsigned(number) => *number,
        _ => 0,
    };
    match class {
        Class::Signed(bytes) => number::signed(bits, bytes) as u64,
        Class::Unsigned(bytes) => number::unsigned(bits, bytes),
        Class::Pointer | Class::Text | Class::Float(_) => bits,
    }
}

fn float(bytes: u8, bits: u64) -> f64 {
    if bytes == 4 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) }
}

/// Bytes of a class.
fn size(class: Class) -> u8 {
    match class {
        Class::Unsigned(bytes) | Class::Signed(bytes) | Class::Float(bytes) => bytes,
        Class::Pointer | Class::Text => 8,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(format: Option<&str>, classes: &[Class]) -> Event {
        let parameter = |(index, class): (usize, &Class)| Parameter {
            name: format!("a{index}"),
            text: String::new(),
            class: *class,
        };
        Event {
            provider: "p".to_owned(),
            name: "n".to_owned(),
            parameters: classes.iter().enumerate().map(parameter).collect(),
            format: format.map(str::to_owned),
        }
    }

    fn one(format: &str, class: Class, value: Value) -> String {
        render(&event(Some(format), &[class]), &[value])
    }

    fn text(bytes: &[u8], cut: bool) -> Value {
        Value::Text { bytes: bytes.to_vec(), cut }
    }

    #[test]
    fn whole_numbers_are_printed_as_printf_does() {
        let minus = || Value::Signed(-1);
        for (format, class, value, expected) in [
            ("%d", Class::Signed(4), Value::Unsigned(0xffff_ffff), "-1"),
            ("%d", Class::Signed(4), minus(), "-1"),
            ("%u", Class::Signed(4), minus(), "4294967295"),
            ("%x", Class::Signed(1), minus(), "ffffffff"),
            ("%hhx", Class::Signed(4), minus(), "ff"),
            ("%lx", Class::Signed(4), minus(), "ffffffffffffffff"),
            ("%ld", Class::Unsigned(4), Value::Unsigned(0xffff_ffff), "4294967295"),
            ("%d", Class::Unsigned(4), Value::Unsigned(0xffff_ffff), "-1"),
            ("%d", Class::Unsigned(8), Value::Unsigned(1 << 40), "1099511627776"),
            ("%u", Class::Unsigned(1), minus(), "255"),
            ("0x%08x", Class::Unsigned(4), Value::Unsigned(0xabc), "0x00000abc"),
            ("%#X", Class::Unsigned(4), Value::Unsigned(0xabc), "0XABC"),
            ("%#x", Class::Unsigned(4), Value::Unsigned(0), "0"),
            ("%#010x|", Class::Unsigned(4), Value::Unsigned(1), "0x00000001|"),
            ("%#o", Class::Unsigned(4), Value::Unsigned(8), "010"),
            ("%-5d|", Class::Signed(4), minus(), "-1   |"),
            ("%5d|", Class::Signed(4), minus(), "   -1|"),
            ("%05d", Class::Signed(4), minus(), "-0001"),
            ("%05.2d", Class::Signed(4), minus(), "  -01"),
            ("%2.2x", Class::Unsigned(1), Value::Unsigned(5), "05"),
            ("%.0d|", Class::Signed(4), Value::Signed(0), "|"),
            ("%+d", Class::Signed(4), Value::Signed(1), "+1"),
            ("% d", Class::Signed(4), Value::Signed(1), " 1"),
            ("%d", Class::Signed(8), Value::Signed(i64::MIN), "-9223372036854775808"),
            ("%c", Class::Signed(1), Value::Signed(65), "A"),
            ("%c", Class::Signed(4), Value::Signed(10), "\\n"),
            ("%p", Class::Pointer, Value::Unsigned(0x10), "0x10"),
            ("%p", Class::Pointer, Value::Unsigned(0), "(nil)"),
            ("100%%%d", Class::Signed(4), Value::Signed(1), "100%1"),
        ] {
            assert_eq!(one(format, class, value.clone()), expected, "{format} {class:?} {value:?}");
        }
    }

    #[test]
    fn broken_numbers_are_printed_as_printf_does() {
        for (format, number, expected) in [
            ("%f", 1.5, "1.500000"),
            ("%.0f", 2.5, "2"),
            ("%8.2f|", -1.005, "   -1.00|"),
            ("%08.2f", -1.5, "-0001.50"),
            ("%e", 12345.678, "1.234568e+04"),
            ("%.2e", 0.000_123, "1.23e-04"),
            ("%g", 0.0001, "0.0001"),
            ("%g", 0.00001, "1e-05"),
            ("%g", 1_000_000.0, "1e+06"),
            ("%g", 123_456.0, "123456"),
            ("%g", 0.5, "0.5"),
            ("%g", 0.0, "0"),
            ("%g", 999_999.5, "1e+06"),
            ("%.3g", 1234.0, "1.23e+03"),
            ("%f", f64::INFINITY, "inf"),
            ("%f", -f64::INFINITY, "-inf"),
            ("%05f", f64::NAN, "  nan"),
        ] {
            assert_eq!(one(format, Class::Float(8), Value::Float(number)), expected, "{format} {number}");
        }
        assert_eq!(one("%g", Class::Float(4), Value::Unsigned(u64::from(1.5f32.to_bits()))), "1.5");
    }

    #[test]
    fn texts_are_cut_padded_and_escaped() {
        for (format, value, expected) in [
            ("%s", text(b"a\"b\n\xff", false), "a\"b\\n\\xff"),
            ("[%5s]", text(b"abc", false), "[  abc]"),
            ("[%-5s]", text(b"abc", false), "[abc  ]"),
            ("%.2s", text(b"abc", true), "ab"),
            ("%s", text(b"abc", true), "abc..."),
            ("%s", Value::Unsigned(0), "(null)"),
            ("%s", Value::Unsigned(0x1000), "0x1000"),
        ] {
            assert_eq!(one(format, Class::Text, value.clone()), expected, "{format} {value:?}");
        }
    }

    #[test]
    fn what_is_missing_is_said_in_its_place() {
        let event = event(Some("a %08x b %s c %d"), &[Class::Unsigned(4), Class::Text, Class::Signed(4)]);
        let values = [Value::Missing(Missing::Operand), Value::Missing(Missing::Fault)];
        assert_eq!(render(&event, &values), "a <unfetchable> b <fault> c <absent>");
    }

    #[test]
    fn without_a_format_that_fits_names_are_printed() {
        let classes = [Class::Signed(4), Class::Text, Class::Pointer, Class::Float(8)];
        let values =
            [Value::Unsigned(0xffff_fffe), text(b"q\"\n", true), Value::Unsigned(16), Value::Float(0.5)];
        for format in [None, Some("%d %.*s %p %f"), Some("%d"), Some("%d %s %p %f %d"), Some("%d %s %f %f")] {
            assert_eq!(
                render(&event(format, &classes), &values),
                r#"a0=-2 a1="q\"\n"... a2=0x10 a3=0.5"#,
                "{format:?}"
            );
        }
        assert_eq!(render(&event(None, &[]), &values), "");
        assert_eq!(render(&event(None, &[Class::Text]), &[Value::Unsigned(0)]), "a0=(null)");
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(Value::Unsigned),
            any::<i64>().prop_map(Value::Signed),
            any::<f64>().prop_map(Value::Float),
            (any::<Vec<u8>>(), any::<bool>()).prop_map(|(bytes, cut)| Value::Text { bytes, cut }),
            Just(Value::Missing(Missing::Fault)),
        ]
    }

    fn classes() -> impl Strategy<Value = Class> {
        prop_oneof![
            Just(Class::Pointer),
            Just(Class::Text),
            (0..=3u32).prop_map(|power| Class::Signed(1 << power)),
            (0..=3u32).prop_map(|power| Class::Unsigned(1 << power)),
            (2..=3u32).prop_map(|power| Class::Float(1 << power)),
        ]
    }

    proptest! {
        #[test]
        fn any_format_and_values_give_one_line(
            format in proptest::option::of("([a\n ]|%[-+ #0]{0,2}[0-9]{0,2}(\\.[0-9]?)?(hh|l)?[diouxXcspfeg])*|.*"),
            arguments in proptest::collection::vec((classes(), values()), 0..5),
        ) {
            let (classes, values): (Vec<_>, Vec<_>) = arguments.into_iter().unzip();
            let line = render(&event(format.as_deref(), &classes), &values);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}

//! Numbers, written as `printf` does.

use std::fmt::Write;

use crate::format::{Conversion, Directive};

/// The lowest `bytes` of a number, without sign.
pub(crate) fn unsigned(bits: u64, bytes: u8) -> u64 {
    let unused = 64 - 8 * u32::from(bytes.clamp(1, 8));
    bits << unused >> unused
}

/// The lowest `bytes` of a number, with their sign.
pub(crate) fn signed(bits: u64, bytes: u8) -> i64 {
    let unused = 64 - 8 * u32::from(bytes.clamp(1, 8));
    (bits << unused).cast_signed() >> unused
}

/// A whole number that was declared with so many `bytes`, extended to 64 bits. A directive without length modifier is
/// for an `int`; if the argument is longer, all of it is printed.
pub(crate) fn whole(line: &mut String, directive: &Directive, bytes: u8, bits: u64) {
    let bytes = directive.bytes.unwrap_or(bytes.max(4));
    let with_sign = directive.conversion == Conversion::Signed;
    let (negative, number) = if with_sign {
        let number = signed(bits, bytes);
        (number < 0, number.unsigned_abs())
    } else {
        (false, unsigned(bits, bytes))
    };
    let shape = Directive { bytes: None, conversion: Conversion::Signed, ..*directive };
    if shape == Directive::default() && !negative {
        // The usual one needs no memory of its own.
        let _ = match directive.conversion {
            Conversion::Hex => write!(line, "{number:x}"),
            Conversion::UpperHex => write!(line, "{number:X}"),
            Conversion::Octal => write!(line, "{number:o}"),
            _ => write!(line, "{number}"),
        };
        return;
    }
    let mut digits = match directive.conversion {
        Conversion::Hex => format!("{number:x}"),
        Conversion::UpperHex => format!("{number:X}"),
        Conversion::Octal => format!("{number:o}"),
        _ => number.to_string(),
    };
    if let Some(fewest) = directive.precision {
        digits = match (fewest, number) {
            (0, 0) => String::new(),
            _ => format!("{digits:0>fewest$}"),
        };
    }
    let prefix = match directive.conversion {
        Conversion::Signed => sign(directive, negative),
        Conversion::Hex if directive.alternate && number != 0 => "0x",
        Conversion::UpperHex if directive.alternate && number != 0 => "0X",
        Conversion::Octal if directive.alternate && !digits.starts_with('0') => "0",
        _ => "",
    };
    // A precision says how many zeros there are.
    prefixed(line, directive, prefix, &digits, directive.precision.is_none());
}

/// An address.
pub(crate) fn pointer(line: &mut String, directive: &Directive, bits: u64) {
    match bits {
        0 => pad(line, directive, "(nil)"),
        _ if directive.width == 0 => {
            let _ = write!(line, "{bits:#x}");
        }
        _ => prefixed(line, directive, "0x", &format!("{bits:x}"), true),
    }
}

/// A floating-point number; `None` if the directive is for something else.
pub(crate) fn float(line: &mut String, directive: &Directive, number: f64) -> Option<()> {
    let precision = directive.precision.unwrap_or(6);
    let size = number.abs();
    let digits = match directive.conversion {
        Conversion::Fixed | Conversion::Exponent | Conversion::General if !size.is_finite() => {
            if size.is_nan() { "nan".to_owned() } else { "inf".to_owned() }
        }
        Conversion::Fixed => format!("{size:.precision$}"),
        Conversion::Exponent => exponent(size, precision).0,
        Conversion::General => general(size, precision.max(1), directive.alternate),
        _ => return None,
    };
    let negative = number.is_sign_negative() && !number.is_nan();
    prefixed(line, directive, sign(directive, negative), &digits, size.is_finite());
    Some(())
}

/// `1.25e+01`, and the exponent.
fn exponent(size: f64, precision: usize) -> (String, i32) {
    let written = format!("{size:.precision$e}");
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    (format!("{mantissa}e{sign}{:02}", exponent.abs()), exponent)
}

/// `%g`: as short as may be, with so many significant digits.
fn general(size: f64, precision: usize, alternate: bool) -> String {
    let (written, power) = exponent(size, precision - 1);
    let behind = precision as i64 - 1 - i64::from(power);
    let digits = if power >= -4 && behind >= 0 {
        let behind = usize::try_from(behind).unwrap_or(0);
        format!("{size:.behind$}")
    } else {
        written
    };
    let (number, rest) = match digits.find('e') {
        Some(at) => digits.split_at(at),
        None => (digits.as_str(), ""),
    };
    if alternate || !number.contains('.') {
        return digits;
    }
    format!("{}{rest}", number.trim_end_matches('0').trim_end_matches('.'))
}

fn sign(directive: &Directive, negative: bool) -> &'static str {
    match directive {
        _ if negative => "-",
        Directive { plus: true, .. } => "+",
        Directive { blank: true, .. } => " ",
        _ => "",
    }
}

/// Fills up with zeros between the prefix and the digits if the directive says so and they `may_be` there, else with blanks.
fn prefixed(line: &mut String, directive: &Directive, prefix: &str, digits: &str, may_be: bool) {
    let missing = directive.width.saturating_sub(prefix.len() + digits.len());
    let zeros = directive.zeros && !directive.left && may_be;
    if !zeros && !directive.left {
        fill(line, ' ', missing);
    }
    line.push_str(prefix);
    if zeros {
        fill(line, '0', missing);
    }
    line.push_str(digits);
    if directive.left {
        fill(line, ' ', missing);
    }
}

/// Fills a text up with blanks to the directive's width.
pub(crate) fn pad(line: &mut String, directive: &Directive, text: &str) {
    let missing = directive.width.saturating_sub(text.chars().count());
    if !directive.left {
        fill(line, ' ', missing);
    }
    line.push_str(text);
    if directive.left {
        fill(line, ' ', missing);
    }
}

fn fill(line: &mut String, with: char, count: usize) {
    line.extend(std::iter::repeat_n(with, count));
}

//! Numbers of arguments: sizes and times with their units, and whole numbers.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::command::Unit;
use crate::json::Token;
use crate::value::Value;

/// Why a value is not the number that is needed, as words that follow the parameter's name.
pub type Why = &'static str;

const NO_NUMBER: Why = "is not a number";
const NEGATIVE: Why = "is negative";
const NOT_WHOLE: Why = "is not a whole number";
const TOO_LARGE: Why = "is too large";

/// Longest text of a number, in bytes.
const LONGEST: usize = 64;

/// The decimal number `digits` × 10 ^ `exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: u128,
    exponent: i64,
}

impl Decimal {
    /// Reads one from the start of `text`; what comes after it.
    fn read(text: &str) -> Result<(Decimal, &str), Why> {
        if text.starts_with('-') {
            return Err(NEGATIVE);
        }
        let (whole, mut rest) = split_digits(text);
        if whole.is_empty() {
            return Err(NO_NUMBER);
        }
        let mut number = Decimal { digits: 0, exponent: 0 };
        number.add(whole)?;
        if let Some(after) = rest.strip_prefix('.') {
            let (fraction, after) = split_digits(after);
            if fraction.is_empty() {
                return Err(NO_NUMBER);
            }
            let fraction = fraction.trim_end_matches('0');
            number.add(fraction)?;
            number.exponent = i64::try_from(fraction.len()).map_err(|_| TOO_LARGE)?.saturating_neg();
            rest = after;
        }
        if let Some(after) = rest.strip_prefix(['e', 'E']) {
            let negative = after.starts_with('-');
            let (exponent, after) = split_digits(after.strip_prefix(['+', '-']).unwrap_or(after));
            if exponent.is_empty() {
                return Err(NO_NUMBER);
            }
            let exponent = exponent.bytes().fold(0_i64, |value, digit| {
                value.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
            });
            let exponent = if negative { exponent.saturating_neg() } else { exponent };
            number.exponent = number.exponent.saturating_add(exponent);
            rest = after;
        }
        Ok((number, rest))
    }

    fn add(&mut self, digits: &str) -> Result<(), Why> {
        for digit in digits.bytes() {
            let digit = u128::from(digit.saturating_sub(b'0'));
            let ten = self.digits.checked_mul(10).and_then(|value| value.checked_add(digit));
            self.digits = ten.ok_or(TOO_LARGE)?;
        }
        Ok(())
    }

    /// The number × `factor`, rounded down; whether nothing was lost.
    fn times(self, factor: u64) -> Result<(u64, bool), Why> {
        let product = self.digits.checked_mul(u128::from(factor)).ok_or(TOO_LARGE)?;
        let power =
            u32::try_from(self.exponent.unsigned_abs()).ok().and_then(|power| 10_u128.checked_pow(power));
        let (value, exact) = match power {
            _ if product == 0 => (0, true),
            None if self.exponent < 0 => (0, false),
            None => return Err(TOO_LARGE),
            Some(power) if self.exponent < 0 => {
                (product.checked_div(power).unwrap_or_default(), product.is_multiple_of(power))
            }
            Some(power) => (product.checked_mul(power).ok_or(TOO_LARGE)?, true),
        };
        Ok((u64::try_from(value).map_err(|_| TOO_LARGE)?, exact))
    }

    fn whole(self, factor: u64) -> Result<u64, Why> {
        let (value, exact) = self.times(factor)?;
        // "0.5k" would be a whole number of bytes, but "0.3k" not: sizes are whole numbers of their unit.
        if exact && self.times(1).is_ok_and(|(_, exact)| exact) { Ok(value) } else { Err(NOT_WHOLE) }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Calls `read` with the text of a number, which may stand in a JSON text as well: who types a command has only texts.
fn with_text<R>(value: Value<'_>, read: impl FnOnce(&str) -> Result<R, Why>) -> Result<R, Why> {
    match value.first() {
        Token::Number(number) => read(number),
        Token::Text(text) => match text.start(&mut [0; LONGEST]) {
            (text, true) => read(text),
            _ => Err(NO_NUMBER),
        },
        _ => Err(NO_NUMBER),
    }
}

/// The unit that a word means: only its first letter counts, as in the module that these commands come from.
#[must_use]
pub fn unit(word: &str) -> Option<Unit> {
    match word.chars().next()?.to_ascii_lowercase() {
        'b' => Some(Unit::B),
        'k' => Some(Unit::K),
        'm' => Some(Unit::M),
        'g' => Some(Unit::G),
        _ => None,
    }
}

/// A size in bytes. One with a unit of its own, `"64k"`, does not take the other.
///
/// # Errors
/// When it is no whole number, or too large.
pub fn size(value: Value<'_>, other: Unit) -> Result<u64, Why> {
    with_text(value, |text| {
        let (number, rest) = Decimal::read(text)?;
        let unit = match rest {
            "" => other,
            word if word.bytes().all(|byte| byte.is_ascii_alphabetic()) => unit(word).ok_or(NO_NUMBER)?,
            _ => return Err(NO_NUMBER),
        };
        number.whole(1_u64.checked_shl(unit.shift()).ok_or(TOO_LARGE)?)
    })
}

/// A time in nanoseconds; a number alone is in milliseconds.
///
/// # Errors
/// When it is none, or longer than 584 years.
pub fn time(value: Value<'_>) -> Result<u64, Why> {
    with_text(value, |text| {
        let (number, rest) = Decimal::read(text)?;
        let nanoseconds = match rest {
            "ns" => 1,
            "us" | "µs" => 1000,
            "" | "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err("is not a time, as 20, \"50us\", \"1.5ms\", \"2s\" or \"1m\""),
        };
        number.times(nanoseconds).map(|(time, _)| time)
    })
}

/// A whole number.
///
/// # Errors
/// When it is none, or too large.
pub fn whole(value: Value<'_>) -> Result<u64, Why> {
    with_text(value, |text| match Decimal::read(text)? {
        (number, "") => number.whole(1),
        _ => Err(NO_NUMBER),
    })
}

/// A whole number; none for -1, which means all.
///
/// # Errors
/// As [`whole`].
pub fn whole_or_all(value: Value<'_>) -> Result<Option<u64>, Why> {
    if with_text(value, |text| Ok(text == "-1"))? { Ok(None) } else { whole(value).map(Some) }
}

/// Yes or no: `true`, `false`, 1 or 0.
///
/// # Errors
/// When it is none of these.
pub fn switch(value: Value<'_>) -> Result<bool, Why> {
    match value.first() {
        Token::Boolean(value) => Ok(value),
        Token::Text(text) if text.is("true") => Ok(true),
        Token::Text(text) if text.is("false") => Ok(false),
        _ => match whole(value) {
            Ok(0) => Ok(false),
            Ok(1) => Ok(true),
            _ => Err("is neither 0 nor 1"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> Value<'_> {
        Value::parse(text.as_bytes()).expect("right")
    }

    #[test]
    fn sizes_have_units() {
        for (text, unit, bytes) in [
            ("10", Unit::B, Ok(10)),
            ("10", Unit::K, Ok(10240)),
            ("\"10\"", Unit::M, Ok(10 << 20)),
            ("\"64k\"", Unit::B, Ok(65536)),
            ("\"64KiB\"", Unit::G, Ok(65536)),
            ("1e3", Unit::B, Ok(1000)),
            ("10.0", Unit::B, Ok(10)),
            ("0e99999999999999999999", Unit::B, Ok(0)),
            ("18446744073709551615", Unit::B, Ok(u64::MAX)),
            ("18446744073709551616", Unit::B, Err(TOO_LARGE)),
            ("17179869184", Unit::G, Err(TOO_LARGE)),
            ("1e99999999999999999999", Unit::B, Err(TOO_LARGE)),
            ("1e-99999999999999999999", Unit::B, Err(NOT_WHOLE)),
            ("0.5", Unit::K, Err(NOT_WHOLE)),
            ("-1", Unit::B, Err(NEGATIVE)),
            ("\"k\"", Unit::B, Err(NO_NUMBER)),
            ("\"\"", Unit::B, Err(NO_NUMBER)),
            ("\"1 k\"", Unit::B, Err(NO_NUMBER)),
            ("\"1x\"", Unit::B, Err(NO_NUMBER)),
            ("true", Unit::B, Err(NO_NUMBER)),
            ("[1]", Unit::B, Err(NO_NUMBER)),
        ] {
            assert_eq!(size(json(text), unit), bytes, "{text}");
        }
    }

    #[test]
    fn times_are_milliseconds_or_have_units() {
        for (text, nanoseconds) in [
            ("20", Ok(20_000_000)),
            ("0.05", Ok(50_000)),
            ("\"50us\"", Ok(50_000)),
            ("\"1.5ms\"", Ok(1_500_000)),
            ("\"2s\"", Ok(2_000_000_000)),
            ("\"1m\"", Ok(60_000_000_000)),
            ("1e-7", Ok(0)),
            ("1e14", Err(TOO_LARGE)),
            ("-3", Err(NEGATIVE)),
        ] {
            assert_eq!(time(json(text)), nanoseconds, "{text}");
        }
        assert!(time(json("\"1y\"")).is_err());
    }

    #[test]
    fn minus_one_means_all() {
        assert_eq!(whole_or_all(json("-1")), Ok(None));
        assert_eq!(whole_or_all(json("\"-1\"")), Ok(None));
        assert_eq!(whole_or_all(json("7")), Ok(Some(7)));
        assert_eq!(whole_or_all(json("-2")), Err(NEGATIVE));
    }

    #[test]
    fn switches_are_on_or_off() {
        for on in ["true", "1", "\"1\"", "\"true\""] {
            assert_eq!(switch(json(on)), Ok(true), "{on}");
        }
        for neither in ["2", "\"\"", "[]", "0.5"] {
            assert!(switch(json(neither)).is_err(), "{neither}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_an_error(text in "[-+0-9.eEkKmMgGbns ]{0,70}") {
            let quoted = serde_json::to_string(&text).expect("written");
            let value = json(&quoted);
            let _ = (size(value, Unit::G), time(value), whole_or_all(value), switch(value));
        }

        #[test]
        fn whole_numbers_come_back(number: u64) {
            prop_assert_eq!(whole(json(&number.to_string())), Ok(number));
            prop_assert_eq!(whole(json(&format!("\"{number}\""))), Ok(number));
        }
    }
}

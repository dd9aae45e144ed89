//! Quantities on the command line: times, sizes and rates.

use std::time::Duration;

/// A time that is more than none: seconds, or with s, m or h.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1.0),
        Some(b'm') => (&text[..text.len() - 1], 60.0),
        Some(b'h') => (&text[..text.len() - 1], 3600.0),
        _ => (text, 1.0),
    };
    let seconds =
        number.parse::<f64>().map_err(|_| "expected seconds, as in 30, 0.5, 10m or 2h".to_owned())?;
    match Duration::try_from_secs_f64(seconds * unit) {
        Ok(time) if !time.is_zero() && time < Duration::from_secs(366 * 86400) => Ok(time),
        _ => Err("expected more than no time, and less than a year".to_owned()),
    }
}

/// A size in bytes, or with k, m or g for the powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let digits = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|_| digits);
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected bytes, as in 512, 4k, 1m or 2g".to_owned())
}

/// A size that is more than none.
pub fn some_bytes(text: &str) -> Result<u64, String> {
    bytes(text)
        .and_then(|bytes| if bytes > 0 { Ok(bytes) } else { Err("expected at least one byte".to_owned()) })
}

/// How fast something is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So often a second; more than never.
    PerSecond(f64),
    /// As fast as it goes.
    Max,
}

/// A rate: times a second, or with `/s` or `/m`; or `max`.
pub fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.strip_suffix("/s").unwrap_or(text), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some(_) => ("", 1.0),
    };
    // Faster than the clock that the load keeps time by (in nanoseconds) is as fast as it goes.
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(Rate::PerSecond(number / seconds)),
        _ => Err("expected a rate of up to 1e9, as in 1000, 1000/s or 30/m, or max".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_are_more_than_none() {
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10s"), duration("10"));
        assert!(duration("0").is_err() && duration("-1").is_err() && duration("nan").is_err());
    }

    #[test]
    fn sizes_have_a_unit_and_fit_into_64_bits() {
        assert_eq!(["512", "4k", "1M", "2g"].map(bytes), [Ok(512), Ok(4096), Ok(1 << 20), Ok(2 << 30)]);
        for wrong in ["", "k", "-1", "+1", "1.5k", "1kb", "17179869184g"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(some_bytes("17179869183g"), Ok(17_179_869_183 << 30));
        assert!(some_bytes("0k").is_err());
    }

    #[test]
    fn rates_are_by_the_second_or_the_minute() {
        let a_second = |number| Ok(Rate::PerSecond(number));
        assert_eq!(["1000", "1000/s", "30/m", "0.5"].map(rate), [1000.0, 1000.0, 0.5, 0.5].map(a_second));
        assert_eq!(rate("max"), Ok(Rate::Max));
        for wrong in ["", "0", "-1", "nan", "inf", "1/h", "/s", "1/s/s", "1e10", "1 /s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}

//! Numbers, texts and words of JSON, byte by byte.

use super::{Error, Place, Wrong, wrong};
use crate::text::Text;

/// Just this word.
pub(super) fn word(input: &[u8], word: &[u8], place: &mut Place) -> Result<(), Error> {
    for letter in word {
        match input.get(place.at) {
            None => return wrong(Wrong::Ends, place.at),
            Some(byte) if byte == letter => place.step(),
            Some(_) => return wrong(Wrong::Byte, place.at),
        }
    }
    Ok(())
}

/// A number, as it is written.
pub(super) fn number<'j>(input: &'j [u8], place: &mut Place) -> Result<&'j str, Error> {
    let start = place.at;
    if input.get(place.at) == Some(&b'-') {
        place.step();
    }
    if input.get(place.at) == Some(&b'0') {
        place.step();
    } else {
        digits(input, place)?;
    }
    if input.get(place.at) == Some(&b'.') {
        place.step();
        digits(input, place)?;
    }
    if let Some(b'e' | b'E') = input.get(place.at) {
        place.step();
        if let Some(b'+' | b'-') = input.get(place.at) {
            place.step();
        }
        digits(input, place)?;
    }
    // Where the bytes end more digits may come, unless the number is all there is.
    if place.at >= input.len() && place.depth > 0 {
        return wrong(Wrong::Ends, place.at);
    }
    let bytes = input.get(start..place.at).unwrap_or_default();
    Ok(core::str::from_utf8(bytes).unwrap_or_default())
}

/// At least one digit.
fn digits(input: &[u8], place: &mut Place) -> Result<(), Error> {
    match input.get(place.at) {
        None => return wrong(Wrong::Ends, place.at),
        Some(b'0'..=b'9') => {}
        Some(_) => return wrong(Wrong::Byte, place.at),
    }
    while let Some(b'0'..=b'9') = input.get(place.at) {
        place.step();
    }
    Ok(())
}

/// A text, from quote to quote.
pub(super) fn text<'j>(input: &'j [u8], place: &mut Place) -> Result<Text<'j>, Error> {
    place.step();
    let start = place.at;
    loop {
        match input.get(place.at) {
            None => return wrong(Wrong::Ends, place.at),
            Some(b'"') => break,
            Some(0..0x20) => return wrong(Wrong::Control, place.at),
            Some(b'\\') => escape(input, place)?,
            Some(_) => place.step(),
        }
    }
    let bytes = input.get(start..place.at).unwrap_or_default();
    place.step();
    match core::str::from_utf8(bytes) {
        Ok(text) => Ok(Text::from_escaped(text)),
        Err(error) => wrong(Wrong::Encoding, start.saturating_add(error.valid_up_to())),
    }
}

/// What follows a `\`.
fn escape(input: &[u8], place: &mut Place) -> Result<(), Error> {
    place.step();
    match input.get(place.at) {
        None => wrong(Wrong::Ends, place.at),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            place.step();
            Ok(())
        }
        Some(b'u') => {
            let start = place.at;
            match four_digits(input, place)? {
                0xd800..0xdc00 => {
                    word(input, b"\\", place)
                        .map_err(|error| Error { what: as_escape(error.what), at: error.at })?;
                    let second = place.at;
                    if input.get(second).is_some_and(|&byte| byte != b'u') {
                        return wrong(Wrong::Escape, second);
                    }
                    match four_digits(input, place)? {
                        0xdc00..0xe000 => Ok(()),
                        _ => wrong(Wrong::Escape, second),
                    }
                }
                0xdc00..0xe000 => wrong(Wrong::Escape, start),
                _ => Ok(()),
            }
        }
        Some(_) => wrong(Wrong::Escape, place.at),
    }
}

/// `u` and four hexadecimal digits.
fn four_digits(input: &[u8], place: &mut Place) -> Result<u32, Error> {
    if place.at >= input.len() {
        return wrong(Wrong::Ends, place.at);
    }
    place.step();
    let mut value = 0;
    for _ in 0..4 {
        let Some(&byte) = input.get(place.at) else { return wrong(Wrong::Ends, place.at) };
        let Some(digit) = char::from(byte).to_digit(16) else { return wrong(Wrong::Escape, place.at) };
        value = value << 4 | digit;
        place.step();
    }
    Ok(value)
}

fn as_escape(what: Wrong) -> Wrong {
    if what == Wrong::Byte { Wrong::Escape } else { what }
}

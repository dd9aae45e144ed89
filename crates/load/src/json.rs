//! JSON as RFC 8259 has it, read token by token from bytes of which more may still come.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod place;
mod scalar;

pub use place::Place;

use crate::text::Text;
use place::Expected;

/// So many arrays and objects may lie inside each other.
pub const DEEPEST: u32 = 32;

/// A part of a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'j> {
    /// `{`
    BeginObject,
    /// `}`
    EndObject,
    /// `[`
    BeginArray,
    /// `]`
    EndArray,
    /// The name of a member; its value comes next.
    Name(Text<'j>),
    /// A text.
    Text(Text<'j>),
    /// A number, as it is written.
    Number(&'j str),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`
    Null,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It ends too early; with more bytes it may be right.
    Ends,
    /// This byte can't be here.
    Byte,
    /// A text holds a control character that is not escaped.
    Control,
    /// What follows a `\` is not an escape, or half of a character.
    Escape,
    /// A text is not UTF-8.
    Encoding,
    /// More than [`DEEPEST`].
    Deep,
}

impl Wrong {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Wrong::Ends => "it ends too early",
            Wrong::Byte => "a character that can't be there",
            Wrong::Control => "a control character in a text",
            Wrong::Escape => "a wrong escape in a text",
            Wrong::Encoding => "a text that is not UTF-8",
            Wrong::Deep => "nested too deep",
        }
    }
}

/// What is wrong, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// What.
    pub what: Wrong,
    /// Where, from 0.
    pub at: usize,
}

fn wrong<T>(what: Wrong, at: usize) -> Result<T, Error> {
    Err(Error { what, at })
}

/// Reads one JSON value.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'j> {
    input: &'j [u8],
    place: Place,
    /// Where the last token began.
    token_start: usize,
}

impl<'j> Reader<'j> {
    /// Reads `input` from `place` on, which another reader reached that had fewer of the same bytes.
    #[must_use]
    pub fn new(input: &'j [u8], place: Place) -> Reader<'j> {
        Reader { input, place, token_start: place.at }
    }

    /// How far it has read: after the last token that was complete.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the last token began.
    #[must_use]
    pub fn token_start(&self) -> usize {
        self.token_start
    }

    /// All bytes, also those that are read already.
    #[must_use]
    pub fn input(&self) -> &'j [u8] {
        self.input
    }

    /// The next token; none after the value, where only white space may be.
    ///
    /// # Errors
    /// When the bytes are no JSON, or end: [`Wrong::Ends`]. The place is as it was then.
    pub fn token(&mut self) -> Result<Option<Token<'j>>, Error> {
        let mut place = self.place;
        loop {
            while matches!(self.input.get(place.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
                place.step();
            }
            // Commas, colons and white space need not be read again.
            self.place = place;
            let Some(&byte) = self.input.get(place.at) else {
                return if place.is_complete() { Ok(None) } else { wrong(Wrong::Ends, place.at) };
            };
            match (place.expected, byte) {
                (Expected::CommaOrEnd, b',') => {
                    place.expected = if place.in_object() { Expected::Name } else { Expected::Value };
                    place.step();
                }
                (Expected::Colon, b':') => {
                    place.expected = Expected::Value;
                    place.step();
                }
                _ => break,
            }
        }
        let token = self.token_at(&mut place)?;
        self.token_start = self.place.at;
        self.place = place;
        Ok(Some(token))
    }

    fn token_at(&self, place: &mut Place) -> Result<Token<'j>, Error> {
        let byte = self.input.get(place.at).copied().unwrap_or_default();
        match (place.expected, byte) {
            (Expected::CommaOrEnd | Expected::NameOrEnd, b'}') if place.in_object() => {
                place.end();
                Ok(Token::EndObject)
            }
            (Expected::CommaOrEnd | Expected::ValueOrEnd, b']') if !place.in_object() => {
                place.end();
                Ok(Token::EndArray)
            }
            (Expected::Name | Expected::NameOrEnd, b'"') => {
                let text = scalar::text(self.input, place)?;
                place.expected = Expected::Colon;
                Ok(Token::Name(text))
            }
            (Expected::Value | Expected::ValueOrEnd, _) => match byte {
                b'{' => place.begin(true).map(|()| Token::BeginObject),
                b'[' => place.begin(false).map(|()| Token::BeginArray),
                _ => {
                    let token = self.scalar(byte, place)?;
                    place.ended_value();
                    Ok(token)
                }
            },
            _ => wrong(Wrong::Byte, place.at),
        }
    }

    fn scalar(&self, first: u8, place: &mut Place) -> Result<Token<'j>, Error> {
        match first {
            b'"' => scalar::text(self.input, place).map(Token::Text),
            b'-' | b'0'..=b'9' => scalar::number(self.input, place).map(Token::Number),
            b't' => scalar::word(self.input, b"true", place).map(|()| Token::Boolean(true)),
            b'f' => scalar::word(self.input, b"false", place).map(|()| Token::Boolean(false)),
            b'n' => scalar::word(self.input, b"null", place).map(|()| Token::Null),
            _ => wrong(Wrong::Byte, place.at),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::value::Value;
    use proptest::prelude::*;

    /// The value that serde_json makes of what [`Value`] gives.
    fn rebuilt(value: Value<'_>) -> serde_json::Value {
        match value.first() {
            Token::Null => serde_json::Value::Null,
            Token::Boolean(value) => value.into(),
            Token::Number(number) => serde_json::from_str(number).expect("a number"),
            Token::Text(text) => text.chars().collect::<String>().into(),
            Token::BeginArray => value.elements().map(rebuilt).collect(),
            Token::BeginObject => value
                .members()
                .map(|(name, value)| (name.chars().collect::<String>(), rebuilt(value)))
                .collect(),
            Token::EndObject | Token::EndArray | Token::Name(_) => panic!("no value begins so"),
        }
    }

    /// Whether both agree on `bytes`, but for numbers that are too large for serde_json, and depth.
    fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
        match (Value::parse(bytes), serde_json::from_slice::<serde_json::Value>(bytes)) {
            (Ok(value), Ok(theirs)) => prop_assert_eq!(rebuilt(value), theirs),
            (Err(_), Err(_)) => {}
            (Err(Error { what: Wrong::Deep, .. }), Ok(_)) => {}
            (Ok(_), Err(error)) if error.to_string().contains("number out of range") => {}
            (mine, theirs) => prop_assert!(false, "{mine:?} {theirs:?}"),
        }
        Ok(())
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            // Halves, so that all digits are read back alike.
            any::<i32>().prop_map(|n| (f64::from(n) / 2.0).into()),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// Bytes of which JSON is made, more often than any others.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d800", "\\udc00", "0", "1", "-", ".", "e",
                "E+", "true", "false", "null", " ", "\n", "\t", "a", "é", "\"a\"", "\"a\":", "12",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_with_the_same_values(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let text = text.expect("written");
            let mine = Value::parse(&text);
            prop_assert!(mine.is_ok(), "{:?}", mine);
            prop_assert_eq!(mine.map(rebuilt), Ok(value));
        }

        #[test]
        fn what_serde_json_refuses_is_refused(bytes in nearly_json()) {
            agrees(&bytes)?;
        }

        #[test]
        fn one_changed_byte_is_judged_alike(value in any_json(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut text = serde_json::to_vec(&value).expect("written");
            let at = at.index(text.len());
            text[at] = byte;
            agrees(&text)?;
        }

        #[test]
        fn a_text_that_is_cut_off_ends_too_early(value in any_json(), at in any::<prop::sample::Index>()) {
            let text = serde_json::to_vec(&vec![value]).expect("written");
            let cut = &text[..at.index(text.len())];
            prop_assert_eq!(Value::parse(cut).map_err(|error| error.what).err(), Some(Wrong::Ends));
        }
    }

    #[test]
    fn each_kind_of_mistake_is_named_with_its_place() {
        for (text, what, at) in [
            ("", Wrong::Ends, 0),
            ("[1,]", Wrong::Byte, 3),
            ("{\"a\"1}", Wrong::Byte, 4),
            ("[01]", Wrong::Byte, 2),
            ("[1]]", Wrong::Byte, 3),
            ("[1}", Wrong::Byte, 2),
            ("\"\n\"", Wrong::Control, 1),
            ("\"\\x\"", Wrong::Escape, 2),
            ("\"\\ud800\"", Wrong::Escape, 7),
            ("\"\\udc00\"", Wrong::Escape, 2),
            ("nul1", Wrong::Byte, 3),
            ("-", Wrong::Ends, 1),
        ] {
            assert_eq!(Value::parse(text.as_bytes()).err(), Some(Error { what, at }), "{text}");
        }
        assert_eq!(Value::parse(b"[\"a\xff\"]").err(), Some(Error { what: Wrong::Encoding, at: 3 }));
    }

    #[test]
    fn nesting_has_a_limit() {
        let text = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(Value::parse(text(32).as_bytes()).is_ok());
        assert_eq!(Value::parse(text(33).as_bytes()).err(), Some(Error { what: Wrong::Deep, at: 32 }));
    }
}

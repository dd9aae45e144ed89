//! JSON as RFC 8259 has it, read token by token from bytes of which more may still come.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::text::Text;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// How far a text has been read. With it a [`Reader`] goes on when more bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: usize,
    depth: u32,
    /// Of each array and object around the place whether it is an object, the innermost in bit 0.
    objects: u32,
    expected: Expected,
}

impl Place {
    /// Before the first byte.
    pub const START: Place = Place { at: 0, depth: 0, objects: 0, expected: Expected::Value };

    /// How many bytes lie before it.
    #[must_use]
    pub const fn at(self) -> usize {
        self.at
    }

    /// How many arrays and objects are around it.
    #[must_use]
    pub const fn depth(self) -> u32 {
        self.depth
    }

    /// Whether the value is complete.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.expected == Expected::Nothing
    }

    const fn in_object(self) -> bool {
        self.objects & 1 == 1
    }

    fn ended_value(&mut self) {
        self.expected = if self.depth == 0 { Expected::Nothing } else { Expected::CommaOrEnd };
    }

    fn begin(&mut self, object: bool) -> Result<(), Error> {
        if self.depth >= DEEPEST {
            return wrong(Wrong::Deep, self.at);
        }
        self.depth = self.depth.saturating_add(1);
        self.objects = self.objects << 1 | u32::from(object);
        self.expected = if object { Expected::NameOrEnd } else { Expected::ValueOrEnd };
        self.step();
        Ok(())
    }

    fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.ended_value();
        self.step();
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }
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
                let text = self.text(place)?;
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
            b'"' => self.text(place).map(Token::Text),
            b'-' | b'0'..=b'9' => self.number(place).map(Token::Number),
            b't' => self.word(b"true", place).map(|()| Token::Boolean(true)),
            b'f' => self.word(b"false", place).map(|()| Token::Boolean(false)),
            b'n' => self.word(b"null", place).map(|()| Token::Null),
            _ => wrong(Wrong::Byte, place.at),
        }
    }

    fn word(&self, word: &[u8], place: &mut Place) -> Result<(), Error> {
        for letter in word {
            match self.input.get(place.at) {
                None => return wrong(Wrong::Ends, place.at),
                Some(byte) if byte == letter => place.step(),
                Some(_) => return wrong(Wrong::Byte, place.at),
            }
        }
        Ok(())
    }

    fn number(&self, place: &mut Place) -> Result<&'j str, Error> {
        let start = place.at;
        if self.input.get(place.at) == Some(&b'-') {
            place.step();
        }
        if self.input.get(place.at) == Some(&b'0') {
            place.step();
        } else {
            self.digits(place)?;
        }
        if self.input.get(place.at) == Some(&b'.') {
            place.step();
            self.digits(place)?;
        }
        if let Some(b'e' | b'E') = self.input.get(place.at) {
            place.step();
            if let Some(b'+' | b'-') = self.input.get(place.at) {
                place.step();
            }
            self.digits(place)?;
        }
        // Where the bytes end more digits may come, unless the number is all there is.
        if place.at >= self.input.len() && place.depth > 0 {
            return wrong(Wrong::Ends, place.at);
        }
        let bytes = self.input.get(start..place.at).unwrap_or_default();
        Ok(core::str::from_utf8(bytes).unwrap_or_default())
    }

    /// At least one digit.
    fn digits(&self, place: &mut Place) -> Result<(), Error> {
        match self.input.get(place.at) {
            None => return wrong(Wrong::Ends, place.at),
            Some(b'0'..=b'9') => {}
            Some(_) => return wrong(Wrong::Byte, place.at),
        }
        while let Some(b'0'..=b'9') = self.input.get(place.at) {
            place.step();
        }
        Ok(())
    }

    fn text(&self, place: &mut Place) -> Result<Text<'j>, Error> {
        place.step();
        let start = place.at;
        loop {
            match self.input.get(place.at) {
                None => return wrong(Wrong::Ends, place.at),
                Some(b'"') => break,
                Some(0..0x20) => return wrong(Wrong::Control, place.at),
                Some(b'\\') => self.escape(place)?,
                Some(_) => place.step(),
            }
        }
        let bytes = self.input.get(start..place.at).unwrap_or_default();
        place.step();
        match core::str::from_utf8(bytes) {
            Ok(text) => Ok(Text::from_escaped(text)),
            Err(error) => wrong(Wrong::Encoding, start.saturating_add(error.valid_up_to())),
        }
    }

    fn escape(&self, place: &mut Place) -> Result<(), Error> {
        place.step();
        match self.input.get(place.at) {
            None => wrong(Wrong::Ends, place.at),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                place.step();
                Ok(())
            }
            Some(b'u') => {
                let start = place.at;
                match self.four_digits(place)? {
                    0xd800..0xdc00 => {
                        self.word(b"\\", place)
                            .map_err(|error| Error { what: as_escape(error.what), at: error.at })?;
                        let second = place.at;
                        if self.input.get(second).is_some_and(|&byte| byte != b'u') {
                            return wrong(Wrong::Escape, second);
                        }
                        match self.four_digits(place)? {
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
    fn four_digits(&self, place: &mut Place) -> Result<u32, Error> {
        if place.at >= self.input.len() {
            return wrong(Wrong::Ends, place.at);
        }
        place.step();
        let mut value = 0;
        for _ in 0..4 {
            let Some(&byte) = self.input.get(place.at) else { return wrong(Wrong::Ends, place.at) };
            let Some(digit) = char::from(byte).to_digit(16) else { return wrong(Wrong::Escape, place.at) };
            value = value << 4 | digit;
            place.step();
        }
        Ok(value)
    }
}

fn as_escape(what: Wrong) -> Wrong {
    if what == Wrong::Byte { Wrong::Escape } else { what }
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

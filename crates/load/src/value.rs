//! A JSON value that was found to be right, and what it is made of.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::json::{Error, Place, Reader, Token, Wrong};
use crate::text::Text;

/// A value, by the bytes that it is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'j> {
    json: &'j [u8],
    first: Token<'j>,
}

impl<'j> Value<'j> {
    /// The only value in `json`.
    ///
    /// # Errors
    /// When it is not one, or not the only one.
    pub fn parse(json: &'j [u8]) -> Result<Value<'j>, Error> {
        let mut reader = Reader::new(json, Place::START);
        let value = next(&mut reader)?.ok_or(Error { what: Wrong::Ends, at: 0 })?;
        reader.token()?;
        Ok(value)
    }

    /// The bytes that it is written with.
    #[must_use]
    pub fn json(self) -> &'j [u8] {
        self.json
    }

    /// Its first token: itself, or the beginning of an array or object.
    #[must_use]
    pub fn first(self) -> Token<'j> {
        self.first
    }

    /// What an array holds; nothing if it is none.
    #[must_use]
    pub fn elements(self) -> Elements<'j> {
        Elements { reader: inside(self, Token::BeginArray) }
    }

    /// What an object holds; nothing if it is none.
    #[must_use]
    pub fn members(self) -> Members<'j> {
        Members { reader: inside(self, Token::BeginObject) }
    }
}

/// After the first token of `value`, if that is `begin`.
fn inside<'j>(value: Value<'j>, begin: Token<'_>) -> Option<Reader<'j>> {
    let mut reader = Reader::new(value.json, Place::START);
    (reader.token().ok()?? == begin).then_some(reader)
}

/// Reads a whole value; none where an array or object, or the text, ends.
fn next<'j>(reader: &mut Reader<'j>) -> Result<Option<Value<'j>>, Error> {
    let depth = reader.place().depth();
    let Some(first) = reader.token()? else { return Ok(None) };
    let start = reader.token_start();
    if let Token::EndArray | Token::EndObject = first {
        return Ok(None);
    }
    while reader.place().depth() > depth {
        reader.token()?;
    }
    let json = reader.input().get(start..reader.place().at()).unwrap_or_default();
    Ok(Some(Value { json, first }))
}

/// The elements of an array.
#[derive(Debug, Clone)]
pub struct Elements<'j> {
    reader: Option<Reader<'j>>,
}

impl<'j> Iterator for Elements<'j> {
    type Item = Value<'j>;

    fn next(&mut self) -> Option<Value<'j>> {
        next(self.reader.as_mut()?).ok()?
    }
}

/// The members of an object, in the order of the text; a name may come twice.
#[derive(Debug, Clone)]
pub struct Members<'j> {
    reader: Option<Reader<'j>>,
}

impl<'j> Iterator for Members<'j> {
    type Item = (Text<'j>, Value<'j>);

    fn next(&mut self) -> Option<(Text<'j>, Value<'j>)> {
        let reader = self.reader.as_mut()?;
        let Token::Name(name) = reader.token().ok()?? else { return None };
        Some((name, next(reader).ok()??))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_the_bytes_that_they_are_written_with() {
        let value = Value::parse(b" [1e2 , {\"a\": [ ]} , \"\\u0041\" ] ").expect("right");
        let elements: Vec<_> = value.elements().map(Value::json).collect();
        assert_eq!(elements, [&b"1e2"[..], b"{\"a\": [ ]}", b"\"\\u0041\""]);
        assert_eq!(value.members().count(), 0);
        let mut after = value.elements();
        assert_eq!(after.by_ref().count(), 3);
        assert!(after.next().is_none());
    }
}

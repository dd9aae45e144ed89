//! A text of a JSON text, with its escapes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// What stands between two quotes; its escapes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'j> {
    escaped: &'j str,
}

impl<'j> Text<'j> {
    pub(crate) fn from_escaped(escaped: &'j str) -> Text<'j> {
        Text { escaped }
    }

    /// Its characters, without escapes.
    #[must_use]
    pub fn chars(self) -> Chars<'j> {
        Chars { rest: self.escaped.chars() }
    }

    /// Whether it is this one, however it is written.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        self.chars().eq(text.chars())
    }

    /// As many of its characters as `buffer` takes, and whether these are all.
    pub fn start(self, buffer: &mut [u8]) -> (&str, bool) {
        let mut length: usize = 0;
        let mut whole = true;
        for character in self.chars() {
            let end = length.saturating_add(character.len_utf8());
            let Some(room) = buffer.get_mut(length..end) else {
                whole = false;
                break;
            };
            character.encode_utf8(room);
            length = end;
        }
        (core::str::from_utf8(buffer.get(..length).unwrap_or_default()).unwrap_or_default(), whole)
    }
}

/// The characters of a [`Text`].
#[derive(Debug, Clone)]
pub struct Chars<'j> {
    rest: core::str::Chars<'j>,
}

impl Chars<'_> {
    fn four_digits(&mut self) -> u32 {
        let digits = self.rest.by_ref().take(4);
        digits.fold(0, |value, digit| value << 4 | digit.to_digit(16).unwrap_or_default())
    }
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character != '\\' {
            return Some(character);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut code = self.four_digits();
                if let 0xd800..0xdc00 = code {
                    self.rest.nth(1);
                    code = (code & 0x3ff) << 10 | self.four_digits() & 0x3ff;
                    code = code.saturating_add(0x1_0000);
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            itself => itself,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        let text = Text::from_escaped(r#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"#);
        assert!(text.is("a\"\\/\u{8}\u{c}\n\r\té😀é"));
        assert!(!text.is("a"));
    }

    #[test]
    fn the_start_of_a_long_text_ends_between_characters() {
        let text = Text::from_escaped("abé");
        assert_eq!(text.start(&mut [0; 3]), ("ab", false));
        assert_eq!(text.start(&mut [0; 4]), ("abé", true));
    }
}

//! Formats of `printf`, taken apart.

/// A part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'f> {
    /// What is printed as it stands.
    Text(&'f str),
    /// What stands for an argument.
    Directive(Directive),
}

/// How an argument is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directive {
    /// `-`
    pub left: bool,
    /// `+`
    pub plus: bool,
    /// A blank.
    pub blank: bool,
    /// `#`
    pub alternate: bool,
    /// `0`
    pub zeros: bool,
    /// Fewest characters.
    pub width: usize,
    /// Fewest digits of a whole number, digits of a broken one, or most bytes of a text.
    pub precision: Option<usize>,
    /// Bytes that the length modifier stands for, as `hh` for 1; `None` without one.
    pub bytes: Option<u8>,
    /// As what.
    pub conversion: Conversion,
}

/// As what an argument is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conversion {
    /// `%d`, `%i`
    #[default]
    Signed,
    /// `%u`
    Unsigned,
    /// `%o`
    Octal,
    /// `%x`
    Hex,
    /// `%X`
    UpperHex,
    /// `%c`
    Character,
    /// `%s`
    Text,
    /// `%p`
    Pointer,
    /// `%f`, `%F`
    Fixed,
    /// `%e`, `%E`
    Exponent,
    /// `%g`, `%G`
    General,
}

/// A directive that is not served: one with `*`, or that `printf` doesn't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unserved;

/// Most characters that a directive may ask for.
const MOST: usize = 4096;

/// Takes a format apart. Nothing is allocated; after an error nothing follows.
#[must_use]
pub fn pieces(format: &str) -> Pieces<'_> {
    Pieces { rest: format }
}

/// See [`pieces`].
#[derive(Debug, Clone)]
pub struct Pieces<'f> {
    rest: &'f str,
}

impl<'f> Iterator for Pieces<'f> {
    type Item = Result<Piece<'f>, Unserved>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.rest.find('%').unwrap_or(self.rest.len());
        if at > 0 {
            let (text, rest) = self.rest.split_at(at);
            self.rest = rest;
            return Some(Ok(Piece::Text(text)));
        }
        if self.rest.starts_with("%%") {
            let text = &self.rest[..1];
            self.rest = &self.rest[2..];
            return Some(Ok(Piece::Text(text)));
        }
        let Some((directive, length)) = directive(&self.rest.as_bytes()[1..]) else {
            self.rest = "";
            return Some(Err(Unserved));
        };
        self.rest = &self.rest[1 + length..];
        Some(Ok(Piece::Directive(directive)))
    }
}

/// The directive at the beginning of `text`, which follows a `%`, and how long it is.
fn directive(text: &[u8]) -> Option<(Directive, usize)> {
    let mut found = Directive::default();
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'-' => found.left = true,
            b'+' => found.plus = true,
            b' ' => found.blank = true,
            b'#' => found.alternate = true,
            b'0' => found.zeros = true,
            _ => break,
        }
        at += 1;
    }
    found.width = number(text, &mut at)?;
    if *text.get(at)? == b'.' {
        at += 1;
        found.precision = Some(number(text, &mut at)?);
    }
    let rest = &text[at..];
    let modifiers: [(&[u8], u8); 8] =
        [(b"hh", 1), (b"h", 2), (b"ll", 8), (b"l", 8), (b"q", 8), (b"j", 8), (b"z", 8), (b"t", 8)];
    if let Some((modifier, bytes)) = modifiers.iter().find(|(modifier, _)| rest.starts_with(modifier)) {
        found.bytes = Some(*bytes);
        at += modifier.len();
    }
    found.conversion = match text.get(at)? {
        b'd' | b'i' => Conversion::Signed,
        b'u' => Conversion::Unsigned,
        b'o' => Conversion::Octal,
        b'x' => Conversion::Hex,
        b'X' => Conversion::UpperHex,
        b'c' => Conversion::Character,
        b's' => Conversion::Text,
        b'p' => Conversion::Pointer,
        b'f' | b'F' => Conversion::Fixed,
        b'e' | b'E' => Conversion::Exponent,
        b'g' | b'G' => Conversion::General,
        _ => return None,
    };
    Some((found, at + 1))
}

/// The number at `at`, which is moved behind it; 0 if there is none.
fn number(text: &[u8], at: &mut usize) -> Option<usize> {
    let mut number: usize = 0;
    while let Some(digit) = text.get(*at).filter(|byte| byte.is_ascii_digit()) {
        number = number * 10 + usize::from(digit - b'0');
        if number > MOST {
            return None;
        }
        *at += 1;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_format_is_taken_apart() {
        let found: Vec<_> = pieces("a%-#08.3lx%%%s").collect();
        let hex = Directive {
            left: true,
            alternate: true,
            zeros: true,
            width: 8,
            precision: Some(3),
            bytes: Some(8),
            conversion: Conversion::Hex,
            ..Directive::default()
        };
        let text = Directive { conversion: Conversion::Text, ..Directive::default() };
        let expected =
            [Piece::Text("a"), Piece::Directive(hex), Piece::Text("%"), Piece::Directive(text)].map(Ok);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_served_ends_it() {
        for format in ["%*d", "%.*s", "%n", "%", "%5", "%99999d", "%1$d", "%a", "%Ld", "%ä"] {
            assert_eq!(pieces(format).collect::<Vec<_>>(), [Err(Unserved)], "{format}");
        }
    }

    proptest! {
        #[test]
        fn any_format_is_survived(format in "[%a-z0-9.*# -]*|.*") {
            prop_assert!(pieces(&format).count() <= format.len());
        }
    }
}

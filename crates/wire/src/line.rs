//! Lines of text written into memory that is there already: what the agent prints of events, for it can't allocate.

/// A line that grows in a buffer; what does not fit is cut, and marked by `...` at the end.
#[derive(Debug)]
pub struct Line<'b> {
    buffer: &'b mut [u8],
    length: usize,
    cut: bool,
}

/// What marks a line or a text that was cut.
const MARK: &[u8] = b"...";

impl<'b> Line<'b> {
    /// An empty line. Of the buffer, which must have more than 4 bytes, the last 4 are kept for its end.
    pub fn new(buffer: &'b mut [u8]) -> Line<'b> {
        Line { buffer, length: 0, cut: false }
    }

    /// Appends bytes as they are.
    pub fn text(&mut self, bytes: &[u8]) {
        let room = self.buffer.len().saturating_sub(self.length + MARK.len() + 1);
        // What comes behind a gap would make no sense.
        if self.cut || bytes.len() > room {
            self.cut = true;
            return;
        }
        self.buffer[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Appends what says that a text was cut.
    pub fn mark_cut(&mut self) {
        self.text(MARK);
    }

    /// Appends a number, filled up with zeros in front to as many digits.
    pub fn number(&mut self, number: u64, digits: usize) {
        self.digits(number, 10, digits);
    }

    /// Appends a number with its sign.
    pub fn signed(&mut self, number: i64) {
        if number < 0 {
            self.text(b"-");
        }
        self.number(number.unsigned_abs(), 1);
    }

    /// Appends a number in hexadecimal digits, without a prefix.
    pub fn hexadecimal(&mut self, number: u64) {
        self.digits(number, 16, 1);
    }

    fn digits(&mut self, mut number: u64, base: u64, least: usize) {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        while number > 0 {
            start -= 1;
            digits[start] = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
        }
        let start = start.min(digits.len() - least.clamp(1, digits.len()));
        self.text(&digits[start..]);
    }

    /// Appends a text that somebody else has chosen: what is not UTF-8, and what could end the line or do something to a
    /// terminal, as C writes it, `\n` or `\x1b`. Returns how many bytes were appended: all, but for a character at the end
    /// of which there is not all, if `more` follows.
    pub fn escaped(&mut self, bytes: &[u8], more: bool) -> usize {
        let mut done = 0;
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                self.character(character);
            }
            let invalid = chunk.invalid();
            done += chunk.valid().len() + invalid.len();
            let is_begun = || core::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if more && done == bytes.len() && !invalid.is_empty() && is_begun() {
                return done - invalid.len();
            }
            self.bytes_escaped(invalid);
        }
        done
    }

    fn character(&mut self, character: char) {
        let mut room = [0; 4];
        let encoded = character.encode_utf8(&mut room).as_bytes();
        match character {
            '\n' => self.text(b"\\n"),
            '\t' => self.text(b"\\t"),
            '\r' => self.text(b"\\r"),
            // Line ends of Unicode, and what turns the direction of writing.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.bytes_escaped(encoded),
            character if character.is_control() => self.bytes_escaped(encoded),
            _ => self.text(encoded),
        }
    }

    fn bytes_escaped(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
            self.text(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        }
    }

    /// Ends the line with `end`: a newline, or nothing.
    #[must_use]
    pub fn end(self, end: Option<u8>) -> &'b [u8] {
        let mut length = self.length;
        if self.cut && length + MARK.len() < self.buffer.len() {
            self.buffer[length..length + MARK.len()].copy_from_slice(MARK);
            length += MARK.len();
        }
        if let (Some(end), Some(last)) = (end, self.buffer.get_mut(length)) {
            *last = end;
            length += 1;
        }
        &self.buffer[..length]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::prelude::v1::*;
    use std::string::ToString;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn line(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut buffer = [0; 64];
        let mut line = Line::new(&mut buffer);
        write(&mut line);
        std::str::from_utf8(line.end(None)).unwrap().to_owned()
    }

    #[test]
    fn numbers_are_printed() {
        assert_eq!(line(|line| line.number(0, 1)), "0");
        assert_eq!(line(|line| line.number(42, 6)), "000042");
        assert_eq!(line(|line| line.number(u64::MAX, 1)), u64::MAX.to_string());
        assert_eq!(line(|line| line.signed(i64::MIN)), i64::MIN.to_string());
        assert_eq!(line(|line| line.hexadecimal(0xbeef_0000)), "beef0000");
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let text = b"a\n\t\x1b[1m\xff \xc3\xa4 \xe2\x80\xae";
        assert_eq!(
            line(|line| assert_eq!(line.escaped(text, false), text.len())),
            r"a\n\t\x1b[1m\xff ä \xe2\x80\xae"
        );
    }

    #[test]
    fn a_character_of_two_pieces_stays_one() {
        let joined = line(|line| {
            let text = "x\u{20ac}".as_bytes();
            assert_eq!(line.escaped(&text[..3], true), 1);
            assert_eq!(line.escaped(&text[1..], false), 3);
        });
        assert_eq!(joined, "x\u{20ac}");
        assert_eq!(line(|line| assert_eq!(line.escaped(b"x\xe2\x82", false), 3)), r"x\xe2\x82");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_ends_all_the_same() {
        let mut buffer = [0; 12];
        let mut line = Line::new(&mut buffer);
        line.text(b"12345678");
        line.text(b"9");
        line.text(b"");
        assert_eq!(line.end(Some(b'\n')), b"12345678...\n");
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_line(bytes: Vec<u8>, split in 0usize..64, room in 5usize..200) {
            let mut buffer = vec![0; room];
            let mut line = Line::new(&mut buffer);
            let split = split.min(bytes.len());
            let done = line.escaped(&bytes[..split], true);
            line.escaped(&bytes[done..], false);
            let printed = line.end(Some(b'\n'));
            prop_assert!(std::str::from_utf8(printed).is_ok());
            prop_assert_eq!(printed.iter().filter(|byte| byte.is_ascii_control()).count(), 1);
        }
    }
}

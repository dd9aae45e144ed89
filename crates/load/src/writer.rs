//! Writing JSON into a buffer of fixed length.

/// A JSON text that is being written. What has no room is dropped, and [`Writer::is_full`] says so.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
    full: bool,
    /// Whether a value has been written on this level, so that the next one takes a comma.
    comma: bool,
}

impl<'b> Writer<'b> {
    /// Writes into `buffer`, from its start.
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Writer<'b> {
        Writer { buffer, length: 0, full: false, comma: false }
    }

    /// What has been written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Whether something had no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// How many bytes there is still room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.buffer.len() - self.length
    }

    /// Where it stands, for [`Writer::back`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { length: self.length, full: self.full, comma: self.comma }
    }

    /// Takes back everything since `mark`.
    pub fn back(&mut self, mark: Mark) {
        self.length = mark.length;
        self.full = mark.full;
        self.comma = mark.comma;
    }

    /// Writes `bytes` in place of what lies between two marks, which must not be shorter.
    pub fn replace(&mut self, from: Mark, to: Mark, bytes: &[u8]) {
        let end = from.length + bytes.len();
        if end <= to.length && to.length <= self.length {
            self.buffer[from.length..end].copy_from_slice(bytes);
            self.buffer.copy_within(to.length..self.length, end);
            self.length -= to.length - end;
        }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + bytes.len()) {
            Some(room) if !self.full => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            _ => self.full = true,
        }
    }

    fn separate(&mut self) {
        if self.comma {
            self.raw(b",");
        }
        self.comma = true;
    }

    /// A value that is JSON already.
    pub fn value(&mut self, json: &[u8]) {
        self.separate();
        self.raw(json);
    }

    /// Begins an object.
    pub fn begin_object(&mut self) {
        self.separate();
        self.raw(b"{");
        self.comma = false;
    }

    /// Ends it.
    pub fn end_object(&mut self) {
        self.raw(b"}");
        self.comma = true;
    }

    /// Begins an array.
    pub fn begin_array(&mut self) {
        self.separate();
        self.raw(b"[");
        self.comma = false;
    }

    /// Ends it.
    pub fn end_array(&mut self) {
        self.raw(b"]");
        self.comma = true;
    }

    /// The name of an object's next member; its value comes next.
    pub fn name(&mut self, name: &str) {
        self.text(name);
        self.raw(b":");
        self.comma = false;
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        self.separate();
        self.digits(number);
    }

    /// A number that may be negative.
    pub fn signed(&mut self, number: i64) {
        self.separate();
        if number < 0 {
            self.raw(b"-");
        }
        self.digits(number.unsigned_abs());
    }

    /// A time in nanoseconds, as a number of seconds with three decimals.
    pub fn seconds(&mut self, nanoseconds: u64) {
        self.separate();
        let milliseconds = nanoseconds / 1_000_000;
        self.digits(milliseconds / 1000);
        let digit = |value: u64| b'0' + (value % 10) as u8;
        self.raw(&[b'.', digit(milliseconds / 100), digit(milliseconds / 10), digit(milliseconds)]);
    }

    fn digits(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.raw(&digits[first..]);
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: bool) {
        self.value(if value { b"true" } else { b"false" });
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.separate();
        self.raw(b"\"");
        self.part(text);
        self.raw(b"\"");
    }

    /// A text made of several.
    pub fn texts(&mut self, parts: &[&str]) {
        self.separate();
        self.raw(b"\"");
        for part in parts {
            self.part(part);
        }
        self.raw(b"\"");
    }

    fn part(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.raw(&[b'\\', byte]),
                0..0x20 => {
                    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
                    self.raw(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
                }
                _ => self.raw(&[byte]),
            }
        }
    }

    /// An address, as a text: `"0x7f00"`.
    pub fn address(&mut self, address: u64) {
        self.texts_with_address("", "", address);
    }

    /// Texts with an address behind, as one text.
    pub fn texts_with_address(&mut self, text: &str, between: &str, address: u64) {
        let mut digits = [0; 16];
        let mut first = digits.len();
        let mut left = address;
        loop {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(left & 15) as usize];
            left >>= 4;
            if left == 0 {
                break;
            }
        }
        self.separate();
        self.raw(b"\"");
        self.part(text);
        self.part(between);
        self.raw(b"0x");
        self.raw(&digits[first..]);
        self.raw(b"\"");
    }

    /// Bytes in hexadecimal, as a text, in the order of memory.
    pub fn hex(&mut self, bytes: &[u8]) {
        self.separate();
        self.raw(b"\"");
        for &byte in bytes {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            self.raw(&[digit(byte >> 4), digit(byte & 15)]);
        }
        self.raw(b"\"");
    }
}

/// A place in what is written.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    length: usize,
    full: bool,
    comma: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_separated_and_texts_escaped() {
        let mut buffer = [0; 200];
        let mut writer = Writer::new(&mut buffer);
        writer.begin_object();
        writer.name("a");
        writer.number(0);
        writer.name("b");
        writer.begin_array();
        writer.signed(-12);
        writer.text("\"\n");
        writer.address(0xbeef);
        writer.hex(&[0, 0xff]);
        writer.seconds(1_050_999_999);
        writer.end_array();
        writer.name("c");
        writer.boolean(true);
        writer.end_object();
        assert_eq!(
            core::str::from_utf8(writer.bytes()),
            Ok(r#"{"a":0,"b":[-12,"\"\u000a","0xbeef","00ff",1.050],"c":true}"#)
        );
    }

    #[test]
    fn what_has_no_room_is_dropped_and_can_be_taken_back() {
        let mut buffer = [0; 4];
        let mut writer = Writer::new(&mut buffer);
        writer.number(12);
        let mark = writer.mark();
        writer.text("long");
        assert!(writer.is_full());
        writer.back(mark);
        assert!(!writer.is_full());
        writer.number(3);
        assert_eq!(writer.bytes(), b"12,3");
    }

    #[test]
    fn what_was_written_can_be_replaced_by_something_shorter() {
        let mut buffer = [0; 9];
        let mut writer = Writer::new(&mut buffer);
        writer.raw(b"a");
        let from = writer.mark();
        writer.raw(b"....");
        let to = writer.mark();
        writer.raw(b"cdef");
        writer.replace(from, to, b"b");
        assert_eq!(writer.bytes(), b"abcdef");
    }
}

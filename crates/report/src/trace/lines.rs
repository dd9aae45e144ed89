//! Lines on their way to a stream, written many at once and never in parts.

use std::io::{self, Write};

/// Bytes that are kept back at most.
const FULL: usize = 1 << 16;

/// Whole lines, and where they go.
pub(super) struct Lines {
    stream: Box<dyn Write>,
    /// The lines that are not written yet.
    pub text: String,
}

impl Lines {
    pub fn new(stream: Box<dyn Write>) -> Lines {
        Lines { stream, text: String::new() }
    }

    /// What was appended is whole.
    pub fn end(&mut self) -> io::Result<()> {
        if self.text.len() < FULL { Ok(()) } else { self.flush() }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        if !self.text.is_empty() {
            self.stream.write_all(self.text.as_bytes())?;
            self.text.clear();
        }
        self.stream.flush()
    }
}

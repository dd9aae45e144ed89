//! Hits as text, a line for each, as QEMU's log has them: `PID@SECONDS.MICROS:NAME ARGUMENTS`. The frames of a call stack
//! follow, each on an indented line of its own.

use std::fmt::Write as _;
use std::io::{self, Write};

use memtrial_events::escape::escape;
use memtrial_events::render::render_into;
use memtrial_events::{Hit, Table};

use super::Sink;
use super::lines::Lines;

/// Writes text.
pub struct Text {
    lines: Lines,
}

impl Text {
    /// Writes it to a stream.
    #[must_use]
    pub fn new(stream: Box<dyn Write>) -> Text {
        Text { lines: Lines::new(stream) }
    }
}

impl Sink for Text {
    fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()> {
        let Some(event) = table.events.get(hit.event) else { return Ok(()) };
        let (seconds, micros) = table.wall(hit.time);
        let text = &mut self.lines.text;
        let _ = write!(text, "{}@{seconds}.{micros:06}:", hit.pid);
        escape(text, event.name.as_bytes());
        if !event.parameters.is_empty() || event.format.is_some() {
            text.push(' ');
            render_into(text, event, &hit.values);
        }
        text.push('\n');
        for frame in hit.stack.iter().flatten() {
            text.push_str("    ");
            escape(text, frame.as_bytes());
            text.push('\n');
        }
        self.lines.end()
    }

    fn lost(&mut self, table: &Table, hits: u64, time: u64) -> io::Result<()> {
        let (seconds, micros) = table.wall(time);
        let _ = writeln!(self.lines.text, "# lost at about {seconds}.{micros:06}: {hits} hits");
        self.lines.end()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    fn finish(&mut self, _: &Table) -> io::Result<()> {
        self.lines.flush()
    }
}

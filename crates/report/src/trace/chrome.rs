//! Hits as Chrome's trace events: an array of JSON objects, an instant event for each hit, for ui.perfetto.dev.
//!
//! Times are microseconds of CLOCK_MONOTONIC with 3 decimals: as times of day they would lose their last digits in readers
//! that have floating-point numbers only. The time of day of the first hit is in its argument `time of day`. Lost hits are
//! an event `lost`. A file that is cut is read by Perfetto all the same.

use std::fmt::Write as _;
use std::io::{self, Write};

use memtrial_events::{Hit, Table};

use super::Sink;
use super::arguments::{list, object, string};
use super::lines::Lines;

/// Writes Chrome's trace events.
pub struct Chrome {
    lines: Lines,
    begun: bool,
}

impl Chrome {
    /// Writes them to a stream.
    #[must_use]
    pub fn new(stream: Box<dyn Write>) -> Chrome {
        Chrome { lines: Lines::new(stream), begun: false }
    }

    /// Begins an event at this time.
    fn begin(&mut self, table: &Table, time: u64) -> &mut String {
        let text = &mut self.lines.text;
        if self.begun {
            text.push_str(",\n");
        } else {
            self.begun = true;
            let (seconds, micros) = table.wall(time);
            text.push_str("[\n");
            begin(text, time);
            let _ = write!(text, ",\"s\":\"g\",\"pid\":0,\"tid\":0,\"name\":\"trace\",\"cat\":\"memtrial\"");
            let _ = writeln!(text, ",\"args\":{{\"time of day\":\"{seconds}.{micros:06}\"}}}},");
        }
        begin(text, time);
        text
    }
}

fn begin(text: &mut String, time: u64) {
    let _ = write!(text, "{{\"ph\":\"i\",\"ts\":{}.{:03}", time / 1000, time % 1000);
}

impl Sink for Chrome {
    fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()> {
        let Some(event) = table.events.get(hit.event) else { return Ok(()) };
        let text = self.begin(table, hit.time);
        let _ = write!(text, ",\"s\":\"t\",\"pid\":{},\"tid\":{},\"name\":", hit.pid, hit.tid);
        string(text, &event.name);
        text.push_str(",\"cat\":");
        string(text, &event.provider);
        text.push_str(",\"args\":");
        object(text, event, &hit.values);
        if let Some(stack) = &hit.stack {
            // Among the arguments: Chrome's own field for it is not shown.
            text.pop();
            text.push_str(if text.ends_with('{') { "\"stack\":" } else { ",\"stack\":" });
            list(text, stack.iter().map(String::as_str));
            text.push('}');
        }
        text.push('}');
        self.lines.end()
    }

    fn lost(&mut self, table: &Table, hits: u64, time: u64) -> io::Result<()> {
        let text = self.begin(table, time);
        let _ = write!(text, ",\"s\":\"g\",\"pid\":0,\"tid\":0,\"name\":\"lost\",\"cat\":\"memtrial\"");
        let _ = write!(text, ",\"args\":{{\"hits\":{hits}}}}}");
        self.lines.end()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    fn finish(&mut self, _: &Table) -> io::Result<()> {
        self.lines.text.push_str(if self.begun { "\n]\n" } else { "[]\n" });
        self.lines.flush()
    }
}

//! Hits as JSON, an object for each, one a line:
//! `{"time":SECONDS,"pid":…,"tid":…,"provider":…,"event":…,"arguments":{…},"missing":{…},"cut":[…],"stack":[…]}`.
//!
//! `time` is the time of day as a number with 9 decimals. `missing` says of arguments that could not be fetched why,
//! `cut` which texts had more; both and `stack` are there only if there is something to say. Lost hits are
//! `{"time":SECONDS,"lost":NUMBER}`.

use std::fmt::Write as _;
use std::io::{self, Write};

use memtrial_events::{Hit, Table};

use super::Sink;
use super::arguments::{Argument, arguments, list, names, object, string, word};
use super::lines::Lines;

/// Writes JSON.
pub struct Json {
    lines: Lines,
}

impl Json {
    /// Writes it to a stream.
    #[must_use]
    pub fn new(stream: Box<dyn Write>) -> Json {
        Json { lines: Lines::new(stream) }
    }
}

impl Sink for Json {
    fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()> {
        let Some(event) = table.events.get(hit.event) else { return Ok(()) };
        let text = &mut self.lines.text;
        let _ =
            write!(text, "{{\"time\":{},\"pid\":{},\"tid\":{}", seconds(table, hit.time), hit.pid, hit.tid);
        text.push_str(",\"provider\":");
        string(text, &event.provider);
        text.push_str(",\"event\":");
        string(text, &event.name);
        text.push_str(",\"arguments\":");
        object(text, event, &hit.values);
        let (mut missing, mut cut) = (String::new(), Vec::new());
        for (index, argument) in arguments(event, &hit.values).enumerate() {
            match argument {
                Argument::Missing(why) => {
                    missing.push_str(if missing.is_empty() { ",\"missing\":{" } else { "," });
                    string(&mut missing, &names(event)[index]);
                    let _ = write!(missing, ":\"{}\"", word(why));
                }
                Argument::Text { cut: true, .. } => cut.push(index),
                _ => {}
            }
        }
        if !missing.is_empty() {
            text.push_str(&missing);
            text.push('}');
        }
        if !cut.is_empty() {
            let names = names(event);
            text.push_str(",\"cut\":");
            list(text, cut.into_iter().map(|index| names[index].as_ref()));
        }
        if let Some(stack) = &hit.stack {
            text.push_str(",\"stack\":");
            list(text, stack.iter().map(String::as_str));
        }
        text.push_str("}\n");
        self.lines.end()
    }

    fn lost(&mut self, table: &Table, hits: u64, time: u64) -> io::Result<()> {
        let _ = writeln!(self.lines.text, "{{\"time\":{},\"lost\":{hits}}}", seconds(table, time));
        self.lines.end()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    fn finish(&mut self, _: &Table) -> io::Result<()> {
        self.lines.flush()
    }
}

/// The time of day with all that is known of it.
fn seconds(table: &Table, time: u64) -> String {
    let nanoseconds = time.saturating_add_signed(table.wall_offset);
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

//! Hits as a trace in the Common Trace Format 1.8 (<https://diamon.org/ctf/v1.8.3/>): a folder with `metadata`, and streams
//! of packets, for babeltrace2 and Trace Compass.
//!
//! The times of a stream must not go back, so a hit that comes late goes into another stream. A hit that has arguments
//! missing is of an event class of its own, of the same name: where the argument was, there is a text which says why. The
//! same goes for a text that is a NULL pointer: there is an address.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use memtrial_events::{Event, Hit, Table};

use super::Sink;
use super::arguments::{Argument, arguments, distinct};

/// First word of a packet.
const MAGIC: u32 = 0xc1fc_1fc1;
/// Bytes of a packet before its events.
const PACKET_HEAD: usize = 4 + 4 + 8 + 5 * 8;
/// Bytes of a packet's events at which it is written.
const FULL: usize = 1 << 16;

/// Writes a trace in the Common Trace Format.
pub struct Ctf {
    folder: PathBuf,
    metadata: File,
    /// Metadata that are not written yet.
    pending: String,
    /// Numbers of event classes, by the event and the kinds of its fields.
    classes: HashMap<(usize, String), u32>,
    streams: Vec<Stream>,
    lost: u64,
}

struct Stream {
    file: File,
    /// Bytes of the file.
    length: u64,
    /// Events of the packet that is not written yet.
    events: Vec<u8>,
    begin: u64,
    end: u64,
    /// Lost hits that the last packet told of; none if there is no packet.
    told: Option<u64>,
}

impl Ctf {
    /// Writes it to a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder can't be written, or there is something in it.
    pub fn create(folder: &Path) -> io::Result<Ctf> {
        fs::create_dir_all(folder)?;
        if fs::read_dir(folder)?.next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let metadata = OpenOptions::new().append(true).create_new(true).open(folder.join("metadata"))?;
        Ok(Ctf {
            folder: folder.to_owned(),
            metadata,
            pending: String::new(),
            classes: HashMap::new(),
            streams: Vec::new(),
            lost: 0,
        })
    }

    /// The first stream that can take an event of this time.
    fn stream(&mut self, table: &Table, time: u64) -> io::Result<usize> {
        if let Some(index) = self.streams.iter().position(|stream| stream.end <= time) {
            return Ok(index);
        }
        let index = self.streams.len();
        if index == 0 {
            self.pending.insert_str(0, &preamble(table));
        }
        let file = File::create_new(self.folder.join(format!("stream_{index}")))?;
        self.streams.push(Stream { file, length: 0, events: Vec::new(), begin: time, end: time, told: None });
        Ok(index)
    }

    /// The number of the event's class whose fields are of these kinds.
    fn class(&mut self, number: usize, event: &Event, kinds: &str) -> u32 {
        if let Some(class) = self.classes.get(&(number, kinds.to_owned())) {
            return *class;
        }
        let class = self.classes.len() as u32;
        self.classes.insert((number, kinds.to_owned()), class);
        describe(&mut self.pending, class, event, kinds);
        class
    }

    /// Writes a packet of what is pending in a stream. Packets come after the metadata that they need.
    fn write(&mut self, index: usize) -> io::Result<()> {
        self.metadata.write_all(self.pending.as_bytes())?;
        self.pending.clear();
        // Lost hits are told by one stream: they would be counted once for each.
        let lost = if index == 0 { self.lost } else { 0 };
        self.streams[index].write(index, lost)
    }
}

impl Stream {
    fn write(&mut self, index: usize, lost: u64) -> io::Result<()> {
        let mut packets = Vec::new();
        if self.told.is_none() && lost > 0 {
            // Readers take the difference to the packet before.
            packets.extend(packet_head(index, PACKET_HEAD, [self.begin, self.begin], 0));
        }
        let size = PACKET_HEAD + self.events.len();
        packets.extend(packet_head(index, size, [self.begin, self.end], lost));
        packets.append(&mut self.events);
        if let Err(error) = self.file.write_all(&packets) {
            // Half a packet makes the stream unreadable. The first error is the one to tell.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += packets.len() as u64;
        self.told = Some(lost);
        self.begin = self.end;
        Ok(())
    }
}

fn packet_head(index: usize, size: usize, times: [u64; 2], lost: u64) -> Vec<u8> {
    let bits = size as u64 * 8;
    let mut head = Vec::with_capacity(PACKET_HEAD);
    head.extend(MAGIC.to_le_bytes());
    head.extend(0_u32.to_le_bytes());
    for long in [index as u64, times[0], times[1], bits, bits, lost] {
        head.extend(long.to_le_bytes());
    }
    head
}

impl Sink for Ctf {
    fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()> {
        let Some(event) = table.events.get(hit.event) else { return Ok(()) };
        let (mut kinds, mut fields) = (String::new(), Vec::new());
        for argument in arguments(event, &hit.values) {
            kinds.push(field(&mut fields, argument));
        }
        if let Some(stack) = &hit.stack {
            kinds.push('s');
            fields.extend((stack.len() as u32).to_le_bytes());
            stack.iter().for_each(|frame| text(&mut fields, frame.as_bytes(), ""));
        }
        let class = self.class(hit.event, event, &kinds);
        let index = self.stream(table, hit.time)?;
        let stream = &mut self.streams[index];
        if stream.events.is_empty() {
            stream.begin = hit.time;
        }
        stream.end = hit.time;
        stream.events.extend(class.to_le_bytes());
        stream.events.extend(hit.time.to_le_bytes());
        stream.events.extend(hit.pid.to_le_bytes());
        stream.events.extend(hit.tid.to_le_bytes());
        stream.events.append(&mut fields);
        if stream.events.len() < FULL { Ok(()) } else { self.write(index) }
    }

    fn lost(&mut self, table: &Table, hits: u64, time: u64) -> io::Result<()> {
        self.lost += hits;
        // What tells of them is there even if nothing else comes.
        if self.streams.is_empty() { self.stream(table, time).map(|_| ()) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            let told = stream.told.is_some_and(|told| index > 0 || told == self.lost);
            if !stream.events.is_empty() || !told {
                self.write(index)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, table: &Table) -> io::Result<()> {
        if self.streams.is_empty() {
            // A trace without any stream is refused by readers.
            self.stream(table, 0)?;
        }
        self.flush()
    }
}

/// Appends an argument, and returns the letter for its kind.
fn field(fields: &mut Vec<u8>, argument: Argument<'_>) -> char {
    let (kind, word) = match argument {
        Argument::Unsigned(number) => ('u', number),
        Argument::Signed(number) => ('i', number.cast_unsigned()),
        Argument::Float(number) => ('f', number.to_bits()),
        Argument::Address(address) => ('p', address),
        Argument::Null => ('p', 0),
        Argument::Text { bytes, cut } => {
            text(fields, bytes, if cut { "..." } else { "" });
            return 't';
        }
        Argument::Missing(why) => {
            text(fields, why.text().as_bytes(), "");
            return 't';
        }
    };
    fields.extend(word.to_le_bytes());
    kind
}

/// Appends a text, which is UTF-8 and ends with the first NUL.
fn text(fields: &mut Vec<u8>, bytes: &[u8], end: &str) {
    let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
    fields.extend(text.as_bytes());
    fields.extend(end.as_bytes());
    fields.push(0);
}

/// What is said once of the trace.
fn preamble(table: &Table) -> String {
    let (seconds, rest) =
        (table.wall_offset.div_euclid(1_000_000_000), table.wall_offset.rem_euclid(1_000_000_000));
    format!(
        r#"/* CTF 1.8 */
typealias integer {{ size = 32; align = 8; signed = false; base = 10; }} := word;
typealias integer {{ size = 64; align = 8; signed = false; base = 10; }} := long_word;
typealias integer {{ size = 64; align = 8; signed = false; base = 16; }} := address;
typealias integer {{ size = 64; align = 8; signed = true; base = 10; }} := number;
typealias floating_point {{ exp_dig = 11; mant_dig = 53; byte_order = le; align = 8; }} := real;
trace {{
    major = 1;
    minor = 8;
    byte_order = le;
    packet.header := struct {{ word magic; word stream_id; long_word stream_instance_id; }};
}};
env {{ tracer_name = "memtrial"; }};
clock {{
    name = "monotonic";
    description = "CLOCK_MONOTONIC";
    freq = 1000000000;
    offset_s = {seconds};
    offset = {rest};
    absolute = true;
}};
typealias integer {{
    size = 64; align = 8; signed = false; map = clock.monotonic.value;
}} := moment;
stream {{
    id = 0;
    packet.context := struct {{
        moment timestamp_begin; moment timestamp_end;
        long_word content_size; long_word packet_size; long_word events_discarded;
    }};
    event.header := struct {{ word id; moment timestamp; }};
    event.context := struct {{ word _pid; word _tid; }};
}};
"#
    )
}

/// Describes an event class.
fn describe(metadata: &mut String, class: u32, event: &Event, kinds: &str) {
    let mut name = String::new();
    for letter in event.full_name().chars() {
        match letter {
            '"' | '\\' => name.extend(['\\', letter]),
            letter if letter.is_control() => name.push('\u{fffd}'),
            letter => name.push(letter),
        }
    }
    let fits = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let wanted =
        event.parameters.iter().map(|parameter| Cow::Owned(parameter.name.chars().map(fits).collect()));
    let stack = kinds.ends_with('s').then_some(Cow::Borrowed("stack"));
    let names = distinct(wanted.chain(stack));
    let _ = write!(metadata, "event {{ name = \"{name}\"; id = {class}; stream_id = 0; fields := struct {{");
    for (kind, name) in kinds.chars().zip(names) {
        // Readers take the first underscore away: without it a name could be a word of the language.
        let _ = match kind {
            'u' => write!(metadata, " long_word _{name};"),
            'i' => write!(metadata, " number _{name};"),
            'f' => write!(metadata, " real _{name};"),
            'p' => write!(metadata, " address _{name};"),
            't' => write!(metadata, " string _{name};"),
            _ => write!(metadata, " word _{name}_depth; string _{name}[_{name}_depth];"),
        };
    }
    metadata.push_str(" }; };\n");
}

//! The format of a recording: what the agent and the controller write while events happen, and what is read afterwards.
//!
//! A recording is one file: a head, the table of events as text, and chunks. A thread takes a chunk for itself, maps it,
//! and puts records into it one behind the other; `used` is written after each, so that whatever kills the process leaves
//! every record that was complete. Chunks are taken by adding to one counter in the head, and a chunk is filled with zeros
//! by a call before it is mapped, so that a full disk is an error of that call and no signal. Records are small, for what
//! they cost is most of all the pages of the file: see [`Before`].

use core::sync::atomic::{AtomicU32, AtomicU64};

/// First word of the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"mtevents");
/// Changes with every change of this file.
pub const VERSION: u32 = 2;
/// First word of a chunk that is in use.
pub const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"mtch");
/// Bytes of a chunk with its head.
pub const CHUNK: usize = 1 << 16;
/// Bytes of the head of the file; the table begins behind it.
pub const HEAD: usize = 4096;
/// Most bytes of the table.
pub const MAX_TABLE: usize = 1 << 24;
/// Most bytes of a text in a record; what is behind is cut.
pub const MAX_TEXT: usize = 1024;

/// What times are counted in.
pub mod clock {
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub const MONOTONIC: u32 = 0;
    /// Ticks of the processor's time stamp counter.
    pub const TICKS: u32 = 1;
}

/// The head of the file.
#[repr(C)]
pub struct Head {
    /// [`MAGIC`]
    pub magic: u64,
    /// [`VERSION`]
    pub version: u32,
    /// One of [`clock`].
    pub clock: u32,
    /// Ticks a second, as measured before the start; 0 for [`clock::MONOTONIC`].
    pub ticks_per_second: u64,
    /// What is added to CLOCK_MONOTONIC to get nanoseconds since 1970.
    pub wall_offset: i64,
    /// Bytes of the table, which begins at [`HEAD`]: events in the grammar of QEMU's trace-events, one a line, in the order
    /// of their numbers, each with its provider before the name: `provider:name(type name, …) "format"`.
    pub table: u64,
    /// Where the first chunk begins: a multiple of [`CHUNK`].
    pub chunks_at: u64,
    /// Most chunks; 0: as many as the disk has room for. It goes up when chunks that were read are given back.
    pub most: AtomicU64,
    /// Chunks taken so far. The last ones may not be there yet.
    pub taken: AtomicU64,
    /// Events that found no room.
    pub dropped: AtomicU64,
}

/// The head of a chunk.
#[repr(C)]
pub struct ChunkHead {
    /// [`CHUNK_MAGIC`], written last.
    pub magic: AtomicU32,
    /// Bytes in use, this head included; [`WRITING`] is added while a record is written, and [`ENDED`] when it is known that the
    /// thread has ended.
    pub used: AtomicU32,
    /// The process that wrote it.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Time of its opening, in what [`Head::clock`] says.
    pub ticks: u64,
    /// The same moment in nanoseconds of CLOCK_MONOTONIC.
    pub monotonic: u64,
}

/// Added to the bytes of a chunk in use: its thread has ended.
pub const ENDED: u32 = 1 << 31;
/// Added to the bytes of a chunk in use, before the time of a record is taken: the record will be older than when it comes.
pub const WRITING: u32 = 1 << 30;
/// Bytes of a chunk's head.
pub const CHUNK_HEAD: usize = size_of::<ChunkHead>();

/// What a record is written and read against: what was in the one before of its chunk.
///
/// A record begins with a byte: its lower half says how many bytes the time takes, its upper half is the number of the
/// event, or [`WIDE`], with the number in the 2 bytes that follow. Then comes the time, as what has passed since the
/// record before, or since the chunk's opening. Then there is half a byte for each argument of the event, the first one's
/// in the lower half of a byte, which says what the argument is: up to [`WHOLE`] the bytes that it takes; one of [`Why`],
/// [`NULL`], [`TEXT`] or [`CUT`]. Then come the arguments in order:
///
/// - A number takes as many bytes as there are up to the highest that is not 0; a floating-point number of any size is
///   the bits of one of 8 bytes. One with sign is folded by [`fold`]. An address is what is added to the one before, with
///   sign: the first address of a record is counted from the first of the record before that had one, and so on up to
///   [`POINTERS`]; further ones are not counted from any.
/// - A text is its length in 2 bytes, and its bytes.
/// - What is missing or NULL takes none.
///
/// All numbers are little-endian, and wrap around.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// Its time, or the chunk's opening.
    pub time: u64,
    /// The addresses; 0 where there was none yet.
    pub pointers: [u64; POINTERS],
}

/// Addresses of a record that the next one's are counted from.
pub const POINTERS: usize = 4;
/// In place of an event's number: it follows.
pub const WIDE: u8 = 15;
/// Bytes of the largest number.
pub const WHOLE: u8 = 8;
/// The text is no text, but a pointer that is NULL.
pub const NULL: u8 = 12;
/// A text.
pub const TEXT: u8 = 13;
/// The beginning of a text.
pub const CUT: u8 = 14;
/// Most bytes in front of a record's arguments but for those that say what they are.
pub const RECORD_HEAD: usize = 1 + 2 + 8;

const _: () = assert!(CHUNK_HEAD == 32 && size_of::<Head>() <= HEAD);

/// Why an argument is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// The memory could not be read.
    Fault = 9,
    /// It is of a kind that can't be fetched.
    Operand = 10,
    /// There is none.
    Absent = 11,
}

/// An argument as a record holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number without sign, or the bits of a floating-point number.
    Number(u64),
    /// A number with sign.
    Signed(i64),
    /// An address.
    Pointer(u64),
    /// A text without its NUL, and whether there was more of it.
    Text {
        /// Its bytes; from [`MAX_TEXT`] on they are cut.
        bytes: &'a [u8],
        /// Whether there was more.
        cut: bool,
    },
    /// A text that is NULL.
    Null,
    /// None, and why.
    Missing(Why),
}

impl Before {
    /// For the first record of a chunk that was opened at this time, in what [`Head::clock`] says.
    #[must_use]
    pub fn at(time: u64) -> Before {
        Before { time, pointers: [0; POINTERS] }
    }
}

/// A number with sign as one without, small where it is near 0: 0, -1, 1, -2 …
#[inline]
#[must_use]
pub fn fold(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// The number that [`fold`] was given.
#[inline]
#[must_use]
pub fn unfold(folded: u64) -> i64 {
    (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed()
}

/// Writes a record to the start of `buffer`, and returns its length. `None` if there may not be so much room: a number is
/// written as 8 bytes, of which the next one overwrites those that it does not need. `before` is then as it was.
#[inline]
pub fn write_record<'a>(
    buffer: &mut [u8],
    event: u16,
    time: u64,
    fields: impl ExactSizeIterator<Item = Field<'a>>,
    before: &mut Before,
) -> Option<usize> {
    let mut pointers = before.pointers;
    let mut pointer = 0;
    let wide = event >= u16::from(WIDE);
    let mut at = 1;
    if wide {
        buffer.get_mut(1..3)?.copy_from_slice(&event.to_le_bytes());
        at = 3;
    }
    let length = write_number(buffer, at, time.wrapping_sub(before.time))?;
    *buffer.first_mut()? = length | if wide { WIDE } else { event as u8 } << 4;
    at += usize::from(length);
    let mut marks = at;
    let count = fields.len();
    at += count.div_ceil(2);
    let mut half = 0;
    for (index, field) in fields.enumerate() {
        let number = match field {
            Field::Number(number) => Ok(number),
            Field::Signed(number) => Ok(fold(number)),
            Field::Pointer(address) => {
                let from = pointers.get_mut(pointer);
                pointer += 1;
                let from = from.map_or(0, |from| core::mem::replace(from, address));
                Ok(fold(address.wrapping_sub(from).cast_signed()))
            }
            Field::Text { bytes, cut } => {
                let kept = bytes.get(..MAX_TEXT).unwrap_or(bytes);
                at = write_text(buffer, at, kept)?;
                Err(if cut || kept.len() < bytes.len() { CUT } else { TEXT })
            }
            Field::Null => Err(NULL),
            Field::Missing(why) => Err(why as u8),
        };
        let mark = match number {
            Ok(number) => {
                let length = write_number(buffer, at, number)?;
                at += usize::from(length);
                length
            }
            Err(mark) => mark,
        };
        if index % 2 == 0 {
            half = mark;
        } else {
            *buffer.get_mut(marks)? = half | mark << 4;
            marks += 1;
        }
    }
    if count % 2 == 1 {
        *buffer.get_mut(marks)? = half;
    }
    *before = Before { time, pointers };
    Some(at)
}

/// Writes a number, and returns how many bytes of it count.
#[inline]
fn write_number(buffer: &mut [u8], at: usize, number: u64) -> Option<u8> {
    buffer.get_mut(at..at + 8)?.copy_from_slice(&number.to_le_bytes());
    Some((64 - number.leading_zeros()).div_ceil(8) as u8)
}

#[cold]
fn write_text(buffer: &mut [u8], at: usize, text: &[u8]) -> Option<usize> {
    buffer.get_mut(at..at + 2)?.copy_from_slice(&(text.len() as u16).to_le_bytes());
    let (from, end) = (at + 2, at + 2 + text.len());
    buffer.get_mut(from..end)?.copy_from_slice(text);
    Some(end)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::prelude::v1::*;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_says_what_has_changed() {
        let (mut buffer, mut before) = ([0xff; 64], Before::at(70));
        let fields =
            [Field::Number(0x1234), Field::Pointer(0x7000), Field::Text { bytes: b"hello", cut: false }];
        let length = write_record(&mut buffer, 3, 77, fields.into_iter(), &mut before).unwrap();
        assert_eq!(&buffer[..length], b"\x31\x07\x22\x0d\x34\x12\x00\xe0\x05\0hello");
        let fields = [Field::Pointer(0x6fff), Field::Signed(-1), Field::Number(0), Field::Null];
        let length = write_record(&mut buffer, 300, 77, fields.into_iter(), &mut before).unwrap();
        assert_eq!(&buffer[..length], b"\xf0\x2c\x01\x11\xc0\x01\x01");
        assert_eq!(before, Before { time: 77, pointers: [0x6fff, 0, 0, 0] });
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut buffer = [0; 2048];
        let fields = [Field::Text { bytes: &[b'x'; MAX_TEXT + 1], cut: false }];
        let written = write_record(&mut buffer, 0, 0, fields.into_iter(), &mut Before::at(0));
        assert_eq!((written, buffer[1]), (Some(1 + 1 + 2 + MAX_TEXT), CUT));
    }

    proptest! {
        #[test]
        fn a_folded_number_is_small_and_unfolds(number: i64) {
            prop_assert_eq!(unfold(fold(number)), number);
            prop_assert!(fold(number) <= number.unsigned_abs().saturating_mul(2));
        }

        #[test]
        fn a_record_fits_or_is_none(room in 0usize..200, text: Vec<u8>, numbers: Vec<u64>) {
            let (mut buffer, mut before) = (vec![0xee; 200], Before::at(9));
            let mut fields: Vec<Field> = numbers.iter().map(|number| Field::Pointer(*number)).collect();
            fields.push(Field::Text { bytes: &text, cut: false });
            let most = RECORD_HEAD + fields.len() * 9 + 8 + text.len();
            match write_record(&mut buffer[..room], 1, 2, fields.into_iter(), &mut before) {
                Some(length) => prop_assert!(length <= room && before.time == 2),
                None => prop_assert!(room < most && before == Before::at(9)),
            }
            prop_assert!(buffer[room..].iter().all(|byte| *byte == 0xee));
        }
    }
}

//! The format of a recording: what the agent and the controller write while events happen, and what is read afterwards.
//!
//! A recording is one file: a head, the table of events as text, and chunks. A thread takes a chunk for itself, maps it,
//! and puts records into it one behind the other; `used` is written after each, so that whatever kills the process leaves
//! every record that was complete. Chunks are taken by adding to one counter in the head, and room in the file is
//! allocated before a chunk is touched, so that a full disk is an error of a call and no signal.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// First word of the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"mtevents");
/// Changes with every change of this file.
pub const VERSION: u32 = 1;
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
    /// Bytes in use, this head included.
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

/// Bytes of a chunk's head.
pub const CHUNK_HEAD: usize = size_of::<ChunkHead>();

/// The head of a record. Behind it are the arguments in order: a number is 8 bytes, a floating-point number of any size
/// as one of 8; a text is its length in 4 bytes ([`CUT`] added if there was more, or [`NULL`]), and its bytes, filled up
/// to a multiple of 8 together; one that is missing is 8 bytes which say why (`1` fault, `2` operand, `3` absent).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Number of the event in the table.
    pub event: u16,
    /// Bytes of the record with this head; a multiple of 8.
    pub size: u16,
    /// A bit for each argument that is missing, the first one's lowest; arguments from the 32nd on are never missing.
    pub missing: u32,
    /// When, in what [`Head::clock`] says.
    pub time: u64,
}

/// Bytes of a record's head.
pub const RECORD_HEAD: usize = size_of::<RecordHead>();
/// Added to the length of a text that was cut.
pub const CUT: u32 = 1 << 31;
/// In place of its length: the text is no text, but a pointer that is NULL.
pub const NULL: u32 = u32::MAX;

const _: () = assert!(CHUNK_HEAD == 32 && RECORD_HEAD == 16 && size_of::<Head>() <= HEAD);

/// An argument as a record holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number with or without sign, an address, or the bits of a floating-point number.
    Number(u64),
    /// A text without its NUL, and whether there was more of it.
    Text {
        /// Its bytes; from [`MAX_TEXT`] on they are cut.
        bytes: &'a [u8],
        /// Whether there was more.
        cut: bool,
    },
    /// None, and why: see [`RecordHead`].
    Missing(u64),
}

/// Writes a record to the start of `buffer`, and returns its length, a multiple of 8; `None` if there is not so much room.
/// What is missing from the 32nd argument on, which can't be told, becomes 0 or an empty text.
#[inline]
pub fn write_record(buffer: &mut [u8], event: u16, time: u64, fields: &[Field<'_>]) -> Option<usize> {
    let mut missing = 0u32;
    let mut at = RECORD_HEAD;
    for (index, field) in fields.iter().enumerate() {
        let word = match *field {
            Field::Number(number) => number,
            Field::Missing(why) if index < 32 => {
                missing |= 1 << index;
                why
            }
            Field::Missing(_) => 0,
            Field::Text { bytes, cut } => {
                at = write_text(buffer, at, bytes, cut)?;
                continue;
            }
        };
        buffer.get_mut(at..at + 8)?.copy_from_slice(&word.to_le_bytes());
        at += 8;
    }
    let size = u16::try_from(at).ok()?;
    let head = buffer.get_mut(..RECORD_HEAD)?;
    head[..2].copy_from_slice(&event.to_le_bytes());
    head[2..4].copy_from_slice(&size.to_le_bytes());
    head[4..8].copy_from_slice(&missing.to_le_bytes());
    head[8..].copy_from_slice(&time.to_le_bytes());
    Some(at)
}

fn write_text(buffer: &mut [u8], at: usize, bytes: &[u8], cut: bool) -> Option<usize> {
    let kept = &bytes[..bytes.len().min(MAX_TEXT)];
    let mark = if cut || kept.len() < bytes.len() { CUT } else { 0 };
    let end = at + (4 + kept.len()).next_multiple_of(8);
    let room = buffer.get_mut(at..end)?;
    let (length, room) = room.split_at_mut(4);
    length.copy_from_slice(&(kept.len() as u32 | mark).to_le_bytes());
    let (text, filling) = room.split_at_mut(kept.len());
    text.copy_from_slice(kept);
    filling.fill(0);
    Some(end)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::prelude::v1::*;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn a_record_is_head_and_words() {
        let mut buffer = [0xff; 64];
        let text = Field::Text { bytes: b"hello", cut: false };
        let fields = [Field::Number(u64::MAX), text, Field::Missing(2)];
        assert_eq!(write_record(&mut buffer, 3, 77, &fields), Some(48));
        assert_eq!(word(&buffer, 0), 3 | 48 << 16 | 0b100 << 32);
        assert_eq!((word(&buffer, 8), word(&buffer, 16)), (77, u64::MAX));
        assert_eq!(&buffer[24..40], b"\x05\0\0\0hello\0\0\0\0\0\0\0");
        assert_eq!((word(&buffer, 40), word(&buffer, 48)), (2, u64::MAX));
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut buffer = [0; 2048];
        let fields = [Field::Text { bytes: &[b'x'; MAX_TEXT + 1], cut: false }];
        assert_eq!(write_record(&mut buffer, 0, 0, &fields), Some(RECORD_HEAD + MAX_TEXT + 8));
        assert_eq!(word(&buffer, RECORD_HEAD) as u32, MAX_TEXT as u32 | CUT);
    }

    #[test]
    fn what_is_missing_behind_the_31st_is_empty() {
        let mut buffer = [0xff; 512];
        assert_eq!(write_record(&mut buffer, 0, 0, &[Field::Missing(1); 33]), Some(16 + 33 * 8));
        assert_eq!((word(&buffer, 0) >> 32, word(&buffer, 16 + 32 * 8)), (u64::from(u32::MAX), 0));
    }

    #[test]
    fn one_that_is_longer_than_its_size_can_say_is_none() {
        let mut buffer = [0; 1 << 17];
        assert_eq!(write_record(&mut buffer, 0, 0, &[Field::Number(0); 8190]), None);
        assert_eq!(write_record(&mut buffer, 0, 0, &[Field::Number(0); 8189]), Some(65528));
    }

    proptest! {
        #[test]
        fn a_record_fits_or_is_none(room in 0usize..200, text: Vec<u8>, numbers in 0usize..8) {
            let mut buffer = vec![0xee; 200 + MAX_TEXT];
            let mut fields = vec![Field::Number(1); numbers];
            fields.push(Field::Text { bytes: &text, cut: false });
            let needed = RECORD_HEAD + numbers * 8 + (4 + text.len()).next_multiple_of(8);
            let written = write_record(&mut buffer[..room], 1, 2, &fields);
            prop_assert_eq!(written, (needed <= room).then_some(needed));
            prop_assert!(buffer[room..].iter().all(|byte| *byte == 0xee));
        }
    }
}

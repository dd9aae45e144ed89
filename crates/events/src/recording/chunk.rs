//! A chunk: what one thread wrote behind one another.

use std::mem::offset_of;

use memtrial_wire::recording::{self as wire, CHUNK, CHUNK_HEAD, CHUNK_MAGIC, ENDED, WRITING};

use super::clock::Moment;
use super::head::{u32_at, u64_at};

/// The head of a chunk in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkHead {
    /// Bytes in use, the head included: from [`CHUNK_HEAD`] to [`CHUNK`].
    pub used: usize,
    /// Whether its thread has ended.
    pub ended: bool,
    /// Whether a record is being written, whose time is no earlier than that of the one before.
    pub writing: bool,
    pub pid: u32,
    pub tid: u32,
    /// When it was opened.
    pub moment: Moment,
}

/// What the first bytes of a chunk say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Taken, but not in use yet.
    NotYet,
    /// No head of a chunk.
    Damaged,
    Open(ChunkHead),
}

/// Reads the head of a chunk.
pub(super) fn head(bytes: &[u8]) -> State {
    let word = |offset| u32_at(bytes, offset);
    if bytes.len() < CHUNK_HEAD || word(offset_of!(wire::ChunkHead, magic)) == Some(0) {
        return State::NotYet;
    }
    read(bytes).map_or(State::Damaged, State::Open)
}

fn read(bytes: &[u8]) -> Option<ChunkHead> {
    let (word, long) = (|offset| u32_at(bytes, offset), |offset| u64_at(bytes, offset));
    let used = word(offset_of!(wire::ChunkHead, used))?;
    let (ended, writing) = (used & ENDED != 0, used & WRITING != 0);
    let used = (used & !(ENDED | WRITING)) as usize;
    let valid =
        word(offset_of!(wire::ChunkHead, magic))? == CHUNK_MAGIC && (CHUNK_HEAD..=CHUNK).contains(&used);
    let moment = (long(offset_of!(wire::ChunkHead, ticks))?, long(offset_of!(wire::ChunkHead, monotonic))?);
    let (pid, tid) = (word(offset_of!(wire::ChunkHead, pid))?, word(offset_of!(wire::ChunkHead, tid))?);
    valid.then_some(ChunkHead { used, ended, writing, pid, tid, moment })
}

/// The bytes of a head.
pub(super) fn write(head: &ChunkHead) -> [u8; CHUNK_HEAD] {
    let mut bytes = [0; CHUNK_HEAD];
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(offset_of!(wire::ChunkHead, magic), &CHUNK_MAGIC.to_le_bytes());
    put(
        offset_of!(wire::ChunkHead, used),
        &(head.used as u32 | if head.ended { ENDED } else { 0 }).to_le_bytes(),
    );
    put(offset_of!(wire::ChunkHead, pid), &head.pid.to_le_bytes());
    put(offset_of!(wire::ChunkHead, tid), &head.tid.to_le_bytes());
    put(offset_of!(wire::ChunkHead, ticks), &head.moment.0.to_le_bytes());
    put(offset_of!(wire::ChunkHead, monotonic), &head.moment.1.to_le_bytes());
    bytes
}

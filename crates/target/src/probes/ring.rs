//! The ring that programs write hits to (`BPF_MAP_TYPE_RINGBUF` in the kernel's `Documentation/bpf/ringbuf.rst`), and the
//! counts that they keep.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::bpf::{self, map};

/// In the length of a record: it is still being written.
const BUSY: u32 = 1 << 31;
/// In the length of a record: it is to be passed over.
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record: its length, and a number of the kernel's own.
const HEADER: u64 = 8;

/// Most records that are handed on at once, so that what becomes of them takes bounded memory.
const MOST: usize = 1 << 16;

/// A mapping of a map.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone, and may be used from any thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: &OwnedFd, length: usize, protection: i32, offset: usize) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Mapping { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The word at a multiple of 8.
    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.length);
        // SAFETY: it is in the mapping, which lives as long as the borrow, and aligned; others write it atomically.
        unsafe { self.start.add(at).cast::<AtomicU64>().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and nothing borrows from it any longer.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf has no precondition.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The ring.
#[derive(Debug)]
pub struct Ring {
    map: OwnedFd,
    /// How far it was read.
    consumed: Mapping,
    /// How far it was written, and behind that page the records, mapped twice one behind the other.
    produced: Mapping,
    size: u64,
    page: usize,
}

impl Ring {
    /// Of so many bytes: a power of two, and whole pages.
    pub fn new(size: u32) -> io::Result<Ring> {
        let map = bpf::create_map(map::RING, 0, 0, size, 0)?;
        let page = page_size();
        let consumed = Mapping::new(&map, page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let produced = Mapping::new(&map, page + 2 * size as usize, libc::PROT_READ, page)?;
        Ok(Ring { map, consumed, produced, size: size.into(), page })
    }

    /// The map's descriptor, for programs.
    pub fn descriptor(&self) -> i32 {
        self.map.as_fd().as_raw_fd()
    }

    /// Hands on records that are there, at most [`MOST`]; whether there were any.
    pub fn read(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        let mut at = self.consumed.word(0).load(Ordering::Relaxed);
        let begin = at;
        let end = self.produced.word(0).load(Ordering::Acquire);
        for _ in 0..MOST {
            if at >= end {
                break;
            }
            let place = self.page + (at & (self.size - 1)) as usize;
            let header = self.produced.word(place);
            // SAFETY: the length is the first half of the header, written atomically by the kernel.
            let length = unsafe { AtomicU32::from_ptr(header.as_ptr().cast()) }.load(Ordering::Acquire);
            if length & BUSY != 0 {
                break;
            }
            let bytes = length & !DISCARDED;
            if length & DISCARDED == 0 {
                // SAFETY: the record lies behind its header, whole, as the ring is mapped twice; the kernel does not write
                // to it until it was consumed.
                let record = unsafe {
                    std::slice::from_raw_parts(
                        self.produced.start.as_ptr().add(place + HEADER as usize),
                        (bytes as usize).min(self.size as usize),
                    )
                };
                take(record);
            }
            at += (HEADER + u64::from(bytes)).next_multiple_of(8);
            self.consumed.word(0).store(at, Ordering::Release);
        }
        at != begin
    }
}

/// Counts that programs keep: of lost hits, and for each number of hits.
#[derive(Debug)]
pub struct Counts {
    map: OwnedFd,
    mapping: Mapping,
}

impl Counts {
    /// For so many numbers.
    pub fn new(numbers: usize) -> io::Result<Counts> {
        let bytes = 8 * (numbers + 1);
        let size = u32::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let map = bpf::create_map(map::ARRAY, 4, size, 1, map::MAPPABLE)?;
        let mapping = Mapping::new(&map, bytes.next_multiple_of(page_size()), libc::PROT_READ, 0)?;
        Ok(Counts { map, mapping })
    }

    /// The map's descriptor, for programs.
    pub fn descriptor(&self) -> i32 {
        self.map.as_fd().as_raw_fd()
    }

    /// Hits that found no room so far.
    pub fn lost(&self) -> u64 {
        self.mapping.word(0).load(Ordering::Relaxed)
    }

    /// Hits of the site with this number so far, where they are only counted.
    pub fn of(&self, number: usize) -> u64 {
        self.mapping.word(8 * (number + 1)).load(Ordering::Relaxed)
    }
}

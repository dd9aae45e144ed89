//! System calls on files and sockets that events are written to, and looks at the target's texts.

use crate::system::{self, Errno, check, marked, number};

const EINTR: Errno = 4;
const EPIPE: Errno = 32;
const EFBIG: Errno = 27;

/// Opens the file at `path` (NUL-terminated) to write at its end; it is made if it is not there. A FIFO that nobody reads
/// is an error.
pub fn open_to_append(path: &[u8]) -> Result<u64, Errno> {
    const WRITE_CREATE_NOCTTY_APPEND_NONBLOCK: u64 = 0o1 | 0o100 | 0o400 | 0o2000 | 0o4000;
    const MODE: u64 = 0o644;
    let flags = WRITE_CREATE_NOCTTY_APPEND_NONBLOCK | system::O_CLOEXEC;
    debug_assert!(path.last() == Some(&0));
    // SAFETY: the path is NUL-terminated memory; opening touches no memory of the target.
    unsafe { marked!(number::OPENAT, system::AT_FDCWD, path.as_ptr() as u64, flags, MODE) }
}

/// Opens the file at `path` (NUL-terminated) for writing.
pub fn open_to_write(path: &[u8]) -> Result<u64, Errno> {
    const WRITE_NOCTTY_NONBLOCK: u64 = 0o1 | 0o400 | 0o4000;
    system::open(path, WRITE_NOCTTY_NONBLOCK | system::O_CLOEXEC)
}

/// Writes all of `bytes` by one call; that a part was written is an error too. The signals that tell of an end nobody
/// reads, and of a file at its limit, do not come.
pub fn write(fd: u64, bytes: &[u8]) -> Result<(), Errno> {
    const EIO: Errno = 5;
    let written = quietly(|| {
        loop {
            // SAFETY: the kernel reads so many bytes.
            let written = unsafe { marked!(number::WRITE, fd, bytes.as_ptr() as u64, bytes.len() as u64) };
            if written != Err(EINTR) {
                return written;
            }
        }
    });
    if written? as usize == bytes.len() { Ok(()) } else { Err(EIO) }
}

/// Fills a part of a file with zeros, so that there is room for it. What is written by calls takes the kernel a fraction of
/// the time that pages take which are first touched in a mapping, even where room was allocated for them: a file system
/// is asked once for all of them.
pub fn fill(fd: u64, offset: u64, length: usize) -> Result<(), Errno> {
    const ENOSPC: Errno = 28;
    static ZEROS: [u8; 4096] = [0; 4096];
    const PARTS: usize = 16;
    let mut done = 0;
    let filled = quietly(|| {
        while done < length {
            let left = length - done;
            let part = |number: usize| {
                let bytes = left.saturating_sub(number * ZEROS.len()).min(ZEROS.len());
                [ZEROS.as_ptr() as u64, bytes as u64]
            };
            let vector: [[u64; 2]; PARTS] = core::array::from_fn(part);
            let (parts, at) = (vector.as_ptr() as u64, offset + done as u64);
            // SAFETY: the kernel reads so many bytes of each part.
            match unsafe { marked!(number::PWRITEV, fd, parts, PARTS as u64, at, 0) } {
                Ok(0) => return Err(ENOSPC),
                Ok(written) => done += written as usize,
                Err(EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    });
    filled.map(|_| ())
}

/// Maps a part of a file, shared, readable and writable.
pub fn map_part(fd: u64, offset: u64, length: usize) -> Result<u64, Errno> {
    const READ_WRITE: u64 = 3;
    const SHARED: u64 = 1;
    // SAFETY: a new mapping at an address that the kernel chooses disturbs no other.
    check(unsafe { system::call(number::MMAP, [0, length as u64, READ_WRITE, SHARED, fd, offset]) })
}

/// Makes a system call without the signals that writing can raise in this thread: SIGPIPE and SIGXFSZ would end a target
/// which itself wrote nothing.
fn quietly(work: impl FnOnce() -> Result<u64, Errno>) -> Result<u64, Errno> {
    const SIGNALS: u64 = 1 << (13 - 1) | 1 << (25 - 1);
    const SIG_BLOCK: u64 = 0;
    let (mut before, mut pending) = (0u64, 0u64);
    let (set, old) = (SIGNALS, &raw mut before as u64);
    // SAFETY: both sets have the kernel's 8 bytes.
    let _ = unsafe { marked!(number::RT_SIGPROCMASK, SIG_BLOCK, &raw const set as u64, old, 8) };
    if before & SIGNALS != 0 {
        // What the target keeps waiting stays so.
        // SAFETY: the set has the kernel's 8 bytes.
        let _ = unsafe { marked!(number::RT_SIGPENDING, &raw mut pending as u64, 8) };
    }
    let result = work();
    if let Err(EPIPE | EFBIG) = result {
        let (raised, at_once) = (SIGNALS & !pending, [0u64; 2]);
        let (raised, at_once) = (&raw const raised as u64, at_once.as_ptr() as u64);
        // SAFETY: the set has the kernel's 8 bytes, the time the layout of `struct timespec`.
        let _ = unsafe { marked!(number::RT_SIGTIMEDWAIT, raised, 0, at_once, 8) };
    }
    if before & SIGNALS != SIGNALS {
        system::set_signals(before);
    }
    result
}

/// Sends `bytes` to the datagram socket at `path`, which is not NUL-terminated, without waiting.
pub fn send_datagram(path: &[u8], bytes: &[u8]) -> Result<(), Errno> {
    const AF_UNIX: u16 = 1;
    const DATAGRAM_CLOEXEC: u64 = 2 | 0o2_000_000;
    const DONTWAIT_NOSIGNAL: u64 = 0x40 | 0x4000;
    const ENAMETOOLONG: Errno = 36;
    // `struct sockaddr_un`
    let mut address = [0u8; 110];
    address[..2].copy_from_slice(&AF_UNIX.to_ne_bytes());
    address
        .get_mut(2..2 + path.len())
        .filter(|room| room.len() < 108)
        .ok_or(ENAMETOOLONG)?
        .copy_from_slice(path);
    let socket = system::socket(AF_UNIX.into(), DATAGRAM_CLOEXEC)?;
    let (to, length) = (address.as_ptr() as u64, (2 + path.len() + 1) as u64);
    let arguments = [socket, bytes.as_ptr() as u64, bytes.len() as u64, DONTWAIT_NOSIGNAL, to, length];
    // SAFETY: the kernel reads the bytes and the address, which have these lengths.
    let sent = check(unsafe { system::call(number::SENDTO, arguments) });
    system::close(socket);
    sent.map(|_| ())
}

/// Nanoseconds since 1970.
pub fn time_of_day() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: `time` has the layout of `struct timespec`.
    let _ = unsafe { marked!(number::CLOCK_GETTIME, 0, &raw mut time as u64) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// The thread id.
pub fn gettid() -> u32 {
    // SAFETY: no arguments.
    unsafe { marked!(number::GETTID) }.map_or(0, |tid| tid as u32)
}

/// Whether this process has no such thread any more.
pub fn has_ended(tid: u32) -> bool {
    const ESRCH: Errno = 3;
    // SAFETY: signal 0 only asks.
    let asked = unsafe { marked!(number::TGKILL, u64::from(system::getpid()), u64::from(tid), 0) };
    asked == Err(ESRCH)
}

/// A part of a text that was read.
pub struct Part {
    /// How many bytes, without the NUL.
    pub bytes: usize,
    /// Whether the text ends there.
    pub ended: bool,
}

/// Reads the beginning of a text at an address that the target names; `None` if there is no memory. The kernel reads it,
/// by `process_vm_readv`: it says so where there is nothing, even if the memory goes while it is read.
pub fn read_text(address: u64, buffer: &mut [u8]) -> Option<Part> {
    const PAGE: u64 = 4096;
    // A part is read as a whole or not at all, so that what lies on a page more is one of its own.
    let first = (PAGE - address % PAGE).min(buffer.len() as u64);
    let here = [buffer.as_mut_ptr() as u64, buffer.len() as u64];
    let there = [address, first, address.checked_add(first)?, buffer.len() as u64 - first];
    let (here, there) = (here.as_ptr() as u64, there.as_ptr() as u64);
    let arguments = [u64::from(system::getpid()), here, 1, there, 2, 0];
    // SAFETY: the kernel writes at most the length of the buffer, or fails.
    let read = check(unsafe { system::call(number::PROCESS_VM_READV, arguments) }).ok()? as usize;
    let text = buffer.get(..read).filter(|text| !text.is_empty())?;
    Some(match text.iter().position(|&byte| byte == 0) {
        Some(bytes) => Part { bytes, ended: true },
        None => Part { bytes: read, ended: false },
    })
}

//! What the standard library can't do with files.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Gives back the room of a part of a file, which reads as zeroes from then on.
///
/// # Errors
/// When the file system can't, or the file can't be written.
pub fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let number = |value: u64| libc::off_t::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let (offset, length) = (number(offset)?, number(length)?);
    // SAFETY: no pointers.
    let result = unsafe {
        libc::fallocate(
            file.as_raw_fd(),
            libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            offset,
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

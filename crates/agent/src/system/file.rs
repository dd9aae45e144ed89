//! Calls on files and folders.

use super::{Errno, marked, number};

/// Opened for reading and writing.
pub const O_RDWR: u64 = 0o2;
/// Part of the flags that says reading, writing or both.
pub const O_ACCMODE: u64 = 0o3;
/// Cuts the file to nothing.
pub const O_TRUNC: u64 = 0o1000;
/// Closed at exec.
pub const O_CLOEXEC: u64 = 0o2_000_000;
/// A descriptor that only names a file.
pub const O_PATH: u64 = 0o10_000_000;
/// Fails where the path is a symbolic link, as those in /proc/self/fd are.
pub const O_NOFOLLOW: u64 = 0o400_000;
/// Must be a folder.
pub const O_DIRECTORY: u64 = 0o200_000;

/// What `fstat` tells, as far as it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Device and inode.
    pub id: [u64; 2],
    /// Links to it; for `/proc/self/task`, two more than there are threads.
    pub links: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Which device it is, if one.
    pub device: u64,
}

/// `struct stat` of x86-64: 144 bytes.
#[repr(C)]
struct Stat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    rest: [u64; 12],
}

impl Stat {
    const EMPTY: Stat =
        Stat { dev: 0, ino: 0, nlink: 0, mode: 0, uid: 0, gid: 0, pad: 0, rdev: 0, rest: [0; 12] };

    fn facts(&self) -> FileFacts {
        FileFacts { id: [self.dev, self.ino], links: self.nlink, mode: self.mode, device: self.rdev }
    }
}

const _: () = assert!(size_of::<Stat>() == 144);

/// A path that ends in NUL, as the kernel takes it.
pub(super) fn is_path(path: &[u8]) -> bool {
    path.last() == Some(&0)
}

/// The current folder, for the calls that take one.
pub const AT_FDCWD: u64 = (-100i64).cast_unsigned();

/// Opens `path` (NUL-terminated).
pub fn open(path: &[u8], flags: u64) -> Result<u64, Errno> {
    debug_assert!(is_path(path));
    // SAFETY: the path is NUL-terminated memory; opening touches no memory of the target.
    unsafe { marked!(number::OPENAT, AT_FDCWD, path.as_ptr() as u64, flags, 0) }
}

/// Closes `fd`, which must be one that the agent opened.
pub fn close(fd: u64) {
    // SAFETY: the agent closes only what it opened.
    let _ = unsafe { marked!(number::CLOSE, fd) };
}

/// Reads into `buffer`.
pub fn read(fd: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the length of the buffer.
    let read = unsafe { marked!(number::READ, fd, buffer.as_mut_ptr() as u64, buffer.len() as u64) };
    read.map(|n| n as usize)
}

/// Reads folder entries into `buffer`.
pub fn getdents(fd: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the length of the buffer.
    let read = unsafe { marked!(number::GETDENTS64, fd, buffer.as_mut_ptr() as u64, buffer.len() as u64) };
    read.map(|n| n as usize)
}

/// Facts of an open file.
pub fn fstat(fd: u64) -> Result<FileFacts, Errno> {
    let mut stat = Stat::EMPTY;
    // SAFETY: `stat` has the kernel's layout and size.
    unsafe { marked!(number::FSTAT, fd, &raw mut stat as u64) }.map(|_| stat.facts())
}

/// Facts of the file at `path` (NUL-terminated).
pub fn stat(path: &[u8]) -> Result<FileFacts, Errno> {
    debug_assert!(is_path(path));
    let mut stat = Stat::EMPTY;
    // SAFETY: the path is NUL-terminated; `stat` has the kernel's layout and size.
    unsafe { marked!(number::NEWFSTATAT, AT_FDCWD, path.as_ptr() as u64, &raw mut stat as u64, 0) }
        .map(|_| stat.facts())
}

/// Where the symbolic link at `path` (NUL-terminated) leads.
pub fn readlink(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    debug_assert!(is_path(path));
    let (to, room) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
    // SAFETY: the path is NUL-terminated; the kernel writes at most the length of the buffer.
    unsafe { marked!(number::READLINK, path.as_ptr() as u64, to, room) }.map(|n| n as usize)
}

/// Moves or tells (`whence` 1, `offset` 0) the offset of `fd`.
pub fn lseek(fd: u64, offset: u64, whence: u64) -> Result<u64, Errno> {
    // SAFETY: only the offset of the descriptor changes; see `privacy` for whose it is.
    unsafe { marked!(number::LSEEK, fd, offset, whence) }
}

/// Flags of an open file (`F_GETFL`).
pub fn file_flags(fd: u64) -> Result<u64, Errno> {
    // SAFETY: reads only.
    unsafe { marked!(number::FCNTL, fd, 3, 0) }
}

/// Flags of a descriptor (`F_GETFD`): 1 for close-on-exec.
pub fn descriptor_flags(fd: u64) -> Result<u64, Errno> {
    // SAFETY: reads only.
    unsafe { marked!(number::FCNTL, fd, 1, 0) }
}

/// Makes `to` another name of `from`; `flags` is 0 or [`O_CLOEXEC`].
pub fn dup3(from: u64, to: u64, flags: u64) -> Result<u64, Errno> {
    // SAFETY: called only in a snapshot, to replace what it shares by what is its own.
    unsafe { marked!(number::DUP3, from, to, flags) }
}

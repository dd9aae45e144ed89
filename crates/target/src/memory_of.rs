//! Reading and writing the memory of another process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Reads memory of a process; returns how many bytes were read, which are fewer than asked for if the memory ends
/// before. The process need not be stopped.
///
/// # Errors
/// When nothing can be read: no memory there (`EFAULT`), no such process (`ESRCH`), no permission (`EPERM`).
pub fn read(pid: i32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let length = into.len();
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: length };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: length };
    // SAFETY: `local` is the whole of `into`, which outlives the call; the other address is the kernel's to check.
    let count = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Reads several stretches of another process's memory (address and length of each), one behind the other; returns how
/// many bytes could be read before one that can't be.
#[must_use]
pub fn read_ranges(pid: i32, ranges: &[(u64, usize)], buffer: &mut [u8]) -> usize {
    let ours = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = |&(address, length): &(u64, usize)| libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    let theirs: Vec<libc::iovec> = ranges.iter().map(remote).collect();
    // SAFETY: the kernel writes into the buffer only, at most its length; what can't be read is an error.
    let read = unsafe {
        libc::process_vm_readv(pid, &raw const ours, 1, theirs.as_ptr(), theirs.len() as libc::c_ulong, 0)
    };
    usize::try_from(read).unwrap_or(0)
}

/// The 8-byte number at `address`, if it can be read.
#[must_use]
pub fn read_u64(pid: i32, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    (read(pid, address, &mut bytes).ok()? == 8).then(|| u64::from_le_bytes(bytes))
}

/// The text at `address` up to its zero byte, at most `longest` bytes of it.
pub(crate) fn read_text(pid: i32, address: u64, longest: usize) -> Option<String> {
    let mut bytes = vec![0; longest];
    let count = read(pid, address, &mut bytes).ok()?;
    let text = bytes.get(..count)?.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Writes all of `bytes` to memory that the process itself may write.
pub(crate) fn write(pid: i32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `local` is the whole of `bytes`, which is only read; the other address is the kernel's to check.
    let count = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Writes to private memory of a process that is stopped by this thread, also where the process itself may only read.
#[derive(Debug)]
pub(crate) struct Pen {
    tid: i32,
    memory: File,
}

impl Pen {
    /// For the process of the stopped thread `tid`.
    pub fn new(tid: i32) -> io::Result<Pen> {
        let memory = File::options().read(true).write(true).open(format!("/proc/{tid}/mem"))?;
        Ok(Pen { tid, memory })
    }

    /// Writes one number.
    pub fn write_u64(&self, address: u64, value: u64) -> io::Result<()> {
        if self.memory.write_all_at(&value.to_le_bytes(), address).is_ok() {
            return Ok(());
        }
        // Kernels can be told to hold /proc/PID/mem to the permissions of the pages (`proc_mem.force_override`).
        // SAFETY: no pointer of this process is passed.
        let done = unsafe { libc::ptrace(libc::PTRACE_POKEDATA, self.tid, address, value) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_reads_as_it_is() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        let known = *b"0123456789abcdef\0";
        let mut copy = [0; 17];
        assert_eq!(read(me, known.as_ptr() as u64, &mut copy).expect("readable"), 17);
        assert_eq!(copy, known);
        assert_eq!(read_u64(me, known.as_ptr() as u64), Some(u64::from_le_bytes(*b"01234567")));
        assert_eq!(read_text(me, known.as_ptr() as u64, 17).as_deref(), Some("0123456789abcdef"));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        assert_eq!(read(me, 8, &mut [0; 4]).expect_err("page 0").raw_os_error(), Some(libc::EFAULT));
        assert_eq!(read_u64(i32::MAX, 8), None);
    }
}

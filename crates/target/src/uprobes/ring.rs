//! A ring of records that is shared with the kernel (perf_event_open(2), "MMAP layout").

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys::bindings::perf_event_mmap_page;

/// A mapped ring; unmapped when dropped.
pub struct Ring {
    page: NonNull<perf_event_mmap_page>,
    page_size: usize,
    /// Of the records alone, in bytes; a power of two.
    size: usize,
}

// SAFETY: the mapping belongs to this value alone, and may be used from any thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring of an event, as large as the kernel lets it be up to `size`, at least 64 KiB.
    ///
    /// # Errors
    /// When not even that is granted.
    pub fn map(event: BorrowedFd, size: usize) -> io::Result<Ring> {
        // SAFETY: sysconf has no precondition.
        let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page_size = usize::try_from(page_size).map_err(|_| io::Error::last_os_error())?;
        let mut size = size.next_power_of_two();
        loop {
            match Ring::of_size(event, page_size, size) {
                Ok(ring) => return Ok(ring),
                // Locked memory is limited for those without CAP_IPC_LOCK (kernel.perf_event_mlock_kb).
                Err(_) if size > 1 << 16 => size /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    fn of_size(event: BorrowedFd, page_size: usize, size: usize) -> io::Result<Ring> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page_size + size,
                protection,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        let page = NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED);
        Ok(Ring { page: page.ok_or_else(io::Error::last_os_error)?, page_size, size })
    }

    fn position(&self, field: *mut u64) -> &AtomicU64 {
        // SAFETY: `field` is one of the mapped page, aligned, and the kernel accesses it atomically, too.
        unsafe { AtomicU64::from_ptr(field) }
    }

    /// Appends all whole records to `bytes`, and the place of each to `records`.
    pub fn read(&mut self, bytes: &mut Vec<u8>, records: &mut Vec<std::ops::Range<usize>>) {
        let page = self.page.as_ptr();
        // SAFETY: both fields are in the mapped page, which lives as long as `self`.
        let (head, tail) = unsafe { (&raw mut (*page).data_head, &raw mut (*page).data_tail) };
        let end = self.position(head).load(Ordering::Acquire);
        let mut at = self.position(tail).load(Ordering::Relaxed);
        while at < end {
            let start = bytes.len();
            self.copy(at, 8, bytes);
            let size =
                bytes.get(start + 6..start + 8).and_then(|size| size.try_into().ok()).map(u16::from_ne_bytes);
            let size = u64::from(size.unwrap_or(0));
            if size < 8 || size > end - at {
                // The kernel does not write such: there is no going on from here but with what comes next.
                bytes.truncate(start);
                at = end;
                break;
            }
            self.copy(at + 8, size - 8, bytes);
            records.push(start..bytes.len());
            at += size;
        }
        self.position(tail).store(at, Ordering::Release);
    }

    /// Copies what is between tail and head.
    fn copy(&self, from: u64, len: u64, to: &mut Vec<u8>) {
        let from = from as usize & (self.size - 1);
        let len = len as usize;
        let first = len.min(self.size - from);
        // SAFETY: the records begin one page into the mapping and have `size` bytes, so both parts are in it; the
        // kernel does not write between tail and head.
        let (first, rest) = unsafe {
            let data = self.page.as_ptr().cast::<u8>().add(self.page_size);
            (std::slice::from_raw_parts(data.add(from), first), std::slice::from_raw_parts(data, len - first))
        };
        to.extend_from_slice(first);
        to.extend_from_slice(rest);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and nothing borrows from it any longer.
        unsafe { libc::munmap(self.page.as_ptr().cast(), self.page_size + self.size) };
    }
}

//! What the functions in front of the allocator have seen, told as events.

use core::ffi::{c_int, c_void};

use super::generated as event;
use super::is_enabled;
use crate::real;

/// The address that a call returns to; at its beginning it lies at the stack pointer.
fn caller(sp: u64) -> u64 {
    // SAFETY: the functions that are exported note the stack pointer as they are called.
    unsafe { (sp as *const u64).read() }
}

/// An allocation was made, or failed.
#[inline]
pub fn allocated(bytes: usize, alignment: usize, block: *mut c_void, sp: u64) {
    if block.is_null() {
        failed(bytes, sp);
    } else if is_enabled(event::ALLOC) {
        event::alloc(bytes as u64, alignment as u64, block as u64, caller(sp));
    }
}

/// An allocation failed.
#[cold]
pub fn failed(bytes: usize, sp: u64) {
    if is_enabled(event::FAIL) {
        event::fail(bytes as u64, caller(sp));
    }
}

/// A block is about to be freed.
#[inline]
pub fn freed(block: *mut c_void, sp: u64) {
    if is_enabled(event::FREE) && !block.is_null() {
        event::free(block as u64, caller(sp));
    }
}

/// A block was resized, or it was not.
#[inline]
pub fn resized(old: *mut c_void, bytes: usize, block: *mut c_void, sp: u64) {
    if old.is_null() || block.is_null() {
        allocated(bytes, 0, block, sp);
    } else if is_enabled(event::REALLOC) {
        event::realloc(old as u64, bytes as u64, block as u64, caller(sp));
    }
}

/// What `mmap` did.
#[inline]
pub fn mapped(mapping: *mut c_void, bytes: usize, how: [c_int; 3], sp: u64) {
    if mapping == real::FAILED {
        map_failed(bytes, sp);
    } else if is_enabled(event::MAP) {
        let [protection, flags, fd] = how;
        event::map(mapping as u64, bytes as u64, protection, flags, fd, caller(sp));
    }
}

#[cold]
fn map_failed(bytes: usize, sp: u64) {
    if is_enabled(event::MAP_FAIL) {
        event::map_fail(bytes as u64, real::errno(), caller(sp));
    }
}

/// Memory was unmapped.
#[inline]
pub fn unmapped(mapping: *mut c_void, bytes: usize, sp: u64) {
    if is_enabled(event::UNMAP) {
        event::unmap(mapping as u64, bytes as u64, caller(sp));
    }
}

/// What `mremap` did.
#[inline]
pub fn remapped(old: (*mut c_void, usize), mapping: *mut c_void, bytes: usize, sp: u64) {
    if mapping == real::FAILED {
        map_failed(bytes, sp);
    } else if is_enabled(event::REMAP) {
        event::remap(old.0 as u64, old.1 as u64, mapping as u64, bytes as u64, caller(sp));
    }
}

/// A library was given back.
pub fn closed(handle: *mut c_void, result: c_int, sp: u64) {
    if is_enabled(event::DLCLOSE) {
        event::dlclose(handle as u64, result, caller(sp));
    }
}

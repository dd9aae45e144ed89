//! What the functions in front of the allocator have seen, told as events.

use core::ffi::{c_int, c_void};

use super::generated as event;
use super::{caller, is_enabled};
use crate::real;
use crate::stack::Caller;

/// An allocation was made, or failed.
#[inline]
pub fn allocated(bytes: usize, alignment: usize, block: *mut c_void, at: Caller) {
    if block.is_null() {
        failed(bytes, at);
    } else if is_enabled(event::ALLOC) {
        event::alloc(bytes as u64, alignment as u64, block as u64, caller(at));
    }
}

/// An allocation failed.
#[cold]
pub fn failed(bytes: usize, at: Caller) {
    if is_enabled(event::FAIL) {
        event::fail(bytes as u64, caller(at));
    }
}

/// A block is about to be freed.
#[inline]
pub fn freed(block: *mut c_void, at: Caller) {
    if is_enabled(event::FREE) && !block.is_null() {
        event::free(block as u64, caller(at));
    }
}

/// A block was resized, or it was not.
#[inline]
pub fn resized(old: *mut c_void, bytes: usize, block: *mut c_void, at: Caller) {
    if old.is_null() || block.is_null() {
        allocated(bytes, 0, block, at);
    } else if is_enabled(event::REALLOC) {
        event::realloc(old as u64, bytes as u64, block as u64, caller(at));
    }
}

/// What `mmap` did.
#[inline]
pub fn mapped(mapping: *mut c_void, bytes: usize, how: [c_int; 3], at: Caller) {
    if mapping == real::FAILED {
        map_failed(bytes, at);
    } else if is_enabled(event::MAP) {
        let [protection, flags, fd] = how;
        event::map(mapping as u64, bytes as u64, protection, flags, fd, caller(at));
    }
}

#[cold]
fn map_failed(bytes: usize, at: Caller) {
    if is_enabled(event::MAP_FAIL) {
        event::map_fail(bytes as u64, real::errno(), caller(at));
    }
}

/// Memory was unmapped.
#[inline]
pub fn unmapped(mapping: *mut c_void, bytes: usize, at: Caller) {
    if is_enabled(event::UNMAP) {
        event::unmap(mapping as u64, bytes as u64, caller(at));
    }
}

/// What `mremap` did.
#[inline]
pub fn remapped(old: (*mut c_void, usize), mapping: *mut c_void, bytes: usize, at: Caller) {
    if mapping == real::FAILED {
        map_failed(bytes, at);
    } else if is_enabled(event::REMAP) {
        event::remap(old.0 as u64, old.1 as u64, mapping as u64, bytes as u64, caller(at));
    }
}

/// A library was given back.
pub fn closed(handle: *mut c_void, result: c_int, at: Caller) {
    if is_enabled(event::DLCLOSE) {
        event::dlclose(handle as u64, result, caller(at));
    }
}

//! Arrays in memory that the host maps, apart from the heap under test.

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::host::Host;

/// What memory is mapped in.
pub const PAGE: usize = 4096;

/// Types of which zeroed memory is a value.
///
/// # Safety
/// All bytes 0 must be a valid value, and need no drop.
pub unsafe trait Zeroable {}

// SAFETY: a number.
unsafe impl Zeroable for u32 {}
// SAFETY: a number.
unsafe impl Zeroable for u64 {}
// SAFETY: a null pointer, which is a value.
unsafe impl<T> Zeroable for *mut T {}

/// An array in mapped memory, zeroed at first. Pages never touched cost nothing. It must be given back by
/// [`Mapped::unmap`].
#[derive(Debug)]
pub struct Mapped<T> {
    start: NonNull<T>,
    length: usize,
}

impl<T: Zeroable> Mapped<T> {
    /// Maps an array of so many values; `None` if there is no memory.
    pub fn new<H: Host>(length: usize, host: &H) -> Option<Mapped<T>> {
        const { assert!(align_of::<T>() <= PAGE) };
        let start = host.map(Self::bytes(length)?)?.cast();
        Some(Mapped { start, length })
    }

    /// What so many values take, in whole pages.
    #[must_use]
    pub const fn bytes(length: usize) -> Option<usize> {
        match length.checked_mul(size_of::<T>()) {
            Some(bytes) => bytes.checked_next_multiple_of(PAGE),
            None => None,
        }
    }

    /// Gives the memory back.
    pub fn unmap<H: Host>(self, host: &H) {
        if let Some(bytes) = Self::bytes(self.length) {
            // SAFETY: it was mapped by `new` with this length, and is not used after this.
            unsafe { host.unmap(self.start.cast(), bytes) };
        }
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped so many zeroed values, which `T: Zeroable` makes valid; they are this one's alone.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for Mapped<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

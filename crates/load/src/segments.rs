//! An array that grows in mapped memory without ever moving what is in it.

use core::ptr::NonNull;

use crate::budget::Budget;
use crate::host::Host;
use crate::mapped::{Mapped, PAGE, Zeroable};

/// Values in a segment, which is mapped as a whole.
const SEGMENT: u32 = 1 << 16;
/// Values that are paid for at once: few, as pages that are never touched cost nothing.
const STEP: u32 = 512;
/// Segments at most.
const SEGMENTS: usize = 1 << 16;
/// Entries in a page of the table of segments.
const IN_PAGE: u32 = (PAGE / size_of::<*mut u8>()) as u32;

/// The array. Its bookkeeping is paid for by page as it grows.
#[derive(Debug)]
pub struct Segments<T> {
    table: Option<Mapped<*mut T>>,
    segments: u32,
    /// How many values there is room for that is paid for.
    paid: u32,
    length: u32,
}

impl<T> Default for Segments<T> {
    fn default() -> Segments<T> {
        Segments { table: None, segments: 0, paid: 0, length: 0 }
    }
}

impl<T: Zeroable + Copy> Segments<T> {
    const SEGMENT_BYTES: usize = size_of::<T>() * SEGMENT as usize;
    const STEP_BYTES: u64 = size_of::<T>() as u64 * STEP as u64;

    /// How many values it holds.
    #[inline]
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Makes sure that there is room for one more; says whether there is.
    #[must_use]
    #[inline]
    pub fn prepare<H: Host>(&mut self, host: &H, budget: &Budget) -> bool {
        self.length < self.paid || self.grow(host, budget)
    }

    #[cold]
    fn grow<H: Host>(&mut self, host: &H, budget: &Budget) -> bool {
        const { assert!((size_of::<T>() * STEP as usize).is_multiple_of(PAGE)) };
        if !budget.take_bookkeeping(Self::STEP_BYTES) {
            return false;
        }
        if self.paid / SEGMENT == self.segments && !self.add_segment(host, budget) {
            budget.give_back_bookkeeping(Self::STEP_BYTES);
            return false;
        }
        self.paid += STEP;
        true
    }

    fn add_segment<H: Host>(&mut self, host: &H, budget: &Budget) -> bool {
        // The last number is no index, so that an index and 1 is always a number of 32 bits.
        if self.segments as usize + 1 >= SEGMENTS {
            return false;
        }
        if self.table.is_none() {
            self.table = Mapped::new(SEGMENTS, host);
        }
        let Some(table) = &mut self.table else { return false };
        let page = if self.segments.is_multiple_of(IN_PAGE) { PAGE as u64 } else { 0 };
        if !budget.take_bookkeeping(page) {
            return false;
        }
        let Some(segment) = host.map(Self::SEGMENT_BYTES) else {
            budget.give_back_bookkeeping(page);
            return false;
        };
        table[self.segments as usize] = segment.as_ptr().cast();
        self.segments += 1;
        true
    }

    #[inline]
    fn at(&self, index: u32) -> *mut T {
        assert!(index < self.paid, "no such entry");
        let Some(table) = &self.table else { return core::ptr::null_mut() };
        let segment = table[(index / SEGMENT) as usize];
        // SAFETY: what is paid for lies in segments that are mapped, each with room for SEGMENT values.
        unsafe { segment.add((index % SEGMENT) as usize) }
    }

    /// A value.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn get(&self, index: u32) -> T {
        assert!(index < self.length, "no such entry");
        // SAFETY: it lies in a segment, whose memory was zeroed, which is a value, and only `&mut self` writes to it.
        unsafe { *self.at(index) }
    }

    /// Changes a value.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn set(&mut self, index: u32, value: T) {
        assert!(index < self.length, "no such entry");
        // SAFETY: it lies in a segment, which is this array's alone.
        unsafe { *self.at(index) = value };
    }

    /// Appends a value. There must be room: see [`Segments::prepare`].
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn push(&mut self, value: T) {
        let place = self.at(self.length);
        self.length += 1;
        // SAFETY: it lies in a segment, which is this array's alone.
        unsafe { *place = value };
    }

    /// Takes the last value away.
    pub fn pop<H: Host>(&mut self, host: &H, budget: &Budget) -> Option<T> {
        let last = self.length.checked_sub(1)?;
        let value = self.get(last);
        self.length = last;
        // One segment is left to spare, so that a length that goes up and down maps nothing.
        if self.length / SEGMENT + 2 < self.segments {
            self.drop_segment(host, budget);
        }
        Some(value)
    }

    #[cold]
    fn drop_segment<H: Host>(&mut self, host: &H, budget: &Budget) {
        let Some(table) = &mut self.table else { return };
        self.segments -= 1;
        let entry = &mut table[self.segments as usize];
        if let Some(segment) = NonNull::new(core::mem::replace(entry, core::ptr::null_mut())) {
            // SAFETY: it was mapped by `add_segment`, and nothing that is left lies in it.
            unsafe { host.unmap(segment.cast(), Self::SEGMENT_BYTES) };
        }
        let left = self.paid.min(self.segments * SEGMENT);
        let steps = u64::from((self.paid - left) / STEP);
        self.paid = left;
        let page = if self.segments.is_multiple_of(IN_PAGE) { PAGE as u64 } else { 0 };
        budget.give_back_bookkeeping(steps * Self::STEP_BYTES + page);
    }

    /// Takes everything away and gives all memory back.
    pub fn clear<H: Host>(&mut self, host: &H, budget: &Budget) {
        self.length = 0;
        while self.segments > 0 {
            self.drop_segment(host, budget);
        }
        if let Some(table) = self.table.take() {
            table.unmap(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn values_stay_as_they_are_while_it_grows_and_shrinks() {
        let (host, budget) = (Fake::default(), Budget::new(1 << 30));
        let mut values = Segments::<u64>::default();
        for value in 0..300_000 {
            assert!(values.prepare(&host, &budget));
            values.push(value);
        }
        assert!((0..300_000).all(|index| values.get(index) == u64::from(index)));
        let full = budget.held();
        assert!(full >= 300_000 * 8);
        for value in (0..300_000).rev() {
            assert_eq!(values.pop(&host, &budget), Some(value));
        }
        assert_eq!(values.pop(&host, &budget), None);
        assert!(budget.held() <= full / 2, "segments go back");
        values.clear(&host, &budget);
        assert_eq!(budget.held(), 0);
        assert_eq!(host.mapped(), 0);
    }

    #[test]
    fn it_grows_no_further_than_the_budget_or_the_host_allows() {
        let (host, budget) = (Fake::default(), Budget::new(3 * 4096));
        let mut values = Segments::<u64>::default();
        let mut count = 0;
        while values.prepare(&host, &budget) {
            values.push(1);
            count += 1;
        }
        assert_eq!(count, 1024, "a page for the table and two for values");
        values.clear(&host, &budget);
        host.refuse_maps(true);
        assert!(!values.prepare(&host, &budget));
        assert_eq!(budget.held(), 0);
        values.clear(&host, &budget);
        assert_eq!(host.mapped(), 0);
    }
}

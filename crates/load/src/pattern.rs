//! What chunks are filled with: word i is the complement of its own address, and the last bytes that make no word are the
//! first of the word that would be there.

use core::ptr::NonNull;

/// Bytes in a word.
const WORD: usize = 8;
/// Words that are compared at once.
const RUN: usize = 8;
/// A byte in each such piece is written to where the contents do not matter, so that the kernel must give every page.
const PAGE: usize = 4096;

/// Where a chunk is not as it was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// First byte that differs.
    pub offset: u64,
    /// Bytes from there to the last one that differs.
    pub length: u64,
}

/// The byte of the pattern at this offset of a chunk.
#[must_use]
pub fn expected(chunk: NonNull<u8>, offset: u64) -> u8 {
    let word = !(chunk.addr().get() as u64).wrapping_add(offset & !7);
    word.to_ne_bytes()[(offset & 7) as usize]
}

/// Whether the words of a chunk can be read as such; allocators align all but tiny chunks.
fn words_of(chunk: NonNull<u8>, bytes: usize) -> usize {
    if chunk.addr().get().is_multiple_of(WORD) { bytes / WORD } else { 0 }
}

/// Fills a chunk.
///
/// # Safety
/// So many bytes must be the caller's to write.
pub unsafe fn fill(chunk: NonNull<u8>, bytes: usize) {
    let words = words_of(chunk, bytes);
    let first = chunk.cast::<u64>().as_ptr();
    let address = chunk.addr().get() as u64;
    for index in 0..words {
        // SAFETY: the word lies in the chunk, and is aligned as `words_of` found.
        unsafe { first.add(index).write(!(address + (index * WORD) as u64)) };
    }
    for offset in words * WORD..bytes {
        // SAFETY: the byte lies in the chunk.
        unsafe { chunk.add(offset).write(expected(chunk, offset as u64)) };
    }
}

/// Writes a byte into each page of a chunk from offset `from` on.
///
/// # Safety
/// As for [`fill`].
pub unsafe fn touch(chunk: NonNull<u8>, from: usize, bytes: usize) {
    let Some(last) = bytes.checked_sub(1) else { return };
    for offset in (from..last).step_by(PAGE).chain([last]) {
        // SAFETY: the byte lies in the chunk. Volatile, for nobody reads it, and yet it must be written.
        unsafe { chunk.add(offset).write_volatile(1) };
    }
}

/// Looks whether a chunk is as it was filled. Somebody else may write to it at any time, which is what is looked for; so
/// it is read as volatile, each word once.
///
/// # Safety
/// So many bytes must be mapped and readable.
#[must_use]
pub unsafe fn check(chunk: NonNull<u8>, bytes: usize) -> Option<Difference> {
    let words = words_of(chunk, bytes);
    // SAFETY: the caller's promise, for all three; the words are aligned as `words_of` found.
    let first = unsafe { first_word(chunk, words) }
        .or_else(|| unsafe { (words * WORD..bytes).find(|&offset| differs(chunk, offset)) })?;
    // From the end back to the first one that differs: if it has become right meanwhile, it alone differed.
    // SAFETY: the caller's promise.
    let last = unsafe { (first..bytes).rev().find(|&offset| differs(chunk, offset)) }.unwrap_or(first);
    Some(Difference { offset: first as u64, length: (last - first) as u64 + 1 })
}

/// # Safety
/// The byte must be readable.
unsafe fn differs(chunk: NonNull<u8>, offset: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { chunk.add(offset).read_volatile() != expected(chunk, offset as u64) }
}

/// The first byte that differs in the first so many words.
///
/// # Safety
/// They must be readable and aligned.
unsafe fn first_word(chunk: NonNull<u8>, words: usize) -> Option<usize> {
    let first = chunk.cast::<u64>().as_ptr();
    let address = chunk.addr().get() as u64;
    // SAFETY: the caller's promise.
    let at = |index: usize| unsafe { first.add(index).read_volatile() } ^ !(address + (index * WORD) as u64);
    let place = |index: usize, difference: u64| {
        let byte = difference.to_ne_bytes().iter().position(|&byte| byte != 0)?;
        Some(index * WORD + byte)
    };
    let mut index = 0;
    while index + RUN <= words {
        let differences: [u64; RUN] = core::array::from_fn(|more| at(index + more));
        if differences.iter().fold(0, |sum, difference| sum | difference) != 0 {
            return differences.iter().enumerate().find_map(|(more, &found)| place(index + more, found));
        }
        index += RUN;
    }
    (index..words).find_map(|index| place(index, at(index)))
}

/// Reads bytes of a chunk that somebody else may be writing to.
///
/// # Safety
/// They must be readable.
pub unsafe fn read(chunk: NonNull<u8>, offset: usize, to: &mut [u8]) {
    for (more, byte) in to.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *byte = unsafe { chunk.add(offset + more).read_volatile() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A chunk at this offset from an aligned address.
    fn chunk(memory: &mut [u64], skew: usize) -> NonNull<u8> {
        NonNull::from(memory).cast::<u8>().map_addr(|address| address.saturating_add(skew))
    }

    #[test]
    fn words_are_the_complements_of_their_addresses() {
        let mut memory = [0; 4];
        let chunk = chunk(&mut memory, 0);
        // SAFETY: 27 of 32 bytes.
        unsafe { fill(chunk, 27) };
        let address = chunk.addr().get() as u64;
        assert_eq!(memory[..3], [!address, !(address + 8), !(address + 16)]);
        assert_eq!(memory[3].to_ne_bytes()[..3], (!(address + 24)).to_ne_bytes()[..3]);
        assert_eq!(memory[3].to_ne_bytes()[3..], [0; 5], "nothing behind the end is written");
    }

    #[test]
    fn every_page_is_touched_and_no_byte_behind() {
        let mut memory = vec![0; 2048];
        let start = chunk(&mut memory, 0);
        // SAFETY: fewer than 16384 bytes.
        unsafe { touch(start, 0, 10_000) };
        let mut touched = [0; 16_384];
        // SAFETY: all of it.
        unsafe { read(start, 0, &mut touched) };
        let places: Vec<_> = (0..16_384).filter(|&place| touched[place] != 0).collect();
        assert_eq!(places, [0, 4096, 8192, 9999]);
    }

    proptest! {
        #[test]
        fn any_change_is_found_where_it_is(
            bytes in 1_usize..700, skew in 0_usize..9, first in any::<prop::sample::Index>(),
            last in any::<prop::sample::Index>(), change in 1_u8..,
        ) {
            let mut memory = [0; 100];
            let chunk = chunk(&mut memory, skew);
            // SAFETY: at most 708 of 800 bytes.
            unsafe { fill(chunk, bytes) };
            // SAFETY: as above.
            prop_assert_eq!(unsafe { check(chunk, bytes) }, None);
            let (one, other) = (first.index(bytes), last.index(bytes));
            let (first, last) = (one.min(other), one.max(other));
            for place in [first, last] {
                // SAFETY: it lies in the chunk.
                unsafe { chunk.add(place).write(expected(chunk, place as u64) ^ change) };
            }
            let difference = Difference { offset: first as u64, length: (last - first + 1) as u64 };
            // SAFETY: as above.
            prop_assert_eq!(unsafe { check(chunk, bytes) }, Some(difference));
        }
    }
}

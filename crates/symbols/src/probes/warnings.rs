//! What may go wrong at a site, told from the file.

use super::{Semaphore, Warning};
use crate::image::{Image, PF_W, PT_LOAD, Segment};

/// The nop of 5 bytes that kernels since 6.18 replace by a call.
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
const PAGE: u64 = 4096;

/// What may go wrong at the site at file offset `offset`.
pub(super) fn of(image: &Image, offset: u64, semaphore: Option<Semaphore>, based: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if image.bytes(offset, NOP5.len() as u64).is_ok_and(|bytes| *bytes == NOP5) {
        warnings.push(Warning::Nop5);
    }
    if semaphore.is_some_and(|semaphore| is_shared(&image.segments, semaphore)) {
        warnings.push(Warning::SharedSemaphorePage);
    }
    if !based {
        warnings.push(Warning::NoBase);
    }
    warnings
}

/// Whether the kernel takes another place for the semaphore in processes that it starts while the probe is set.
///
/// It raises the semaphore in the first writable mapping of the page of the file, as soon as that is mapped
/// (`delayed_ref_ctr_inc` in kernel/events/uprobes.c). Mappings come in the order of the program headers, and reach to the
/// ends of pages; those that are read-only in the end are still writable then.
fn is_shared(segments: &[Segment], semaphore: Semaphore) -> bool {
    let loaded = segments.iter().filter(|s| s.kind == PT_LOAD && s.flags & PF_W != 0);
    let first = loaded.into_iter().find_map(|segment| mapped_at(segment, semaphore.offset));
    first.is_some_and(|address| address != semaphore.address)
}

/// The address at which `segment` maps the byte of the file at `offset`, if it does.
fn mapped_at(segment: &Segment, offset: u64) -> Option<u64> {
    let start = segment.offset - segment.offset % PAGE;
    let end = segment.offset.checked_add(segment.file_size)?.checked_next_multiple_of(PAGE)?;
    let mapped = segment.file_size > 0 && (start..end).contains(&offset);
    mapped.then(|| segment.address.wrapping_sub(segment.offset).wrapping_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: u32, offset: u64, address: u64, file_size: u64) -> Segment {
        Segment { kind: PT_LOAD, flags, offset, address, file_size }
    }

    #[test]
    fn a_page_that_another_writable_segment_maps_first_is_shared() {
        let semaphore = Semaphore { address: 0x4c58, offset: 0xc58 };
        let data = load(6, 0xc40, 0x4c40, 0x40);
        let relro = load(6, 0xa40, 0x3a40, 0x200);
        for (segments, shared) in [
            (vec![relro.clone(), data.clone()], true),
            (vec![data.clone(), relro.clone()], false),
            (vec![data.clone()], false),
            // Code is mapped without the right to write.
            (vec![load(5, 0xa40, 0x3a40, 0x200), data.clone()], false),
            // Another page.
            (vec![load(6, 0x1000, 0x3000, 0x200), data.clone()], false),
            // Nothing of the file.
            (vec![load(6, 0xa40, 0x3a40, 0), data.clone()], false),
            // At the same distance.
            (vec![load(6, 0xa40, 0x4a40, 0x200), data.clone()], false),
            (vec![load(6, u64::MAX - 9, u64::MAX, 0x200), data], false),
        ] {
            assert_eq!(is_shared(&segments, semaphore), shared, "{segments:?}");
        }
    }
}

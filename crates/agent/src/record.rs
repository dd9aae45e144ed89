//! The census: every allocation counted at its site.

use core::sync::atomic::{AtomicU64, Ordering};

use memtrial_wire::layout::{FRAMES, SEQUENCE, SITES, Site};

use crate::memory::Shared;
use crate::stack::Stack;

/// Which allocation one is.
#[derive(Clone, Copy)]
pub struct Identity {
    /// Its site.
    pub site: u64,
    /// Its number at the site, from 1.
    pub nth: u64,
    /// Its number in the run, from 1.
    pub ordinal: u64,
}

/// Counts an allocation of `bytes` with this stack.
#[inline]
pub fn record(stack: &Stack, bytes: u64, shared: Shared) -> Identity {
    let control = shared.control();
    let ordinal = control.allocations.fetch_add(1, Ordering::Relaxed) + 1;
    control.bytes.fetch_add(bytes, Ordering::Relaxed);
    let Some((index, site)) = entry(stack, shared) else {
        control.lost.fetch_add(1, Ordering::Relaxed);
        return Identity { site: stack.hash, nth: 0, ordinal };
    };
    let nth = site.count.fetch_add(1, Ordering::Relaxed) + 1;
    site.bytes.fetch_add(bytes, Ordering::Relaxed);
    if nth == 1 {
        site.first.store(ordinal, Ordering::Relaxed);
    }
    if let Some(entry) = shared.sequence().get(ordinal as usize - 1).filter(|_| ordinal as usize <= SEQUENCE)
    {
        // 0 stands for "not recorded".
        entry.store(index as u32 + 1, Ordering::Relaxed);
    }
    Identity { site: stack.hash, nth, ordinal }
}

/// The table entry of a stack, made when it is new; `None` when the table is full.
#[inline]
pub fn entry(stack: &Stack, shared: Shared) -> Option<(usize, &'static Site)> {
    let sites = shared.sites();
    let mut index = stack.hash as usize & (SITES - 1);
    for _ in 0..SITES {
        let site = &sites[index];
        match site.hash.load(Ordering::Relaxed) {
            hash if hash == stack.hash => return Some((index, site)),
            0 => {
                // Leave an eighth free: probing in a full table takes for ever.
                if shared.control().sites_used.load(Ordering::Relaxed) as usize >= SITES / 8 * 7 {
                    return None;
                }
                let taken = site.hash.compare_exchange(0, stack.hash, Ordering::Relaxed, Ordering::Relaxed);
                match taken {
                    Ok(_) => {
                        keep(stack, index, site, shared);
                        return Some((index, site));
                    }
                    Err(hash) if hash == stack.hash => return Some((index, site)),
                    Err(_) => {}
                }
            }
            _ => {}
        }
        index = (index + 1) & (SITES - 1);
    }
    None
}

/// Fills in a new entry.
#[cold]
fn keep(stack: &Stack, index: usize, site: &Site, shared: Shared) {
    let control = shared.control();
    let number = control.sites_used.fetch_add(1, Ordering::Relaxed) as usize;
    if let Some(listed) = shared.site_list().get(number) {
        listed.store(index as u32 + 1, Ordering::Release);
    }
    let at = control.frames_used.fetch_add(stack.depth as u64, Ordering::Relaxed) as usize;
    let Some(room) = shared.frames().get(at..at + stack.depth).filter(|_| at + stack.depth <= FRAMES) else {
        return;
    };
    for (word, frame) in room.iter().zip(stack.frames) {
        AtomicU64::store(word, frame, Ordering::Relaxed);
    }
    site.frames.store(at as u64, Ordering::Relaxed);
    site.depth.store(stack.depth as u64, Ordering::Release);
}

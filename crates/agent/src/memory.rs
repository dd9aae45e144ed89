//! The memory shared with the controller, as safe references.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use memtrial_wire::layout::{
    Control, FRAMES, MODULES, Module, PLAN, SEQUENCE, SITES, SLOTS, Site, Slot, offset,
};

use crate::system::{self, Errno};

static BASE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// The shared memory; there is at most one, and it stays where it is until the process ends.
#[derive(Clone, Copy)]
pub struct Shared {
    base: *mut u8,
}

// SAFETY: the mapping stays, and all that changes in it while a target runs is atomic.
unsafe impl Sync for Shared {}

impl Shared {
    /// Makes the mapping at `base` the shared memory. That of a trial before is let go of: the new one takes its place, so that
    /// a thread which still has a reference to it reads and writes what is there now.
    ///
    /// # Errors
    /// When the kernel does not move it; it is unmapped then.
    ///
    /// # Safety
    /// `base` must be a mapping of [`offset::END`] bytes that nobody else knows of, of a file whose magic and version were
    /// checked; the controller that made it keeps to the layout.
    pub unsafe fn install(base: *mut u8) -> Result<(), Errno> {
        let before = BASE.load(Ordering::Acquire);
        if before.is_null() {
            BASE.store(base, Ordering::Release);
            return Ok(());
        }
        let moved = system::move_mapping(base, offset::END, before);
        if moved.is_err() {
            system::unmap(base as u64, offset::END);
        }
        moved
    }

    /// The shared memory, if this process has one.
    #[inline]
    pub fn get() -> Option<Shared> {
        let base = BASE.load(Ordering::Acquire);
        (!base.is_null()).then_some(Shared { base })
    }

    /// # Safety
    /// `at` must be one of the offsets of the layout, where `length` values of `T` lie.
    unsafe fn part<T>(self, at: usize, length: usize) -> &'static [T] {
        // SAFETY: `install` promises the mapping, the caller that the part lies in it; all that changes while
        // a target runs is atomic.
        unsafe { core::slice::from_raw_parts(self.base.add(at).cast(), length) }
    }

    /// The head.
    #[inline]
    pub fn control(self) -> &'static Control {
        // SAFETY: the head lies at the start.
        unsafe { &*self.base.cast::<Control>() }
    }

    /// The slots.
    pub fn slots(self) -> &'static [Slot] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::SLOTS_AT, SLOTS) }
    }

    /// The module table.
    pub fn modules(self) -> &'static [Module] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::MODULES_AT, MODULES) }
    }

    /// The site table.
    pub fn sites(self) -> &'static [Site] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::SITES_AT, SITES) }
    }

    /// The list of sites in use.
    pub fn site_list(self) -> &'static [AtomicU32] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::SITE_LIST_AT, SITES) }
    }

    /// The frame pool.
    pub fn frames(self) -> &'static [AtomicU64] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::FRAMES_AT, FRAMES) }
    }

    /// The plan.
    pub fn plan(self) -> &'static [AtomicU64] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::PLAN_AT, PLAN) }
    }

    /// The sequence.
    pub fn sequence(self) -> &'static [AtomicU32] {
        // SAFETY: offset and length of the layout.
        unsafe { self.part(offset::SEQUENCE_AT, SEQUENCE) }
    }

    /// Writes the text of a module that this caller alone has reserved and not yet published.
    pub fn write_module(self, module: &'static Module, build_id: &[u8], path: &[u8]) {
        let build_id = &build_id[..build_id.len().min(module.build_id.len())];
        let path = &path[..path.len().min(module.path.len())];
        // SAFETY: nobody reads these bytes before `identity` is set, and the caller has reserved the entry.
        unsafe {
            copy(build_id, module.build_id.as_ptr().cast_mut());
            copy(path, module.path.as_ptr().cast_mut());
        }
        module.build_id_len.store(build_id.len() as u32, Ordering::Relaxed);
        module.path_len.store(path.len() as u32, Ordering::Relaxed);
    }
}

/// # Safety
/// `to` must be valid for writing as many bytes as `from` has.
unsafe fn copy(from: &[u8], to: *mut u8) {
    // SAFETY: the caller promises the room; the two never overlap, one being shared memory.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
}

//! Following blocks: the site and the round of every block that is alive, in a table of the target's own memory.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

use memtrial_wire::layout::mode;
use memtrial_wire::live::{
    Block, DIRECTORY, DIRECTORY_AT, END, FREED, Head, LEAF_SPAN_BITS, LEAVES, LIST_AT, Leaf, PAGE_BITS,
    leaf_bytes, leaf_room,
};

use crate::memory::Shared;
use crate::real::{self, call};
use crate::record;
use crate::stack::{self, Caller};
use crate::{events, sampling, system, thread};

/// The table, once there is one; it stays until the process ends.
static TABLE: AtomicPtr<Head> = AtomicPtr::new(core::ptr::null_mut());

/// Blocks of glibc begin at multiples of 16 bytes.
const GLIBC: u32 = 4;
/// Other allocators may put two blocks into 16 bytes.
const OTHER: u32 = 3;

/// Begins to follow in this process; says whether there is room for the table.
pub fn begin(shared: Shared) -> bool {
    let known = TABLE.load(Ordering::Acquire);
    let head = if known.is_null() { make() } else { known };
    if head.is_null() {
        return false;
    }
    let table = Table { head };
    table.clear();
    let granularity = if real::is_glibc() { GLIBC } else { OTHER };
    table.head().granularity.store(granularity, Ordering::Relaxed);
    table.head().own.store(1, Ordering::Relaxed);
    TABLE.store(head, Ordering::Release);
    let (data, data_end) = own_data();
    system::keep_apart(data, data_end);
    let control = shared.control();
    control.agent_data[0].store(data, Ordering::Relaxed);
    control.agent_data[1].store(data_end, Ordering::Relaxed);
    control.root_pid.store(system::getpid(), Ordering::Relaxed);
    control.live_table.store(head as u64, Ordering::Release);
    true
}

/// Ends following in this process, and gives the table's memory back.
pub fn end() {
    if let Some(table) = Table::get() {
        table.head().own.store(0, Ordering::Release);
        table.clear();
    }
}

unsafe extern "C" {
    /// The start of the library's zeroed data, and the first address behind it: the linker's.
    static __bss_start: u8;
    static _end: u8;
}

/// The whole pages of the agent's zeroed data.
fn own_data() -> (u64, u64) {
    const PAGE: u64 = 4096;
    let (start, end) = (&raw const __bss_start as u64, &raw const _end as u64);
    (start.next_multiple_of(PAGE), end.next_multiple_of(PAGE))
}

fn make() -> *mut Head {
    let Ok(memory) = system::map_private(END) else { return core::ptr::null_mut() };
    system::wipe_on_fork(memory, END);
    memory.cast()
}

/// What following needs at every call; `None` while nothing is followed.
#[inline]
fn active() -> Option<(Table, Shared, u32)> {
    let table = Table::get()?;
    if table.head().own.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let shared = Shared::get()?;
    let control = shared.control();
    let round = control.round.load(Ordering::Relaxed);
    (round != 0 && matches!(control.mode, mode::FOLLOW | mode::CONTROL)).then_some((table, shared, round))
}

/// What sampling needs at a call that most likely has nothing to do with a followed block: the table, if it is glibc
/// that is sampled. It calls none of the functions that the agent stands in front of, so that it may be called as it is.
#[inline]
fn sampled_glibc() -> Option<Table> {
    let (table, shared, _) = active()?;
    let plain = shared.control().sample != 0
        && table.head().granularity.load(Ordering::Relaxed) == GLIBC
        && !thread::is_busy();
    plain.then_some(table)
}

/// Whether an allocation can be left to glibc without more, because it is not sampled. If so, it has been counted.
#[inline]
pub fn passes(bytes: usize) -> bool {
    sampled_glibc().is_some() && sampling::passes(bytes as u64)
}

/// Whether the end of a block can be left to glibc without more, because no sampled block is near.
#[inline]
pub fn ignores(block: *mut c_void) -> bool {
    let address = block as u64;
    sampled_glibc().is_some_and(|table| {
        table.leaf(address).is_none_or(|leaf| leaf.page(address).load(Ordering::Relaxed) == 0)
    })
}

/// Keeps a block that has just come to life.
#[inline]
pub fn born(block: *mut c_void, bytes: usize, caller: Caller) {
    if block.is_null() || thread::is_busy() {
        return;
    }
    let Some((table, shared, round)) = active() else { return };
    let sample = shared.control().sample;
    if sample == 0 || sampling::takes(bytes as u64, sample) {
        keep(table, shared, block as u64, Fresh { bytes: bytes as u64, round, caller });
    }
}

/// Forgets memory that is unmapped, from its start or as a whole; what is left of it behind stays a block. Returns
/// what was known of it.
#[inline]
pub fn unmapped(address: *mut c_void, length: usize) -> u64 {
    let Some((table, ..)) = active().filter(|_| !thread::is_busy()) else { return 0 };
    let Some(leaf) = table.leaf(address as u64) else { return 0 };
    let word = forget(leaf.cell(address as u64));
    let Some(block) = Block::unpack(word) else { return 0 };
    fewer(leaf.page(address as u64));
    let behind = (address as u64).saturating_add(length as u64).next_multiple_of(1 << PAGE_BITS);
    let left = block.bytes.saturating_sub(length as u64);
    if left > 0 {
        put(table, behind, Block { bytes: left, ..block });
    }
    word
}

/// Keeps what was known of memory that has moved, or has another length now.
pub fn resized(address: *mut c_void, length: usize, word: u64) {
    if let (Some(block), Some(table)) = (Block::unpack(word), Table::get()) {
        put(table, address as u64, Block { bytes: length as u64, ..block });
    }
}

fn put(table: Table, address: u64, block: Block) {
    if let Some(leaf) = table.leaf_for(address) {
        leaf.cell(address).store(block.pack(), Ordering::Relaxed);
        more(leaf.page(address));
    }
}

/// A block about to be kept.
struct Fresh {
    bytes: u64,
    round: u32,
    caller: Caller,
}

// Its stack frame is big: calls that keep nothing are spared it.
#[inline(never)]
fn keep(table: Table, shared: Shared, address: u64, fresh: Fresh) {
    let control = shared.control();
    let stack = stack::unwind(fresh.caller, shared);
    let kept = record::entry(&stack, shared).and_then(|(index, site)| {
        site.count.fetch_add(1, Ordering::Relaxed);
        let word = Block { site: index as u32, round: fresh.round, bytes: fresh.bytes }.pack();
        let leaf = table.leaf_for(address)?;
        // A block that was there is one whose end nobody has seen.
        let before = leaf.cell(address).swap(word, Ordering::Relaxed);
        if before == 0 && control.sample != 0 {
            more(leaf.page(address));
        }
        (before == 0).then_some(())
    });
    if kept.is_none() {
        control.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a sampled block of a page. At its most a count stays: then nobody knows any more.
fn more(page: &AtomicU8) {
    let _ = page.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
}

fn fewer(page: &AtomicU8) {
    let known = |count| (1..u8::MAX).contains(&count).then(|| count - 1);
    let _ = page.fetch_update(Ordering::Relaxed, Ordering::Relaxed, known);
}

/// Forgets a block that is about to go; to be called before it does, for afterwards another thread may get its
/// address. Returns what was known of it, for [`undo`].
#[inline]
pub fn dies(block: *mut c_void) -> u64 {
    if block.is_null() || thread::is_busy() {
        return 0;
    }
    let Some((table, shared, _)) = active() else { return 0 };
    let address = block as u64;
    if shared.control().sample != 0 {
        return table.leaf(address).map_or(0, |leaf| sampled_dies(leaf, address));
    }
    let remembers = shared.control().mode == mode::CONTROL;
    let end = |cell| if remembers { bury(cell) } else { forget(cell) };
    let word = table.leaf(address).map_or(0, |leaf| end(leaf.cell(address)));
    if word == 0 && !remembers {
        count_unknown(block, shared);
    }
    word
}

/// Empties a block's word. The block is the caller's alone: nobody else writes the word now.
#[inline]
fn forget(cell: &AtomicU64) -> u64 {
    let word = cell.load(Ordering::Relaxed);
    if word != 0 {
        cell.store(0, Ordering::Relaxed);
    }
    word
}

/// Keeps of a block that it was freed: whoever still writes to it may write to a chunk in its place.
#[inline]
fn bury(cell: &AtomicU64) -> u64 {
    let word = cell.load(Ordering::Relaxed);
    if let Some(block) = Block::unpack(word) {
        cell.store(Block { round: FREED, ..block }.pack(), Ordering::Relaxed);
    }
    word
}

/// Bytes between two places where a block can begin.
pub fn granularity() -> u64 {
    1 << Table::get().map_or(GLIBC, |table| table.head().granularity.load(Ordering::Relaxed))
}

/// What is known of a block that begins, or began, at this address.
pub fn block_at(address: u64) -> Option<Block> {
    let leaf = Table::get()?.leaf(address)?;
    Block::unpack(leaf.cell(address).load(Ordering::Relaxed))
}

#[inline]
fn sampled_dies(leaf: LeafHere, address: u64) -> u64 {
    let page = leaf.page(address);
    if page.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    let word = forget(leaf.cell(address));
    if word != 0 {
        fewer(page);
    }
    word
}

/// A block from before the first round, or one that was not seen.
#[cold]
fn count_unknown(block: *mut c_void, shared: Shared) {
    // SAFETY: the target frees a block that is still its own.
    let bytes = unsafe { call::malloc_usable_size(block) };
    let control = shared.control();
    control.freed_unknown.fetch_add(1, Ordering::Relaxed);
    control.freed_unknown_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// Takes back what [`dies`] did: the block lives on.
#[cold]
pub fn undo(block: *mut c_void, word: u64) {
    if word != 0
        && let Some(leaf) = Table::get().and_then(|table| table.leaf(block as u64))
    {
        leaf.cell(block as u64).store(word, Ordering::Relaxed);
        more(leaf.page(block as u64));
    }
}

/// The table of live blocks.
#[derive(Clone, Copy)]
struct Table {
    head: *mut Head,
}

impl Table {
    #[inline]
    fn get() -> Option<Table> {
        let head = TABLE.load(Ordering::Acquire);
        (!head.is_null()).then_some(Table { head })
    }

    #[inline]
    fn head(self) -> &'static Head {
        // SAFETY: `make` mapped it for good.
        unsafe { &*self.head }
    }

    #[inline]
    fn directory(self) -> &'static [AtomicU64] {
        // SAFETY: `make` mapped the whole layout for good.
        unsafe { core::slice::from_raw_parts(self.head.cast::<u8>().add(DIRECTORY_AT).cast(), DIRECTORY) }
    }

    fn list(self) -> &'static [Leaf] {
        // SAFETY: as for `directory`.
        unsafe { core::slice::from_raw_parts(self.head.cast::<u8>().add(LIST_AT).cast(), LEAVES) }
    }

    /// The leaf of a block at `address`, if there is one.
    #[inline]
    fn leaf(self, address: u64) -> Option<LeafHere> {
        let entry = self.directory().get((address >> LEAF_SPAN_BITS) as usize)?;
        let words = entry.load(Ordering::Acquire);
        (words != 0).then(|| self.leaf_at(words))
    }

    /// The same; it is made if there is none.
    #[inline]
    fn leaf_for(self, address: u64) -> Option<LeafHere> {
        let span = (address >> LEAF_SPAN_BITS) as usize;
        let entry = self.directory().get(span)?;
        match entry.load(Ordering::Acquire) {
            0 => self.grow(entry, span).map(|words| self.leaf_at(words)),
            words => Some(self.leaf_at(words)),
        }
    }

    #[inline]
    fn leaf_at(self, words: u64) -> LeafHere {
        LeafHere { words, granularity: self.head().granularity.load(Ordering::Relaxed) }
    }

    #[cold]
    fn grow(self, entry: &'static AtomicU64, span: usize) -> Option<u64> {
        let head = self.head();
        if head.leaves.load(Ordering::Relaxed) as usize >= LEAVES {
            return None;
        }
        let length = leaf_room(head.granularity.load(Ordering::Relaxed));
        let leaf = system::map_private(length).ok()?;
        system::wipe_on_fork(leaf, length);
        let words = leaf as u64;
        if let Err(other) = entry.compare_exchange(0, words, Ordering::AcqRel, Ordering::Acquire) {
            system::unmap(words, length);
            return Some(other);
        }
        let leaf = self.list().get(head.leaves.fetch_add(1, Ordering::Relaxed) as usize)?;
        leaf.span.store(span as u64, Ordering::Relaxed);
        leaf.words.store(words, Ordering::Release);
        Some(words)
    }

    /// Empties every leaf, giving its memory back.
    fn clear(self) {
        let head = self.head();
        // The granularity never changes once there is a leaf: the process's allocator decides it.
        let length = leaf_room(head.granularity.load(Ordering::Relaxed));
        let used = (head.leaves.load(Ordering::Relaxed) as usize).min(LEAVES);
        for leaf in &self.list()[..used] {
            let words = leaf.words.load(Ordering::Acquire);
            if words != 0 {
                system::empty(words, length);
            }
        }
    }
}

/// A leaf that is mapped, for good.
#[derive(Clone, Copy)]
struct LeafHere {
    words: u64,
    granularity: u32,
}

impl LeafHere {
    /// The word of the block at `address`, which must be one of this leaf's.
    #[inline]
    fn cell(self, address: u64) -> &'static AtomicU64 {
        let index = (address & OFFSET) >> self.granularity;
        // SAFETY: a leaf has a word for each such index, and is never unmapped.
        unsafe { &*(self.words as *const AtomicU64).add(index as usize) }
    }

    /// How many sampled blocks begin on the page that `address` lies on.
    #[inline]
    fn page(self, address: u64) -> &'static AtomicU8 {
        let summary = self.words + leaf_bytes(self.granularity) as u64;
        // SAFETY: a leaf has so many bytes behind its words, one for each page, and is never unmapped.
        unsafe { &*(summary as *const AtomicU8).add(((address & OFFSET) >> PAGE_BITS) as usize) }
    }
}

/// The bits of an address that tell where in its leaf it is.
const OFFSET: u64 = (1 << LEAF_SPAN_BITS) - 1;

/// Joins the trial whose control memory has this path, in a process that was running already. Called by the
/// controller, in a thread that holds no lock. Returns 0, or what kept it from joining.
///
/// # Safety
/// `path` must be a NUL-terminated text.
#[unsafe(no_mangle)]
unsafe extern "C" fn memtrial_follow(path: *const core::ffi::c_char) -> u64 {
    // SAFETY: the controller wrote the path there.
    let path = unsafe { core::ffi::CStr::from_ptr(path) }.to_bytes_with_nul();
    crate::start::join(path)
}

/// Ends following and telling of events in this process. Called by the controller.
#[unsafe(no_mangle)]
extern "C" fn memtrial_leave() -> u64 {
    end();
    events::end();
    crate::start::vacate();
    0
}

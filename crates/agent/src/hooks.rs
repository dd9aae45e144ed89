//! The functions that the agent puts in front of the target's allocator.
//!
//! Each exported function only notes where its caller stands (its return address lies at the stack pointer) and
//! jumps to the function that does the work.

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

use crate::events::memory as told;
use crate::inject::{counts_live, fails};
use crate::real::{self, ENOMEM, call, plain, pool_size, set_errno};
use crate::stack::{Caller, forget_rules};
use crate::{follow, start, thread};

const NULL: *mut c_void = core::ptr::null_mut();
/// What `valloc` aligns to.
const PAGE: usize = 4096;

/// Exports a function whose caller's stack pointer and frame pointer are passed on behind its own arguments, in
/// the two registers named.
macro_rules! export {
    ($name:ident => $work:ident, $sp:literal, $bp:literal) => {
        /// Stands in front of the target's function of the same name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                concat!("mov ", $sp, ", rsp"),
                concat!("mov ", $bp, ", rbp"),
                "jmp {work}",
                work = sym $work,
            )
        }
    };
}

export!(malloc => malloc_at, "rsi", "rdx");
export!(valloc => valloc_at, "rsi", "rdx");
export!(pvalloc => pvalloc_at, "rsi", "rdx");
export!(calloc => calloc_at, "rdx", "rcx");
export!(realloc => realloc_at, "rdx", "rcx");
export!(aligned_alloc => aligned_alloc_at, "rdx", "rcx");
export!(memalign => memalign_at, "rdx", "rcx");
export!(reallocarray => reallocarray_at, "rcx", "r8");
export!(posix_memalign => posix_memalign_at, "rcx", "r8");

/// Makes an allocation of `bytes` unless it is to fail; `alignment` is 0 where none was asked for.
#[inline]
fn allocate(
    bytes: usize,
    alignment: usize,
    sp: u64,
    bp: u64,
    real: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    start::start();
    if fails(bytes, Caller { sp, bp }) {
        set_errno(ENOMEM);
        return NULL;
    }
    let block = real();
    came(block);
    follow::born(block, bytes, Caller { sp, bp });
    told::allocated(bytes, alignment, block, Caller { sp, bp });
    block
}

/// Counts a block that came to life, where a fault needs that.
#[inline]
fn came(block: *mut c_void) {
    if let Some(shared) = counts_live().filter(|_| !block.is_null() && !thread::is_busy()) {
        // SAFETY: the block has just been made by the same allocator.
        let bytes = unsafe { call::malloc_usable_size(block) };
        shared.control().live.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Counts a block that goes, before it does: afterwards another thread may have it.
#[inline]
fn goes(block: *mut c_void) -> u64 {
    match counts_live().filter(|_| !block.is_null() && !thread::is_busy()) {
        Some(shared) => {
            // SAFETY: the target frees a block that is still its own.
            let bytes = unsafe { call::malloc_usable_size(block) } as u64;
            shared.control().live.fetch_sub(bytes, Ordering::Relaxed);
            bytes
        }
        None => 0,
    }
}

// What is looked at closely lies in functions of their own: what is let pass needs none of their stack frame.

extern "C" fn malloc_at(size: usize, sp: u64, bp: u64) -> *mut c_void {
    if follow::passes(size) {
        // SAFETY: the target's arguments.
        return unsafe { plain::malloc(size) };
    }
    look_at_malloc(size, sp, bp)
}

#[inline(never)]
fn look_at_malloc(size: usize, sp: u64, bp: u64) -> *mut c_void {
    if thread::is_busy() {
        return within(size, || {
            // SAFETY: the target's arguments.
            unsafe { call::malloc(size) }
        });
    }
    // SAFETY: the target's arguments.
    allocate(size, 0, sp, bp, || unsafe { call::malloc(size) })
}

extern "C" fn calloc_at(count: usize, size: usize, sp: u64, bp: u64) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else {
        // The overflow check stays the allocator's own, and is no allocation.
        // SAFETY: the target's arguments.
        let block = unsafe { call::calloc(count, size) };
        told::allocated(usize::MAX, 0, block, Caller { sp, bp });
        return block;
    };
    if follow::passes(bytes) {
        // SAFETY: the target's arguments.
        return unsafe { plain::calloc(count, size) };
    }
    if thread::is_busy() {
        return within(bytes, || {
            // SAFETY: the target's arguments.
            unsafe { call::calloc(count, size) }
        });
    }
    // SAFETY: the target's arguments.
    allocate(bytes, 0, sp, bp, || unsafe { call::calloc(count, size) })
}

/// What an allocator or the loader asks for while it works for the agent or the target: never failed, and taken
/// from the pool while the real functions are still being looked up.
#[cold]
fn within(bytes: usize, real: impl FnOnce() -> *mut c_void) -> *mut c_void {
    if real::are_known() { real() } else { real::from_pool(bytes) }
}

extern "C" fn realloc_at(block: *mut c_void, size: usize, sp: u64, bp: u64) -> *mut c_void {
    if let Some(old) = pool_size(block) {
        let moved = malloc_at(size, sp, bp);
        if !moved.is_null() {
            // SAFETY: both blocks have so many bytes, and they are different ones.
            unsafe { core::ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast(), old.min(size)) };
        }
        return moved;
    }
    if thread::is_busy() || (size == 0 && !block.is_null()) {
        goes(block);
        follow::dies(block);
        told::freed(block, Caller { sp, bp });
        // SAFETY: the target's arguments. Of size 0 this frees: nothing is asked for.
        return unsafe { call::realloc(block, size) };
    }
    start::start();
    if fails(size, Caller { sp, bp }) {
        // The old block stays as it is.
        set_errno(ENOMEM);
        return NULL;
    }
    let gone = goes(block);
    let followed = follow::dies(block);
    // SAFETY: the target's arguments.
    let moved = unsafe { call::realloc(block, size) };
    if moved.is_null() {
        follow::undo(block, followed);
        if let Some(shared) = counts_live() {
            shared.control().live.fetch_add(gone, Ordering::Relaxed);
        }
    } else {
        came(moved);
        follow::born(moved, size, Caller { sp, bp });
    }
    told::resized(block, size, moved, Caller { sp, bp });
    moved
}

extern "C" fn reallocarray_at(
    block: *mut c_void,
    count: usize,
    size: usize,
    sp: u64,
    bp: u64,
) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) => realloc_at(block, bytes, sp, bp),
        None => {
            set_errno(ENOMEM);
            told::failed(usize::MAX, Caller { sp, bp });
            NULL
        }
    }
}

extern "C" fn posix_memalign_at(
    to: *mut *mut c_void,
    alignment: usize,
    size: usize,
    sp: u64,
    bp: u64,
) -> c_int {
    start::start();
    if fails(size, Caller { sp, bp }) {
        // By POSIX the error is returned; `errno` and `*to` stay as they are.
        return ENOMEM;
    }
    // SAFETY: the target's arguments.
    let result = unsafe { call::posix_memalign(to, alignment, size) };
    if result == 0 {
        // SAFETY: on success the function has written the block there.
        let block = unsafe { *to };
        came(block);
        follow::born(block, size, Caller { sp, bp });
        told::allocated(size, alignment, block, Caller { sp, bp });
    } else {
        told::failed(size, Caller { sp, bp });
    }
    result
}

extern "C" fn aligned_alloc_at(alignment: usize, size: usize, sp: u64, bp: u64) -> *mut c_void {
    // SAFETY: the target's arguments.
    allocate(size, alignment, sp, bp, || unsafe { call::aligned_alloc(alignment, size) })
}

extern "C" fn memalign_at(alignment: usize, size: usize, sp: u64, bp: u64) -> *mut c_void {
    // SAFETY: the target's arguments.
    allocate(size, alignment, sp, bp, || unsafe { call::memalign(alignment, size) })
}

extern "C" fn valloc_at(size: usize, sp: u64, bp: u64) -> *mut c_void {
    // SAFETY: the target's arguments.
    allocate(size, PAGE, sp, bp, || unsafe { call::valloc(size) })
}

extern "C" fn pvalloc_at(size: usize, sp: u64, bp: u64) -> *mut c_void {
    // SAFETY: the target's arguments.
    allocate(size, PAGE, sp, bp, || unsafe { call::pvalloc(size) })
}

/// Stands in for an `operator new` that an allocator brings along itself, and which so calls no `malloc`: the blocks
/// of the two are one kind in such allocators. Where there is no memory, their own goes on, and throws.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memtrial_operator_new() {
    naked_asm!(
        "push rdi",
        "lea rsi, [rsp + 8]",
        "mov rdx, rbp",
        "call {work}",
        "pop rdi",
        "test rax, rax",
        "jz 2f",
        "ret",
        "2: sub rsp, 8",
        "push rdi",
        "call {real}",
        "pop rdi",
        "add rsp, 8",
        "jmp rax",
        work = sym malloc_at,
        real = sym real_operator_new,
    )
}

extern "C" fn real_operator_new() -> *mut c_void {
    real::operator_new()
}

export!(free => free_at, "rsi", "rdx");

extern "C" fn free_at(block: *mut c_void, sp: u64, bp: u64) {
    if pool_size(block).is_some() {
        return;
    }
    if follow::ignores(block) {
        // SAFETY: the target's argument.
        return unsafe { plain::free(block) };
    }
    look_at_free(block, Caller { sp, bp });
}

#[inline(never)]
fn look_at_free(block: *mut c_void, at: Caller) {
    goes(block);
    follow::dies(block);
    told::freed(block, at);
    // SAFETY: the target's argument.
    unsafe { call::free(block) };
}

/// Passes a call of `mmap` on, with where its caller stands: it has no register left for that.
macro_rules! export_mmap {
    ($name:ident) => {
        /// Stands in front of the target's function of the same name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "lea rax, [rsp]",
                "sub rsp, 8",
                "push rbp",
                "push rax",
                "call {work}",
                "add rsp, 24",
                "ret",
                work = sym mmap_at,
            )
        }
    };
}

export_mmap!(mmap);
export_mmap!(mmap64);
export!(munmap => munmap_at, "rdx", "rcx");

extern "C" fn mmap_at(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
    sp: u64,
    bp: u64,
) -> *mut c_void {
    const MAP_FIXED: c_int = 0x10;
    const MAP_ANONYMOUS: c_int = 0x20;
    // SAFETY: the target's arguments.
    let mapped = unsafe { call::mmap(address, length, protection, flags, fd, offset) };
    // What is mapped over something else is laid out by the program itself.
    if mapped != real::FAILED && flags & MAP_ANONYMOUS != 0 && flags & MAP_FIXED == 0 {
        follow::born(mapped, length, Caller { sp, bp });
    }
    told::mapped(mapped, length, [protection, flags, fd], Caller { sp, bp });
    mapped
}

extern "C" fn munmap_at(address: *mut c_void, length: usize, sp: u64, bp: u64) -> c_int {
    follow::unmapped(address, length);
    // SAFETY: the target's arguments.
    let result = unsafe { call::munmap(address, length) };
    if result == 0 {
        told::unmapped(address, length, Caller { sp, bp });
    }
    result
}

/// Stands in front of the target's `mremap`. The last argument counts only with a flag, and is passed on as it comes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn mremap() {
    naked_asm!("mov r9, rsp", "push rbp", "call {work}", "add rsp, 8", "ret", work = sym mremap_at)
}

extern "C" fn mremap_at(
    address: *mut c_void,
    length: usize,
    to: usize,
    flags: c_int,
    place: *mut c_void,
    sp: u64,
    bp: u64,
) -> *mut c_void {
    let followed = follow::unmapped(address, length);
    // SAFETY: the target's arguments.
    let moved = unsafe { call::mremap(address, length, to, flags, place) };
    if moved == real::FAILED {
        follow::undo(address, followed);
    } else {
        follow::resized(moved, to, followed);
    }
    told::remapped((address, length), moved, to, Caller { sp, bp });
    moved
}

// Other code may be loaded where the closed library was.
export!(dlclose => dlclose_at, "rsi", "rdx");

extern "C" fn dlclose_at(handle: *mut c_void, sp: u64, bp: u64) -> c_int {
    // SAFETY: the target's argument.
    let result = unsafe { real::dlclose(handle) };
    forget_rules();
    told::closed(handle, result, Caller { sp, bp });
    result
}

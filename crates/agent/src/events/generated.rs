//! The memory events: what the agent calls when one happens.
//!
//! Made of crates/events/memory.events by `cargo run -p memtrial-events --bin generate`.
#![allow(dead_code, reason = "not all of it has a use in every build")]

use super::format::{Kind, Piece};
use super::probe::probe;
use super::{Argument, tell};

/// How many events there are.
pub const COUNT: usize = 14;

/// Number of [`alloc`].
pub const ALLOC: u16 = 0;

probe! { alloc_probe, "memtrial", "alloc", "8@%rdi 8@%rsi 8@%rdx 8@%rcx", (u64, u64, u64, u64) }

/// A block was allocated; alignment is 0 where none was asked for.
pub fn alloc(bytes: u64, alignment: u64, block: u64, caller: u64) {
    alloc_probe(bytes, alignment, block, caller);
    tell(
        ALLOC,
        &[
            Argument::Unsigned(bytes),
            Argument::Unsigned(alignment),
            Argument::Pointer(block),
            Argument::Pointer(caller),
        ],
    );
}

/// Number of [`free`].
pub const FREE: u16 = 1;

probe! { free_probe, "memtrial", "free", "8@%rdi 8@%rsi", (u64, u64) }

/// A block is about to be freed.
pub fn free(block: u64, caller: u64) {
    free_probe(block, caller);
    tell(FREE, &[Argument::Pointer(block), Argument::Pointer(caller)]);
}

/// Number of [`realloc`].
pub const REALLOC: u16 = 2;

probe! { realloc_probe, "memtrial", "realloc", "8@%rdi 8@%rsi 8@%rdx 8@%rcx", (u64, u64, u64, u64) }

/// A block was resized; it may have moved. A block that was NULL is an alloc, one resized to nothing a free.
pub fn realloc(old: u64, bytes: u64, block: u64, caller: u64) {
    realloc_probe(old, bytes, block, caller);
    tell(
        REALLOC,
        &[
            Argument::Pointer(old),
            Argument::Unsigned(bytes),
            Argument::Pointer(block),
            Argument::Pointer(caller),
        ],
    );
}

/// Number of [`fail`].
pub const FAIL: u16 = 3;

probe! { fail_probe, "memtrial", "fail", "8@%rdi 8@%rsi", (u64, u64) }

/// An allocation returned no memory.
pub fn fail(bytes: u64, caller: u64) {
    fail_probe(bytes, caller);
    tell(FAIL, &[Argument::Unsigned(bytes), Argument::Pointer(caller)]);
}

/// Number of [`map`].
pub const MAP: u16 = 4;

probe! { map_probe, "memtrial", "map", "8@%rdi 8@%rsi -4@%edx -4@%ecx -4@%r8d 8@%r9", (u64, u64, i32, i32, i32, u64) }

/// Memory was mapped.
pub fn map(mapping: u64, bytes: u64, protection: i32, flags: i32, fd: i32, caller: u64) {
    map_probe(mapping, bytes, protection, flags, fd, caller);
    tell(
        MAP,
        &[
            Argument::Pointer(mapping),
            Argument::Unsigned(bytes),
            Argument::Signed(protection.into()),
            Argument::Signed(flags.into()),
            Argument::Signed(fd.into()),
            Argument::Pointer(caller),
        ],
    );
}

/// Number of [`unmap`].
pub const UNMAP: u16 = 5;

probe! { unmap_probe, "memtrial", "unmap", "8@%rdi 8@%rsi 8@%rdx", (u64, u64, u64) }

/// Memory was unmapped.
pub fn unmap(mapping: u64, bytes: u64, caller: u64) {
    unmap_probe(mapping, bytes, caller);
    tell(UNMAP, &[Argument::Pointer(mapping), Argument::Unsigned(bytes), Argument::Pointer(caller)]);
}

/// Number of [`remap`].
pub const REMAP: u16 = 6;

probe! { remap_probe, "memtrial", "remap", "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8", (u64, u64, u64, u64, u64) }

/// A mapping was resized; it may have moved.
pub fn remap(old: u64, old_bytes: u64, mapping: u64, bytes: u64, caller: u64) {
    remap_probe(old, old_bytes, mapping, bytes, caller);
    tell(
        REMAP,
        &[
            Argument::Pointer(old),
            Argument::Unsigned(old_bytes),
            Argument::Pointer(mapping),
            Argument::Unsigned(bytes),
            Argument::Pointer(caller),
        ],
    );
}

/// Number of [`map_fail`].
pub const MAP_FAIL: u16 = 7;

probe! { map_fail_probe, "memtrial", "map_fail", "8@%rdi -4@%esi 8@%rdx", (u64, i32, u64) }

/// A mapping failed.
pub fn map_fail(bytes: u64, error: i32, caller: u64) {
    map_fail_probe(bytes, error, caller);
    tell(MAP_FAIL, &[Argument::Unsigned(bytes), Argument::Signed(error.into()), Argument::Pointer(caller)]);
}

/// Number of [`fork`].
pub const FORK: u16 = 8;

probe! { fork_probe, "memtrial", "fork", "-4@%edi", (i32) }

/// The process forked; told in the parent.
pub fn fork(child: i32) {
    fork_probe(child);
    tell(FORK, &[Argument::Signed(child.into())]);
}

/// Number of [`exec`].
pub const EXEC: u16 = 9;

probe! { exec_probe, "memtrial", "exec", "8@%rdi", (*const u8) }

/// A program is about to be executed.
///
/// # Safety
/// `path` must be NULL or end in a NUL.
pub unsafe fn exec(path: *const u8) {
    exec_probe(path);
    tell(EXEC, &[Argument::Text(path)]);
}

/// Number of [`thread`].
pub const THREAD: u16 = 10;

probe! { thread_probe, "memtrial", "thread", "8@%rdi 8@%rsi 8@%rdx", (u64, u64, u64) }

/// A thread is about to be made.
pub fn thread(function: u64, argument: u64, caller: u64) {
    thread_probe(function, argument, caller);
    tell(THREAD, &[Argument::Pointer(function), Argument::Pointer(argument), Argument::Pointer(caller)]);
}

/// Number of [`dlopen`].
pub const DLOPEN: u16 = 11;

probe! { dlopen_probe, "memtrial", "dlopen", "8@%rdi -4@%esi 8@%rdx", (*const u8, i32, u64) }

/// A library is about to be loaded; the path is NULL for the program itself.
///
/// # Safety
/// `path` must be NULL or end in a NUL.
pub unsafe fn dlopen(path: *const u8, flags: i32, caller: u64) {
    dlopen_probe(path, flags, caller);
    tell(DLOPEN, &[Argument::Text(path), Argument::Signed(flags.into()), Argument::Pointer(caller)]);
}

/// Number of [`dlclose`].
pub const DLCLOSE: u16 = 12;

probe! { dlclose_probe, "memtrial", "dlclose", "8@%rdi -4@%esi 8@%rdx", (u64, i32, u64) }

/// A library was given back.
pub fn dlclose(handle: u64, result: i32, caller: u64) {
    dlclose_probe(handle, result, caller);
    tell(DLCLOSE, &[Argument::Pointer(handle), Argument::Signed(result.into()), Argument::Pointer(caller)]);
}

/// Number of [`mark`].
pub const MARK: u16 = 13;

probe! { mark_probe, "memtrial", "mark", "8@%rdi 8@%rsi", (*const u8, u64) }

/// The program marked a moment by memtrial_note(text) of memtrial.h.
///
/// # Safety
/// `text` must be NULL or end in a NUL.
pub unsafe fn mark(text: *const u8, caller: u64) {
    mark_probe(text, caller);
    tell(MARK, &[Argument::Text(text), Argument::Pointer(caller)]);
}

/// Their names, by number.
#[rustfmt::skip]
pub static NAMES: [&str; COUNT] = [
    "alloc",
    "free",
    "realloc",
    "fail",
    "map",
    "unmap",
    "remap",
    "map_fail",
    "fork",
    "exec",
    "thread",
    "dlopen",
    "dlclose",
    "mark",
];

/// Their formats, by number.
#[rustfmt::skip]
pub static FORMATS: [&[Piece]; COUNT] = [
    &[Piece::Text("bytes="), Piece::Value { argument: 0, kind: Kind::Decimal }, Piece::Text(" alignment="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" block="), Piece::Value { argument: 2, kind: Kind::Pointer }, Piece::Text(" caller="), Piece::Value { argument: 3, kind: Kind::Pointer }],
    &[Piece::Text("block="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" caller="), Piece::Value { argument: 1, kind: Kind::Pointer }],
    &[Piece::Text("old="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" bytes="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" block="), Piece::Value { argument: 2, kind: Kind::Pointer }, Piece::Text(" caller="), Piece::Value { argument: 3, kind: Kind::Pointer }],
    &[Piece::Text("bytes="), Piece::Value { argument: 0, kind: Kind::Decimal }, Piece::Text(" caller="), Piece::Value { argument: 1, kind: Kind::Pointer }],
    &[Piece::Text("mapping="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" bytes="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" protection="), Piece::Value { argument: 2, kind: Kind::HexPrefixed }, Piece::Text(" flags="), Piece::Value { argument: 3, kind: Kind::HexPrefixed }, Piece::Text(" fd="), Piece::Value { argument: 4, kind: Kind::Decimal }, Piece::Text(" caller="), Piece::Value { argument: 5, kind: Kind::Pointer }],
    &[Piece::Text("mapping="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" bytes="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" caller="), Piece::Value { argument: 2, kind: Kind::Pointer }],
    &[Piece::Text("old="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" old_bytes="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" mapping="), Piece::Value { argument: 2, kind: Kind::Pointer }, Piece::Text(" bytes="), Piece::Value { argument: 3, kind: Kind::Decimal }, Piece::Text(" caller="), Piece::Value { argument: 4, kind: Kind::Pointer }],
    &[Piece::Text("bytes="), Piece::Value { argument: 0, kind: Kind::Decimal }, Piece::Text(" error="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" caller="), Piece::Value { argument: 2, kind: Kind::Pointer }],
    &[Piece::Text("child="), Piece::Value { argument: 0, kind: Kind::Decimal }],
    &[Piece::Text("path="), Piece::Value { argument: 0, kind: Kind::Text }],
    &[Piece::Text("function="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" argument="), Piece::Value { argument: 1, kind: Kind::Pointer }, Piece::Text(" caller="), Piece::Value { argument: 2, kind: Kind::Pointer }],
    &[Piece::Text("path="), Piece::Value { argument: 0, kind: Kind::Text }, Piece::Text(" flags="), Piece::Value { argument: 1, kind: Kind::HexPrefixed }, Piece::Text(" caller="), Piece::Value { argument: 2, kind: Kind::Pointer }],
    &[Piece::Text("handle="), Piece::Value { argument: 0, kind: Kind::Pointer }, Piece::Text(" result="), Piece::Value { argument: 1, kind: Kind::Decimal }, Piece::Text(" caller="), Piece::Value { argument: 2, kind: Kind::Pointer }],
    &[Piece::Text("text="), Piece::Value { argument: 0, kind: Kind::Text }, Piece::Text(" caller="), Piece::Value { argument: 1, kind: Kind::Pointer }],
];

/// The table of a recording.
pub static TABLE: &str = r#"memtrial:alloc(size_t bytes, size_t alignment, void *block, void *caller) "bytes=%zu alignment=%zu block=%p caller=%p"
memtrial:free(void *block, void *caller) "block=%p caller=%p"
memtrial:realloc(void *old, size_t bytes, void *block, void *caller) "old=%p bytes=%zu block=%p caller=%p"
memtrial:fail(size_t bytes, void *caller) "bytes=%zu caller=%p"
memtrial:map(void *mapping, size_t bytes, int protection, int flags, int fd, void *caller) "mapping=%p bytes=%zu protection=%#x flags=%#x fd=%d caller=%p"
memtrial:unmap(void *mapping, size_t bytes, void *caller) "mapping=%p bytes=%zu caller=%p"
memtrial:remap(void *old, size_t old_bytes, void *mapping, size_t bytes, void *caller) "old=%p old_bytes=%zu mapping=%p bytes=%zu caller=%p"
memtrial:map_fail(size_t bytes, int error, void *caller) "bytes=%zu error=%d caller=%p"
memtrial:fork(int child) "child=%d"
memtrial:exec(const char *path) "path=%s"
memtrial:thread(void *function, void *argument, void *caller) "function=%p argument=%p caller=%p"
memtrial:dlopen(const char *path, int flags, void *caller) "path=%s flags=%#x caller=%p"
memtrial:dlclose(void *handle, int result, void *caller) "handle=%p result=%d caller=%p"
memtrial:mark(const char *text, void *caller) "text=%s caller=%p"
"#;

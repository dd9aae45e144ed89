//! Measurements, to be run by hand: `cargo test --release -p memtrial-load -- --ignored --nocapture speed`.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use crate::command::{Command, Setting, Unit};
use crate::host::{Host, Surroundings};
use crate::load::Load;
use crate::manual::Manual;
use crate::writer::Writer;

unsafe extern "C" {
    fn malloc(bytes: usize) -> *mut c_void;
    fn realloc(chunk: *mut c_void, bytes: usize) -> *mut c_void;
    fn free(chunk: *mut c_void);
    fn mmap(
        at: *mut c_void,
        bytes: usize,
        protection: i32,
        flags: i32,
        file: i32,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, bytes: usize) -> i32;
}

/// The C library, without threads.
struct Plain;

impl Host for Plain {
    fn allocate(&self, bytes: usize) -> *mut u8 {
        // SAFETY: any size is allowed.
        unsafe { malloc(bytes) }.cast()
    }

    unsafe fn reallocate(&self, chunk: NonNull<u8>, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { realloc(chunk.as_ptr().cast(), bytes) }.cast()
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { free(chunk.as_ptr().cast()) }
    }

    fn map(&self, bytes: usize) -> Option<NonNull<u8>> {
        // Readable and writable; private, anonymous, without reserve.
        // SAFETY: a new mapping.
        let memory = unsafe { mmap(null_mut(), bytes, 3, 0x4022, -1, 0) };
        NonNull::new(memory.cast()).filter(|memory| memory.as_ptr() as isize != -1)
    }

    unsafe fn unmap(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { munmap(memory.as_ptr().cast(), bytes) };
    }

    fn now(&self) -> u64 {
        0
    }

    fn start_thread(&self, _: usize) -> bool {
        false
    }

    fn wait(&self, _: &AtomicU32, _: u32, _: u64) {}

    fn wake(&self, _: &AtomicU32) {}

    fn stack(&self) -> u32 {
        1
    }

    fn surroundings(&self, _: u64, _: u64) -> Surroundings {
        [0; 4]
    }

    fn describe(&self, _: u32, _: u64, _: &Surroundings, _: &mut Writer<'_>) {}
}

const CHUNK: usize = 64;
const COUNT: usize = (1 << 30) / CHUNK;

/// A chunk as a C program would keep it.
#[repr(C)]
struct Kept {
    chunk: *mut u8,
    bytes: usize,
}

/// What a plain C program would do: allocate, write a byte, and append address and size to an array that is grown by
/// doubling. Returns seconds for that and for freeing.
fn plain() -> (f64, f64) {
    let start = Instant::now();
    let (mut array, mut room): (*mut Kept, usize) = (null_mut(), 0);
    for index in 0..COUNT {
        if index == room {
            room = (room * 2).max(1024);
            // SAFETY: the array is this one's, or null.
            array = unsafe { realloc(array.cast(), room * size_of::<Kept>()) }.cast();
            assert!(!array.is_null());
        }
        // SAFETY: any size is allowed; the array has room for this entry.
        unsafe {
            let chunk: *mut u8 = malloc(black_box(CHUNK)).cast();
            assert!(!chunk.is_null());
            chunk.write_volatile(1);
            array.add(index).write(Kept { chunk, bytes: CHUNK });
        }
    }
    let filled = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for index in (0..COUNT).rev() {
        // SAFETY: each was allocated above, and is freed once.
        unsafe {
            black_box((*array.add(index)).bytes);
            free((*array.add(index)).chunk.cast());
        }
    }
    // SAFETY: allocated above.
    unsafe { free(array.cast()) };
    (filled, start.elapsed().as_secs_f64())
}

/// A load that commands are timed on.
struct Timed {
    load: &'static Load<Plain>,
    manual: Manual,
}

impl Timed {
    fn new() -> Timed {
        let load: &'static Load<Plain> = Box::leak(Box::new(Load::new(Plain, 8 << 30)));
        Timed { load, manual: Manual::new(load).expect("the first") }
    }

    fn seconds(&mut self, command: Command<'_>) -> f64 {
        let mut buffer = [0; 4096];
        let mut writer = Writer::new(&mut buffer);
        let start = Instant::now();
        self.load.execute(&mut self.manual, command, &mut writer).expect("it is carried out");
        start.elapsed().as_secs_f64()
    }
}

const ALL: Command<'static> = Command::Free { bytes: None, unit: Unit::B };

#[test]
#[ignore = "a measurement: it takes 2 GiB"]
fn a_gibibyte_in_64_byte_chunks_beside_a_plain_loop() {
    let mut timed = Timed::new();
    for round in 0..3 {
        let plain = plain();
        let bytes = CHUNK as u64;
        for check in 0..2 {
            timed.seconds(Command::Set(Setting::CheckContent, check));
            let filled = timed.seconds(Command::RandomAlloc { min: bytes, max: bytes, total: 1 << 30 });
            let bookkeeping = timed.load.budget().bookkeeping() >> 20;
            let freed = timed.seconds(ALL);
            println!(
                "{round}: check_content {check}: filled in {filled:.2} s, plain {:.2} s: {:.2} of its speed; \
                 freed in {freed:.2} s, plain {:.2} s; bookkeeping {bookkeeping} MiB",
                plain.0,
                plain.0 / filled,
                plain.1,
            );
        }
    }
    timed.seconds(Command::Leave);
}

#[test]
#[ignore = "a measurement"]
fn a_million_chunks_are_freed_bit_by_bit() {
    let mut timed = Timed::new();
    timed.seconds(Command::RandomAlloc { min: 16, max: 1000, total: 508_000_000 });
    let used = timed.seconds(Command::Used { unit: Unit::B });
    let mut longest: f64 = 0.0;
    let start = Instant::now();
    for round in 0..100_000 {
        let bytes = Some(100 + round % 2000);
        longest = longest.max(timed.seconds(Command::Free { bytes, unit: Unit::B }));
    }
    let mean = start.elapsed().as_secs_f64() / 100_000.0;
    println!(
        "mem_free: {:.2} µs on average, {:.2} at most; mem_used {:.2}",
        mean * 1e6,
        longest * 1e6,
        used * 1e6
    );
    let all = timed.seconds(ALL);
    println!("the rest in {:.0} ms", all * 1e3);
    timed.seconds(Command::Leave);
}

//! The BPF program of a probe: it writes a sample with the number of the probe, and nothing else.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Of the kernel's `linux/bpf.h`.
const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_MAP_TYPE_PERF_EVENT_ARRAY: u32 = 4;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_F_CURRENT_CPU: u32 = u32::MAX;
const BPF_PSEUDO_MAP_FD: u8 = 1;
const BPF_FUNC_PERF_EVENT_OUTPUT: u32 = 25;

/// Events by processor, for programs to write through.
pub struct EventArray(OwnedFd);

#[repr(C)]
#[derive(Default)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
#[derive(Default)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` must be those of `command`, and the pointers in it valid while this runs.
unsafe fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the caller vouches for the attributes; their size is told.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

impl EventArray {
    /// With room for this many processors.
    pub fn new(processors: u32) -> io::Result<EventArray> {
        let attributes = MapAttributes {
            kind: BPF_MAP_TYPE_PERF_EVENT_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: processors,
        };
        // SAFETY: they are of this command, and have no pointers.
        let map = unsafe { bpf(BPF_MAP_CREATE, &attributes)? };
        // SAFETY: the call has just opened it, and nobody else knows of it.
        Ok(EventArray(unsafe { OwnedFd::from_raw_fd(map) }))
    }

    /// The event of a processor.
    pub fn set(&self, processor: u32, event: BorrowedFd) -> io::Result<()> {
        let event = event.as_raw_fd();
        let attributes = ElementAttributes {
            map: self.0.as_raw_fd() as u32,
            key: (&raw const processor) as u64,
            value: (&raw const event) as u64,
            ..ElementAttributes::default()
        };
        // SAFETY: they are of this command, and both pointers are to values of 4 bytes, as the map has them.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }
}

/// One instruction, as in `struct bpf_insn`.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: u32) -> u64 {
    code as u64 | (to as u64 | (from as u64) << 4) << 8 | (offset as u16 as u64) << 16 | (value as u64) << 32
}

/// Loads the program of the probe with this number.
pub fn program(number: u32, output: &EventArray) -> io::Result<OwnedFd> {
    const MOVE: u8 = 0xbf;
    const MOVE_VALUE: u8 = 0xb7;
    const ADD_VALUE: u8 = 0x07;
    const STORE_VALUE: u8 = 0x7a;
    const LOAD_WIDE: u8 = 0x18;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    // Above 31 bits immediate values are extended by their sign.
    const MOVE_HALF: u8 = 0xb4;
    // bpf_perf_event_output(context, output, this processor, &number, 8), then return 0: no sample of perf's own.
    let code = [
        instruction(STORE_VALUE, 10, 0, -8, number),
        instruction(LOAD_WIDE, 2, BPF_PSEUDO_MAP_FD, 0, output.0.as_raw_fd() as u32),
        instruction(0, 0, 0, 0, 0),
        instruction(MOVE_HALF, 3, 0, 0, BPF_F_CURRENT_CPU),
        instruction(MOVE, 4, 10, 0, 0),
        instruction(ADD_VALUE, 4, 0, 0, -8i32 as u32),
        instruction(MOVE_VALUE, 5, 0, 0, 8),
        instruction(CALL, 0, 0, 0, BPF_FUNC_PERF_EVENT_OUTPUT),
        instruction(MOVE_VALUE, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let license = c"Dual MIT/GPL";
    let mut attributes = ProgramAttributes {
        kind: BPF_PROG_TYPE_KPROBE,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..ProgramAttributes::default()
    };
    // Before 5.0 the kernel wanted to know that the program was made for it, and no more of it than its number.
    attributes.kernel_version = kernel_version();
    // SAFETY: they are of this command; code and license live until it returns, and the license ends in a NUL.
    let program = unsafe { bpf(BPF_PROG_LOAD, &attributes)? };
    // SAFETY: the call has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

/// `LINUX_VERSION_CODE`
fn kernel_version() -> u32 {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers =
        release.split(|byte: char| !byte.is_ascii_digit()).map(|part| part.parse().unwrap_or(0u32));
    let mut next = || numbers.next().unwrap_or(0).min(255);
    next() << 16 | next() << 8 | next()
}

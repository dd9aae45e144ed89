//! bpf(2), as far as probes need it: maps, programs and links, all gone when their descriptors are closed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Of the kernel's `linux/bpf.h`.
const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
const PROG_TYPE_KPROBE: u32 = 2;
const TRACE_UPROBE_MULTI: u32 = 48;
const F_SLEEPABLE: u32 = 1 << 4;

/// Kinds of maps.
pub mod map {
    /// Values by index.
    pub const ARRAY: u32 = 2;
    /// Events of perf by processor.
    pub const PERF_EVENT_ARRAY: u32 = 4;
    /// Records, from programs to a process.
    pub const RING: u32 = 27;
    /// Flag: its values can be mapped.
    pub const MAPPABLE: u32 = 1 << 10;
}

#[repr(C)]
#[derive(Default)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
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
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    semaphores: u64,
    cookies: u64,
    count: u32,
    probe_flags: u32,
    pid: u32,
    padding: u32,
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` must be those of `command`, and the pointers in it valid while this runs.
unsafe fn call<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the caller vouches for the attributes; their size is told.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// Calls a command of bpf(2) that opens a descriptor.
///
/// # Safety
/// As for [`call`].
unsafe fn open<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for the attributes.
    let descriptor = unsafe { call(command, attributes)? };
    // SAFETY: the call has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The same, again and again if a signal comes meanwhile: the verifier gives up then, though there may be no handler
/// (`EAGAIN`; `do_check` in the kernel's `kernel/bpf/verifier.c`).
///
/// # Safety
/// As for [`call`].
unsafe fn open_undisturbed<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    let mut loads = 1;
    loop {
        // SAFETY: the caller vouches for the attributes.
        match unsafe { open(command, attributes) } {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && loads < MOST_LOADS => loads += 1,
            done => return done,
        }
    }
}

/// Makes a map: one of [`map`].
pub fn create_map(
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let attributes = MapAttributes { kind, key_size, value_size, max_entries: entries, flags };
    // SAFETY: they are of this command, and have no pointers.
    unsafe { open(MAP_CREATE, &attributes) }
}

/// Writes an element of a map whose keys and values have 4 bytes.
pub fn update(map: BorrowedFd, key: u32, value: u32) -> io::Result<()> {
    let attributes = ElementAttributes {
        map: map.as_raw_fd() as u32,
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        ..ElementAttributes::default()
    };
    // SAFETY: they are of this command, and both pointers are to values of 4 bytes, as the map has them.
    unsafe { call(MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// How often a program is loaded at most, until no signal comes meanwhile.
const MOST_LOADS: u32 = 100;

/// What a program is to be attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// One event of perf; it may not sleep.
    Event,
    /// Many probes of one file by one link; it may sleep (Linux 6.6).
    Multi,
}

/// Loads a program. Where the kernel's verifier rejects it, its log is the error's text.
pub fn load(code: &[u64], purpose: Use) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attributes = ProgramAttributes {
        kind: PROG_TYPE_KPROBE,
        instruction_count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        // Before 5.0 the kernel wanted to know that the program was made for it, and no more of it than its number.
        kernel_version: kernel_version(),
        ..ProgramAttributes::default()
    };
    if purpose == Use::Multi {
        attributes.flags = F_SLEEPABLE;
        attributes.attach_type = TRACE_UPROBE_MULTI;
    }
    // SAFETY: they are of this command; code and license live until it returns, and the license ends in a NUL.
    let error = match unsafe { open_undisturbed(PROG_LOAD, &attributes) } {
        Err(error)
            if error.raw_os_error() == Some(libc::EINVAL) || error.raw_os_error() == Some(libc::EACCES) =>
        {
            error
        }
        loaded => return loaded,
    };
    let mut log = vec![0u8; 1 << 20];
    attributes.log_level = 1;
    attributes.log_size = log.len() as u32;
    attributes.log = log.as_mut_ptr() as u64;
    // SAFETY: as above; the log has as many bytes as told.
    match unsafe { open_undisturbed(PROG_LOAD, &attributes) } {
        Ok(program) => Ok(program),
        Err(_) => {
            let text: Vec<u8> = log.into_iter().take_while(|byte| *byte != 0).collect();
            let text = String::from_utf8_lossy(&text);
            let last = text.trim_end().lines().rev().take(3).collect::<Vec<_>>();
            if last.is_empty() {
                return Err(error);
            }
            let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
            Err(io::Error::new(error.kind(), format!("{error} (the verifier says: {said})")))
        }
    }
}

/// Probes of one file that one link sets.
#[derive(Debug, Default)]
pub struct Places {
    /// Where they are in the file.
    pub offsets: Vec<u64>,
    /// Where their semaphores are in the file; 0: there is none.
    pub semaphores: Vec<u64>,
    /// What the program is told at each.
    pub cookies: Vec<u64>,
}

/// Attaches a program to many probes of a file, in one process or in all. Closing the link takes them out.
pub fn link(
    program: BorrowedFd,
    path: &std::ffi::CStr,
    places: &Places,
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    let attributes = LinkAttributes {
        program: program.as_raw_fd() as u32,
        attach_type: TRACE_UPROBE_MULTI,
        path: path.as_ptr() as u64,
        offsets: places.offsets.as_ptr() as u64,
        semaphores: places.semaphores.as_ptr() as u64,
        cookies: places.cookies.as_ptr() as u64,
        count: places.offsets.len() as u32,
        pid: pid.unwrap_or(0),
        ..LinkAttributes::default()
    };
    assert!(places.semaphores.len() == places.offsets.len() && places.cookies.len() == places.offsets.len());
    // SAFETY: they are of this command; the path ends in a NUL, and the three arrays have as many entries as told.
    unsafe { open(LINK_CREATE, &attributes) }
}

/// Whether this kernel has such links (Linux 6.6), and means a whole process by a pid: the first ones meant one thread
/// (mended in 6.10 and in later 6.6). That a program for one can be loaded does not tell: kernels before took no notice of
/// what it is for. A folder can't have probes, which is found out late, as libbpf's `probe_uprobe_multi_link` does it.
///
/// # Errors
/// When no program can be loaded.
pub fn has_links() -> io::Result<bool> {
    let nothing = [code::set(0, 0), code::EXIT];
    let program = match load(&nothing, Use::Multi) {
        Ok(program) => program,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(error),
        Err(_) => return Ok(false),
    };
    let places = Places { offsets: vec![0], semaphores: vec![0], cookies: vec![0] };
    let refused_by =
        |pid| link(program.as_fd(), c"/", &places, pid).err().and_then(|error| error.raw_os_error());
    Ok(refused_by(None) == Some(libc::EBADF) && refused_by(Some(u32::MAX)) == Some(libc::EINVAL))
}

/// `LINUX_VERSION_CODE`
fn kernel_version() -> u32 {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers =
        release.split(|byte: char| !byte.is_ascii_digit()).map(|part| part.parse().unwrap_or(0u32));
    let mut next = || numbers.next().unwrap_or(0).min(255);
    next() << 16 | next() << 8 | next()
}

/// Instructions of BPF.
pub mod code {
    /// `bpf_map_lookup_elem` and the other functions that programs may call, by their numbers in `linux/bpf.h`.
    pub mod function {
        /// `bpf_ktime_get_ns()`: CLOCK_MONOTONIC.
        pub const KTIME_GET_NS: u32 = 5;
        /// `bpf_get_current_pid_tgid()`
        pub const GET_CURRENT_PID_TGID: u32 = 14;
        /// `bpf_perf_event_output(context, map, flags, data, size)`
        pub const PERF_EVENT_OUTPUT: u32 = 25;
        /// `bpf_probe_read_user(to, size, from)`
        pub const PROBE_READ_USER: u32 = 112;
        /// `bpf_probe_read_user_str(to, size, from)`
        pub const PROBE_READ_USER_STR: u32 = 114;
        /// `bpf_get_ns_current_pid_tgid(device, inode, to, size)`
        pub const GET_NS_CURRENT_PID_TGID: u32 = 120;
        /// `bpf_ringbuf_reserve(ring, size, 0)`
        pub const RINGBUF_RESERVE: u32 = 131;
        /// `bpf_ringbuf_submit(record, flags)`
        pub const RINGBUF_SUBMIT: u32 = 132;
        /// `bpf_copy_from_user(to, size, from)`; it may sleep.
        pub const COPY_FROM_USER: u32 = 148;
        /// `bpf_get_attach_cookie(context)`
        pub const GET_ATTACH_COOKIE: u32 = 174;
    }

    /// What is in the upper half of a wide load: the address of a map.
    pub const PSEUDO_MAP: u8 = 1;
    /// The address of the value of a map with one element.
    pub const PSEUDO_VALUE: u8 = 2;

    /// One instruction, as in `struct bpf_insn`.
    pub const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
        code as u64
            | (to as u64 | (from as u64) << 4) << 8
            | (offset as u16 as u64) << 16
            | (value as u32 as u64) << 32
    }

    /// `to = value`
    pub const fn set(to: u8, value: i32) -> u64 {
        instruction(0xb7, to, 0, 0, value)
    }
    /// `to = value`, of 32 bits without sign.
    pub const fn set_half(to: u8, value: u32) -> u64 {
        instruction(0xb4, to, 0, 0, value as i32)
    }
    /// `to = value`, of 64 bits, or what `pseudo` makes of it.
    pub const fn set_wide(to: u8, pseudo: u8, value: u64) -> [u64; 2] {
        [instruction(0x18, to, pseudo, 0, value as u32 as i32), instruction(0, 0, 0, 0, (value >> 32) as i32)]
    }
    /// `to = from`
    pub const fn copy(to: u8, from: u8) -> u64 {
        instruction(0xbf, to, from, 0, 0)
    }
    /// `to += value`
    pub const fn add(to: u8, value: i32) -> u64 {
        instruction(0x07, to, 0, 0, value)
    }
    /// `to += from`
    pub const fn add_register(to: u8, from: u8) -> u64 {
        instruction(0x0f, to, from, 0, 0)
    }
    /// `to |= from`
    pub const fn or_register(to: u8, from: u8) -> u64 {
        instruction(0x4f, to, from, 0, 0)
    }
    /// `to &= value`
    pub const fn and(to: u8, value: i32) -> u64 {
        instruction(0x57, to, 0, 0, value)
    }
    /// `to <<= bits`
    pub const fn shift_left(to: u8, bits: i32) -> u64 {
        instruction(0x67, to, 0, 0, bits)
    }
    /// `to >>= bits`, without sign.
    pub const fn shift_right(to: u8, bits: i32) -> u64 {
        instruction(0x77, to, 0, 0, bits)
    }
    /// `to = *(u64 *)(from + offset)`
    pub const fn load(to: u8, from: u8, offset: i16) -> u64 {
        instruction(0x79, to, from, offset, 0)
    }
    /// `*(u64 *)(to + offset) = from`
    pub const fn store(to: u8, offset: i16, from: u8) -> u64 {
        instruction(0x7b, to, from, offset, 0)
    }
    /// `*(u64 *)(to + offset) = value`
    pub const fn store_value(to: u8, offset: i16, value: i32) -> u64 {
        instruction(0x7a, to, 0, offset, value)
    }
    /// `*(u64 *)to += from`, at once.
    pub const fn add_atomically(to: u8, from: u8) -> u64 {
        instruction(0xdb, to, from, 0, 0)
    }
    /// Jumps over so many instructions if `register == value`.
    pub const fn skip_if_equal(register: u8, value: i32, instructions: i16) -> u64 {
        instruction(0x15, register, 0, instructions, value)
    }
    /// Jumps over so many instructions if `register != 0`
    pub const fn skip_if_not_zero(register: u8, instructions: i16) -> u64 {
        instruction(0x55, register, 0, instructions, 0)
    }
    /// Jumps over so many instructions if `register > value`, without sign.
    pub const fn skip_if_above(register: u8, value: i32, instructions: i16) -> u64 {
        instruction(0x25, register, 0, instructions, value)
    }
    /// Jumps over so many instructions if `register >= value`, with sign.
    pub const fn skip_if_at_least(register: u8, value: i32, instructions: i16) -> u64 {
        instruction(0x75, register, 0, instructions, value)
    }
    /// Calls one of [`function`].
    pub const fn call(function: u32) -> u64 {
        instruction(0x85, 0, 0, 0, function as i32)
    }
    /// Returns register 0.
    pub const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);
}

//! What a process was doing when a fault signal reached it, read from outside while it is stopped.

use std::io;
use std::path::Path;

use memtrial_symbols::remote::{Mapping, Registers, RemoteFrame, RemoteUnwinder, parse_maps};
use object::{Object, ObjectSymbol};

use crate::{memory_of, processes};

/// Most frames kept of a crashing stack: one blown by recursion has as many as it had room for.
const MAX_FRAMES: usize = 128;

/// A fault signal on its way to a process, with the evidence.
#[derive(Debug, Clone)]
pub struct Crash {
    /// The process it reached.
    pub process: i32,
    /// Whether the process ended by it.
    pub fatal: bool,
    /// The signal.
    pub signal: i32,
    /// Whether the kernel sent it for something the process did, rather than a process by `kill`.
    pub by_kernel: bool,
    /// The address that could not be used, for faults of memory access.
    pub address: Option<u64>,
    /// The stack of the thread, innermost first.
    pub frames: Vec<RemoteFrame>,
    /// What the C library noted down as the reason of an abort.
    pub message: Option<String>,
}

/// Signals that mean a fault, or that a program gives up.
#[must_use]
pub fn is_fault(signal: i32) -> bool {
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS]
        .contains(&signal)
}

/// Looks at the traced thread `tid`, which is stopped at the delivery of `signal`.
#[must_use]
pub fn look_at(tid: i32, signal: i32) -> Crash {
    let (by_kernel, address) = signal_details(tid);
    let reads_address = matches!(signal, libc::SIGSEGV | libc::SIGBUS);
    let maps = std::fs::read(format!("/proc/{tid}/maps")).unwrap_or_default();
    let maps = parse_maps(&String::from_utf8_lossy(&maps));
    let frames = match registers(tid) {
        Ok(registers) => {
            let mut read = |at| memory_of::read_u64(tid, at);
            RemoteUnwinder::new(&maps).unwind(registers, &mut read, MAX_FRAMES)
        }
        Err(_) => Vec::new(),
    };
    Crash {
        process: processes::process_of(tid).unwrap_or(tid),
        fatal: false,
        signal,
        by_kernel,
        address: address.filter(|_| by_kernel && reads_address),
        frames,
        message: (signal == libc::SIGABRT).then(|| abort_message(tid, &maps)).flatten(),
    }
}

/// Whether the kernel itself sent the pending signal, and the address it names.
fn signal_details(tid: i32) -> (bool, Option<u64>) {
    // SAFETY: plain data that the kernel fills in.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the thread is stopped under our trace; `info` lives.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0, &raw mut info) };
    if result < 0 || info.si_code <= 0 {
        return (false, None);
    }
    // SAFETY: the kernel filled in the fields of a fault; for other signals the word means nothing and is dropped.
    (true, Some(unsafe { info.si_addr() } as u64))
}

fn registers(tid: i32) -> io::Result<Registers> {
    // SAFETY: plain data that the kernel fills in.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: the thread is stopped under our trace; `registers` lives.
    match unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid, 0, &raw mut registers) } {
        0 => Ok(Registers { ip: registers.rip, sp: registers.rsp, bp: registers.rbp }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// glibc keeps the text of a failed assertion or heap check in `__abort_msg`: a pointer to a length and the text.
fn abort_message(pid: i32, maps: &[Mapping]) -> Option<String> {
    const MOST: usize = 1024;
    let is_libc = |mapping: &&Mapping| {
        mapping.offset == 0
            && mapping.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libc.so"))
    };
    let libc = maps.iter().find(is_libc)?;
    // Found in the file, whose first segment is linked at address 0 in every shared library of glibc.
    let symbol = dynamic_symbol(&libc.path, "__abort_msg")?;
    let message =
        memory_of::read_u64(pid, libc.start.checked_add(symbol)?).filter(|address| *address != 0)?;
    let mut text = [0u8; MOST];
    let read = memory_of::read(pid, message.checked_add(4)?, &mut text).ok()?;
    let length = text[..read].iter().position(|&c| c == 0).unwrap_or(read);
    Some(String::from_utf8_lossy(&text[..length]).trim_end().to_owned())
}

/// The address that a library's file gives an exported symbol.
fn dynamic_symbol(library: &Path, name: &str) -> Option<u64> {
    let bytes = std::fs::read(library).ok()?;
    let file = object::File::parse(&*bytes).ok()?;
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok(name))?;
    Some(symbol.address())
}

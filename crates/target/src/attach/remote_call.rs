//! Calling functions in a stopped thread of another process, unseen by the program.
//!
//! The calls run on a stack of their own: the thread's may be as small as a goroutine's, and what lies below its pointer
//! may not be its own. Signals are blocked meanwhile and come afterwards, but for one of the C library's own. `errno` and all
//! registers are put back.
//! Should this process be killed in the middle of a call, the target is left in it: the kernel has nobody to put the
//! registers back. That is a few milliseconds in all.

use std::time::Instant;

use libc::user_regs_struct;

use super::error::AttachError;
use super::modules::Modules;
use super::tracee::{Stop, Tracee};
use crate::memory_of;

/// What the calls may use of a stack; untouched pages cost nothing.
const STACK: u64 = 1 << 20;

/// Where a called function returns to: no code can be there (`vm.mmap_min_addr`).
const NOWHERE: u64 = 0;

/// Faults, which cannot wait.
const FAULTS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// By this the C library has every thread change its user, and holds a lock that a call may need until all have. It is of use
/// only where it comes from, so that it can't be sent again.
const CHANGE_OF_USER: i32 = 33;

/// A visit to a thread: from the first call to the last.
#[derive(Debug)]
pub(super) struct Visit<'t> {
    thread: &'t mut Tracee,
    saved: Saved,
    /// The address of a `syscall` instruction.
    syscall: u64,
    /// The first address of the stack and text, and how many bytes they are.
    area: (u64, u64),
    /// Where the next text goes.
    text: u64,
    errno: Option<(u64, Vec<u8>)>,
    deadline: Instant,
    /// Whether all calls came back, so that nobody needs their stack.
    clean: bool,
    /// Stop signals that came meanwhile.
    kept: Vec<i32>,
}

/// What in the target's libc the calls need.
#[derive(Debug)]
pub(super) struct Means {
    /// The address of a `syscall` instruction.
    syscall: u64,
    errno_location: u64,
    /// Where `errno` is from each thread's pointer, if that could be read off the code.
    errno_offset: Option<u64>,
}

impl Means {
    pub fn of(modules: &Modules) -> Result<Means, AttachError> {
        let errno_location = modules.libc_function(&["__errno_location"])?;
        Ok(Means {
            syscall: syscall_instruction(modules)?,
            errno_location,
            errno_offset: errno_offset(modules.reach, errno_location),
        })
    }
}

#[derive(Debug)]
struct Saved {
    registers: user_regs_struct,
    extended: Vec<u8>,
    blocked: u64,
}

impl<'t> Visit<'t> {
    /// Makes a stopped thread ready, with room for `room` bytes of text.
    pub fn begin(
        thread: &'t mut Tracee,
        means: &Means,
        room: usize,
        deadline: Instant,
    ) -> Result<Visit<'t>, AttachError> {
        let saved = Saved {
            registers: thread.registers()?,
            extended: thread.extended_state()?,
            blocked: thread.blocked_signals()?,
        };
        thread.block_signals(!faults())?;
        let mut visit = Visit {
            thread,
            saved,
            syscall: means.syscall,
            area: (0, 0),
            text: 0,
            errno: None,
            deadline,
            clean: true,
            kept: Vec::new(),
        };
        let room = (room as u64).next_multiple_of(4096);
        let size = STACK + room;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let arguments = [0, size, access as u64, flags as u64, u64::MAX, 0];
        let start = visit.system_call(libc::SYS_mmap, arguments, "mmap")?;
        visit.area = (start, size);
        visit.text = start + STACK;
        let tid = visit.thread.tid;
        let errno = match means.errno_offset {
            Some(offset) => visit.saved.registers.fs_base.wrapping_add(offset),
            None => visit.call("__errno_location", means.errno_location, &[])?,
        };
        let mut value = vec![0; 4];
        if memory_of::read(tid, errno, &mut value).is_ok_and(|count| count == 4) {
            visit.errno = Some((errno, value));
        }
        Ok(visit)
    }

    /// The thread.
    pub fn tid(&self) -> i32 {
        self.thread.tid
    }

    /// Puts a text and a zero byte where calls can read it, until the end of the visit.
    pub fn put(&mut self, text: &[u8]) -> Result<u64, AttachError> {
        let at = self.text;
        let bytes = [text, &[0]].concat();
        memory_of::write(self.thread.tid, at, &bytes)
            .map_err(AttachError::io(format!("write to the memory of process {}", self.thread.pid)))?;
        self.text += bytes.len() as u64;
        Ok(at)
    }

    /// Calls the function at `function` with up to six numbers; returns what it left in `rax`.
    pub fn call(&mut self, name: &str, function: u64, arguments: &[u64]) -> Result<u64, AttachError> {
        let pid = self.thread.pid;
        // The stack pointer is 8 below a multiple of 16 at the first instruction (System V ABI, AMD64 supplement, 3.2.2).
        let sp = self.area.0 + STACK - 64 - 8;
        memory_of::write(self.thread.tid, sp, &NOWHERE.to_le_bytes())
            .map_err(AttachError::io(format!("write to the memory of process {pid}")))?;
        let mut registers = self.prepared(function, arguments);
        registers.rsp = sp;
        // The direction flag is clear and the program's single step, if any, is not ours.
        registers.eflags &= !0x500;
        self.thread.set_registers(&registers)?;
        self.thread.block_signals(!faults() & !bit(CHANGE_OF_USER))?;
        let (signal, after) = self.until_fault(name, false)?;
        self.thread.block_signals(!faults())?;
        if signal == libc::SIGSEGV && after.rip == NOWHERE && after.rsp == sp + 8 {
            return Ok(after.rax);
        }
        self.clean = false;
        Err(AttachError::Fault { pid, function: name.to_owned(), signal, address: after.rip })
    }

    /// Makes one system call; touches no memory of the target.
    fn system_call(&mut self, number: i64, arguments: [u64; 6], name: &str) -> Result<u64, AttachError> {
        let mut registers = self.prepared(self.syscall, &arguments);
        registers.r10 = arguments[3];
        registers.rax = number as u64;
        registers.eflags &= !0x100;
        self.thread.set_registers(&registers)?;
        let (signal, after) = self.until_fault(name, true)?;
        let pid = self.thread.pid;
        if signal != libc::SIGTRAP || after.rip != self.syscall + 2 {
            return Err(AttachError::Fault { pid, function: name.to_owned(), signal, address: after.rip });
        }
        let error = -(after.rax as i64);
        if (1..4096).contains(&error) {
            let error = std::io::Error::from_raw_os_error(error as i32);
            return Err(AttachError::io(format!("make process {pid} call {name}"))(error));
        }
        Ok(after.rax)
    }

    fn prepared(&self, ip: u64, arguments: &[u64]) -> user_regs_struct {
        let mut registers = self.saved.registers;
        let argument = |number: usize| arguments.get(number).copied().unwrap_or(0);
        registers.rdi = argument(0);
        registers.rsi = argument(1);
        registers.rdx = argument(2);
        registers.rcx = argument(3);
        registers.r8 = argument(4);
        registers.r9 = argument(5);
        registers.rax = 0;
        // The outermost frame, for who unwinds by frame pointers.
        registers.rbp = 0;
        registers.rip = ip;
        // The kernel must not start the interrupted system call again in here.
        registers.orig_rax = u64::MAX;
        registers
    }

    /// Runs the thread, by one instruction or until a fault ends the call.
    fn until_fault(&mut self, name: &str, one_step: bool) -> Result<(i32, user_regs_struct), AttachError> {
        let pid = self.thread.pid;
        let mut passed_on = 0;
        loop {
            if one_step {
                self.thread.step()?;
            } else {
                self.thread.resume(passed_on)?;
            }
            passed_on = 0;
            match self.thread.next_stop(self.deadline)? {
                Some(Stop::Signal(signal)) if FAULTS.contains(&signal) => {
                    return Ok((signal, self.thread.registers()?));
                }
                Some(Stop::Signal(CHANGE_OF_USER)) if !one_step => passed_on = CHANGE_OF_USER,
                // Only SIGSTOP cannot be blocked.
                Some(Stop::Signal(signal)) => self.kept.push(signal),
                Some(Stop::Interrupted | Stop::Suspended) => (),
                Some(Stop::Ended) => return Err(AttachError::Gone(pid)),
                None => {
                    self.clean = false;
                    return Err(AttachError::Late { pid, function: name.to_owned() });
                }
            }
        }
    }

    /// Gives the memory back and puts the thread where it was; it stays stopped.
    pub fn end(mut self) -> Result<(), AttachError> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<(), AttachError> {
        let (start, size) = std::mem::take(&mut self.area);
        // After a call that did not come back, somebody may still wait in its stack.
        if size > 0 && self.clean {
            self.system_call(libc::SYS_munmap, [start, size, 0, 0, 0, 0], "munmap")?;
        }
        Ok(())
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.thread.stopped_since().is_none() {
            let soon = Instant::now() + std::time::Duration::from_secs(1);
            // If the call is inside the kernel and does not stop, nothing can be put back; the error has been told.
            if !matches!(self.thread.halt(soon), Ok(Some(Stop::Interrupted | Stop::Suspended))) {
                return;
            }
        }
        let _ = self.give_back();
        if let Some((address, value)) = &self.errno {
            let _ = memory_of::write(self.thread.tid, *address, value);
        }
        // A thread that has died meanwhile needs no registers.
        let _ = self.thread.set_extended_state(&self.saved.extended);
        let _ = self.thread.set_registers(&self.saved.registers);
        let _ = self.thread.block_signals(self.saved.blocked);
        for signal in self.kept.drain(..) {
            // SAFETY: no pointers; the thread is stopped by us, so that its id is still its own.
            unsafe { libc::syscall(libc::SYS_tgkill, self.thread.pid, self.thread.tid, signal) };
        }
    }
}

/// The mask of faults.
fn faults() -> u64 {
    FAULTS.into_iter().fold(0, |mask, signal| mask | bit(signal))
}

/// A signal in a mask.
fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// A `syscall` instruction, in libc's function of that name.
fn syscall_instruction(modules: &Modules) -> Result<u64, AttachError> {
    let function = modules.libc_function(&["syscall"])?;
    let mut code = [0; 64];
    let count = memory_of::read(modules.reach, function, &mut code)
        .map_err(AttachError::io(format!("read the memory of process {}", modules.pid)))?;
    let found = code[..count].windows(2).position(|pair| pair == [0x0f, 0x05]);
    found.map(|at| function + at as u64).ok_or(AttachError::NotGlibc(modules.pid))
}

/// How far a thread's `errno` is from its thread pointer, read off the code of `__errno_location`, which saves a call:
/// `mov errno@gottpoff(%rip), %rax; add %fs:0, %rax; ret` (ELF Handling For Thread-Local Storage, 4.4.6).
fn errno_offset(tid: i32, function: u64) -> Option<u64> {
    const LANDING: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    const ADD: [u8; 10] = [0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0xc3];
    let mut code = [0; 21];
    if memory_of::read(tid, function, &mut code).ok()? != code.len() {
        return None;
    }
    let skipped = if code.starts_with(&LANDING) { LANDING.len() } else { 0 };
    let load = code.get(skipped..)?;
    if !load.starts_with(&[0x48, 0x8b, 0x05]) || load.get(7..17)? != ADD {
        return None;
    }
    let distance = i32::from_le_bytes(load.get(3..7)?.try_into().ok()?);
    let next = function + skipped as u64 + 7;
    memory_of::read_u64(tid, next.wrapping_add_signed(distance.into()))
}

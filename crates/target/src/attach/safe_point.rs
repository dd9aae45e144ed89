//! Finding a thread that holds no lock of the loader or the allocator, so that it can be made to call them.
//!
//! Only the thread that is to make the call must be safe. The others run on, and let go of what they hold.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libc::user_regs_struct;
use memtrial_symbols::remote::{Registers, RemoteFrame, RemoteUnwinder};

use super::error::AttachError;
use super::modules::{ALLOCATOR, Modules, Role};
use super::stack::{self, SafePoint, Step};
use super::tracee::{self, Stop, Tracee};
use crate::memory_of;

/// Deepest stack that is looked at; what lies further out is judged by [`Search::remains_of_calls`].
const DEEPEST: usize = 512;

/// So much of a stack is copied at once.
const COPIED: usize = 32 << 10;

/// Rounds over all threads before one is helped out of libc by a breakpoint.
const PATIENCE: u32 = 40;

/// Longest wait for a thread to come back from libc.
const RETURN_LIMIT: Duration = Duration::from_millis(200);

/// A thread that stands at a safe point.
#[derive(Debug)]
pub(super) struct Found {
    pub thread: Tracee,
    pub point: SafePoint,
    /// How long it stood still in earlier looks.
    pub before: Duration,
    /// Looks at threads, this one included.
    pub tries: u32,
}

/// The search in one process.
pub(super) struct Search<'m> {
    modules: &'m Modules,
    unwinder: RemoteUnwinder,
    tries: u32,
    still: HashMap<i32, Duration>,
    doing: HashMap<String, u32>,
    random: u64,
}

/// A stopped thread's registers and the top of its stack.
struct Look {
    registers: user_regs_struct,
    stack: Vec<u8>,
}

impl Look {
    fn at(thread: &Tracee) -> Result<Look, AttachError> {
        let registers = thread.registers()?;
        let mut stack = vec![0; COPIED];
        let count = memory_of::read(thread.tid, registers.rsp, &mut stack).unwrap_or(0);
        stack.truncate(count);
        Ok(Look { registers, stack })
    }

    fn read_u64(&self, pid: i32, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.registers.rsp).and_then(|at| usize::try_from(at).ok());
        let copied = at.and_then(|at| self.stack.get(at..at.checked_add(8)?));
        match copied {
            Some(bytes) => bytes.try_into().ok().map(u64::from_le_bytes),
            None => memory_of::read_u64(pid, address),
        }
    }
}

impl<'m> Search<'m> {
    pub fn new(modules: &'m Modules) -> Search<'m> {
        // Waits only have to differ from the target's own periods.
        let random = crate::processes::monotonic() | 1;
        Search {
            modules,
            unwinder: modules.unwinder(),
            tries: 0,
            still: HashMap::new(),
            doing: HashMap::new(),
            random,
        }
    }

    /// Looks at thread after thread until one stands at a safe point; it stays stopped.
    ///
    /// # Errors
    /// [`AttachError::NoSafePoint`] at the deadline.
    pub fn run(mut self, deadline: Instant) -> Result<Found, AttachError> {
        let pid = self.modules.pid;
        self.prepare(deadline)?;
        let mut round = 0_u32;
        loop {
            let threads = tracee::threads(pid);
            if threads.is_empty() {
                return Err(AttachError::Gone(pid));
            }
            let mut looked = false;
            for &tid in &threads {
                let Some(mut thread) = self.stop(tid, deadline)? else { continue };
                looked = true;
                self.tries += 1;
                let helped = round >= PATIENCE && (round + self.tries).is_multiple_of(4);
                let point = match self.judge(&thread)? {
                    Err(_) if helped => self.wait_for_return(&mut thread, deadline)?,
                    judged => judged,
                };
                match point {
                    Ok(point) => {
                        if !self.modules.still() {
                            return Err(AttachError::Gone(pid));
                        }
                        let before = self.still.get(&tid).copied().unwrap_or_default();
                        return Ok(Found { thread, point, before, tries: self.tries });
                    }
                    Err(doing) => *self.doing.entry(doing).or_default() += 1,
                }
                self.let_go(thread);
                if Instant::now() >= deadline {
                    return Err(self.given_up());
                }
            }
            if !looked && tracee::living_thread(pid).is_none() {
                return Err(AttachError::Gone(pid));
            }
            if Instant::now() >= deadline {
                return Err(self.given_up());
            }
            round += 1;
            std::thread::sleep(Duration::from_micros(self.random_up_to(20 + 50 * u64::from(round.min(40)))));
        }
    }

    /// Unwinds the stack of each of the first threads once after letting it go, which reads the files that it touches:
    /// later, with the thread stopped, that would take long.
    fn prepare(&mut self, deadline: Instant) -> Result<(), AttachError> {
        for tid in tracee::threads(self.modules.pid).into_iter().take(8) {
            let Some(thread) = self.stop(tid, deadline)? else { continue };
            let look = Look::at(&thread)?;
            self.let_go(thread);
            self.unwind(&look);
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(())
    }

    /// Stops a thread; `None` if it has ended or sleeps inside the kernel. One that was asked to stop must be waited
    /// for: it would stop later, perhaps with a lock held that the call needs.
    fn stop(&mut self, tid: i32, deadline: Instant) -> Result<Option<Tracee>, AttachError> {
        let pid = self.modules.pid;
        if tracee::sleeps_inside_kernel(pid, tid) {
            *self.doing.entry("waiting inside the kernel".to_owned()).or_default() += 1;
            return Ok(None);
        }
        let Some(mut thread) = Tracee::seize(pid, tid)? else { return Ok(None) };
        match thread.halt(deadline)? {
            Some(Stop::Interrupted) => Ok(Some(thread)),
            Some(Stop::Suspended) => Err(AttachError::Suspended(pid)),
            Some(Stop::Ended) => Ok(None),
            Some(Stop::Signal(_)) | None => Err(AttachError::Unstoppable { pid, tid }),
        }
    }

    fn let_go(&mut self, thread: Tracee) {
        let (tid, since) = (thread.tid, thread.stopped_since());
        drop(thread);
        *self.still.entry(tid).or_default() += since.map(|since| since.elapsed()).unwrap_or_default();
    }

    /// Whether a stopped thread stands at a safe point; if not, what it is doing.
    fn judge(&mut self, thread: &Tracee) -> Result<Result<SafePoint, String>, AttachError> {
        if let Some(doing) = self.plainly_unsafe(thread.registers()?.rip) {
            return Ok(Err(doing));
        }
        let look = Look::at(thread)?;
        let frames = self.unwind(&look);
        let steps: Vec<Step> =
            frames.iter().enumerate().map(|(number, frame)| self.step(&frames, number, frame)).collect();
        let judged = stack::judge(&steps, stack::waits_outside(&look.registers));
        Ok(match judged {
            Ok(_) if !stack::is_complete(&steps) => self.remains_of_calls(&look).map_or(judged, Err),
            judged => judged,
        })
    }

    /// What the thread is doing, where that says enough without its callers.
    fn plainly_unsafe(&self, ip: u64) -> Option<String> {
        let module = self.modules.list.iter().find(|module| module.image.contains(ip))?;
        let step = Step {
            role: module.role,
            names: module.names_at(ip).into_iter().map(str::to_owned).collect(),
            trampoline: false,
            beginning: false,
        };
        stack::holding(&step)
    }

    fn unwind(&mut self, look: &Look) -> Vec<RemoteFrame> {
        let registers = Registers { ip: look.registers.rip, sp: look.registers.rsp, bp: look.registers.rbp };
        let pid = self.modules.reach;
        self.unwinder.unwind(registers, &mut |address| look.read_u64(pid, address), DEEPEST)
    }

    fn step(&self, frames: &[RemoteFrame], number: usize, frame: &RemoteFrame) -> Step {
        let module = self.modules.of_frame(frame);
        let role = match module {
            Some(module) => module.role,
            None if frame.module.as_ref().is_some_and(|name| name.as_os_str() == "[vdso]") => Role::Vdso,
            None => Role::Program,
        };
        let address = self.address(frame);
        // A call may be the last instruction of a function.
        let inside = address - u64::from(frame.return_address);
        let names = module.map(|module| module.names_at(inside)).unwrap_or_default();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        // Both the frame that a handler returns to and the one that it interrupted are no return addresses.
        let trampoline = number > 0
            && !frame.return_address
            && frames.get(number + 1).is_some_and(|next| !next.return_address)
            && is_sigreturn(self.modules.reach, address);
        let beginning = self.modules.entry().is_some_and(|entry| (entry..entry + 64).contains(&address));
        Step { role, names, trampoline, beginning }
    }

    fn address(&self, frame: &RemoteFrame) -> u64 {
        let bias = self.modules.of_frame(frame).map_or(0, |module| module.image.bias);
        frame.offset.wrapping_add(bias)
    }

    /// For a stack that cannot be unwound to its end: whether what lies further out looks as if it held a return address
    /// into the loader, an allocator or their functions in libc. What has been left there by earlier calls counts too.
    fn remains_of_calls(&self, look: &Look) -> Option<String> {
        let mut suspects: Vec<(u64, u64)> = Vec::new();
        for module in &self.modules.list {
            match module.role {
                Role::Loader | Role::Allocator => suspects.push((module.image.base, module.image.end)),
                Role::Libc | Role::Program => {
                    let names =
                        ALLOCATOR.iter().chain(&["dlopen", "dlclose", "dlsym", "dl_iterate_phdr", "fork"]);
                    suspects.extend(names.filter_map(|name| module.range_of(name)));
                }
                Role::Unwinder | Role::Vdso => (),
            }
        }
        let is_code = |address: u64| {
            self.modules.mappings.iter().any(|mapping| mapping.executable && mapping.contains(address))
        };
        let words =
            look.stack.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes);
        let called = |word: &u64| {
            suspects.iter().any(|(from, to)| (*from..*to).contains(word))
                && is_code(*word)
                && follows_call(self.modules.reach, *word)
        };
        words.into_iter().any(|word| called(&word)).then(|| "in code whose callers cannot be told".to_owned())
    }

    /// Lets a thread run until it comes back from libc.
    fn wait_for_return(
        &mut self,
        thread: &mut Tracee,
        deadline: Instant,
    ) -> Result<Result<SafePoint, String>, AttachError> {
        let look = Look::at(thread)?;
        let frames = self.unwind(&look);
        let role =
            |frame: &RemoteFrame| self.modules.of_frame(frame).map_or(Role::Program, |module| module.role);
        let Some(outside) = frames.iter().find(|frame| role(frame) == Role::Program && frame.return_address)
        else {
            return Ok(Err("in code whose callers cannot be told".to_owned()));
        };
        let address = self.address(outside);
        if thread.break_at(Some(address)).is_err() {
            // No debug registers: some virtual machines and containers.
            return self.judge(thread);
        }
        let since = thread.stopped_since();
        *self.still.entry(thread.tid).or_default() += since.map(|since| since.elapsed()).unwrap_or_default();
        thread.resume(0)?;
        let until = deadline.min(Instant::now() + RETURN_LIMIT);
        let reached = loop {
            match thread.next_stop(until)? {
                Some(Stop::Signal(libc::SIGTRAP)) if thread.registers()?.rip == address => break true,
                Some(Stop::Signal(signal)) => thread.resume(signal)?,
                Some(Stop::Interrupted | Stop::Suspended) => thread.resume(0)?,
                Some(Stop::Ended) => return Ok(Err("ending".to_owned())),
                None => break false,
            }
        };
        if !reached {
            match thread.halt(deadline)? {
                Some(Stop::Interrupted) => (),
                Some(Stop::Ended) => return Ok(Err("ending".to_owned())),
                _ => return Err(AttachError::Unstoppable { pid: thread.pid, tid: thread.tid }),
            }
        }
        thread.break_at(None)?;
        let judged = self.judge(thread)?;
        Ok(judged.map(|point| if reached { SafePoint::Returned } else { point }))
    }

    fn given_up(&self) -> AttachError {
        let mut doing: Vec<(&String, &u32)> = self.doing.iter().collect();
        doing.sort_by_key(|(what, count)| (std::cmp::Reverse(**count), (*what).clone()));
        let doing: Vec<String> =
            doing.iter().take(3).map(|(what, count)| format!("{what} ({count})")).collect();
        let doing =
            if doing.is_empty() { "no thread could be looked at".to_owned() } else { doing.join(", ") };
        AttachError::NoSafePoint { pid: self.modules.pid, tries: self.tries, doing }
    }

    /// Xorshift (Marsaglia 2003).
    fn random_up_to(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit.max(1)
    }
}

/// Whether a signal handler returns to this address: `mov $15, %rax; syscall`.
fn is_sigreturn(pid: i32, address: u64) -> bool {
    let mut code = [0; 9];
    memory_of::read(pid, address, &mut code).is_ok_and(|count| count == 9)
        && code == [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05]
}

/// Whether the instruction before an address is a call: direct, or through a register or memory (Intel SDM 2A, CALL).
fn follows_call(pid: i32, address: u64) -> bool {
    let mut code = [0; 7];
    if !memory_of::read(pid, address.wrapping_sub(7), &mut code).is_ok_and(|count| count == 7) {
        return false;
    }
    let indirect = |at: usize| code[at] == 0xff && code[at + 1] & 0x38 == 0x10;
    code[2] == 0xe8 || [0, 1, 3, 4, 5].into_iter().any(indirect)
}

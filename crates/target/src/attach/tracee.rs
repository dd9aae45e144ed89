//! One thread of another process under ptrace (ptrace(2)): stopping it, its registers, letting it go.
//!
//! Only the thread that seized a tracee may speak to it, and the kernel lets all of a thread's tracees go when that
//! thread ends. [`apart`] makes use of that: whatever goes wrong in it, nothing stays stopped.

use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::time::{Duration, Instant};

use libc::user_regs_struct;

use super::error::AttachError;
use crate::processes;

/// `PTRACE_EVENT_STOP` of `linux/ptrace.h`.
const EVENT_STOP: i32 = 128;

/// What the kernel leaves in `rax` of an interrupted system call (`linux/errno.h`): -512 to -514 and -516 make it start
/// the call again when the thread goes on.
const RESTARTED: [i64; 4] = [-512, -513, -514, -516];
const ERESTARTNOHAND: u64 = (-514_i64) as u64;
const EINTR: i64 = -(libc::EINTR as i64);

/// Calls that the kernel ends with EINTR on any stop of the thread, without a signal (signal(7), "Interruption of
/// system calls and library functions by stop signals").
const ENDED_BY_STOPS: [i64; 7] = [
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_io_getevents,
];

/// How a thread stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Because it was interrupted.
    Interrupted,
    /// The whole process is held by a stop signal.
    Suspended,
    /// It is about to get this signal.
    Signal(i32),
    /// It has ended.
    Ended,
}

/// A thread that is traced; let go when dropped.
#[derive(Debug)]
pub(super) struct Tracee {
    pub pid: i32,
    pub tid: i32,
    stopped: Option<Instant>,
    ended: bool,
    /// Whether its end is for our own loop to reap.
    child: bool,
    only_this_thread: PhantomData<*const ()>,
}

/// Runs `what` in a thread of its own, at whose end all that it traces goes on.
pub(super) fn apart<T: Send>(what: impl FnOnce() -> Result<T, AttachError> + Send) -> Result<T, AttachError> {
    std::thread::scope(|scope| {
        let tracer = std::thread::Builder::new().name("tracer".to_owned()).spawn_scoped(scope, || {
            be_quick();
            // SAFETY: no arguments.
            (unsafe { libc::gettid() }, what())
        });
        let tracer = tracer.map_err(AttachError::io("start a thread"))?;
        let (tid, result) = tracer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A thread can be joined before the kernel has let its tracees go.
        let begun = Instant::now();
        let path = format!("/proc/self/task/{tid}");
        while Path::new(&path).exists() && begun.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_micros(50));
        }
        result
    })
}

/// Traces a process for a moment, to see whether it may be.
pub(crate) fn can_trace(pid: i32) -> Result<(), AttachError> {
    apart(|| Tracee::seize(pid, pid).map(drop))
}

/// Makes this thread quick to answer a stop, as somebody stands still meanwhile: the kernel otherwise adds up to 50 µs to
/// each sleep, and on a busy machine lets others run first.
pub(super) fn be_quick() {
    // SAFETY: no pointers; it is this thread's own priority (0), which only some users may raise.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
    }
}

/// The threads of a process.
pub(super) fn threads(pid: i32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The state letter of a thread in `/proc/PID/stat` (proc(5)).
fn state(pid: i32, tid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a thread waits inside the kernel so that it cannot be stopped: for a disk, or for a child made by `vfork`.
pub(super) fn sleeps_inside_kernel(pid: i32, tid: i32) -> bool {
    state(pid, tid) == Some('D')
}

/// A thread of a process that has not ended, the first one if it can be.
pub(super) fn living_thread(pid: i32) -> Option<i32> {
    // A thread that ends loses its memory first, which `statm` then says is none.
    let has_memory = |tid: &i32| {
        let sizes = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/statm"));
        sizes.is_ok_and(|sizes| !sizes.starts_with("0 "))
    };
    let lives = |tid: &i32| has_memory(tid) && !matches!(state(pid, *tid), None | Some('Z' | 'X'));
    if lives(&pid) { Some(pid) } else { threads(pid).into_iter().find(lives) }
}

impl Tracee {
    /// Begins to trace a thread, which runs on. `Ok(None)` if it has ended, but its process has not.
    pub fn seize(pid: i32, tid: i32) -> Result<Option<Tracee>, AttachError> {
        let child = tid == pid
            && processes::parent_of(pid)
                .is_some_and(|parent| u32::try_from(parent) == Ok(std::process::id()));
        // SAFETY: no pointers.
        if unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid, 0, 0) } == 0 {
            return Ok(Some(Tracee {
                pid,
                tid,
                stopped: None,
                ended: false,
                child,
                only_this_thread: PhantomData,
            }));
        }
        let source = io::Error::last_os_error();
        match state(pid, tid) {
            None | Some('Z' | 'X') if tid != pid || threads(pid).len() > 1 => Ok(None),
            None | Some('Z' | 'X') => Err(AttachError::Gone(pid)),
            Some(_) if source.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Some(_) => Err(refusal(pid, tid, &source)),
        }
    }

    fn request(&self, request: libc::c_uint, address: u64, data: u64) -> io::Result<()> {
        // SAFETY: the requests made by this way carry numbers, or pointers that their callers vouch for.
        let done = unsafe { libc::ptrace(request, self.tid, address, data) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn failed(&self, what: &str) -> impl FnOnce(io::Error) -> AttachError {
        let (pid, what) = (self.pid, format!("{what} of thread {}", self.tid));
        move |source| match source.raw_os_error() {
            Some(libc::ESRCH) => AttachError::Gone(pid),
            _ => AttachError::Io { what, source },
        }
    }

    /// Asks it to stop; [`Tracee::next_stop`] tells when it has.
    pub fn interrupt(&self) {
        // A thread that has ended since tells so when it is waited for.
        let _ = self.request(libc::PTRACE_INTERRUPT, 0, 0);
    }

    /// Stops it where it is; signals that come first are passed on. `None` if it does not stop until `deadline`.
    pub fn halt(&mut self, deadline: Instant) -> Result<Option<Stop>, AttachError> {
        self.interrupt();
        self.halted(deadline)
    }

    /// As [`Tracee::halt`], when it has been interrupted already.
    pub fn halted(&mut self, deadline: Instant) -> Result<Option<Stop>, AttachError> {
        loop {
            match self.next_stop(deadline)? {
                Some(Stop::Signal(signal)) => {
                    // Any stop uses the interruption up; the new one ends at the first instruction of the handler.
                    self.interrupt();
                    self.resume(signal)?;
                }
                Some(Stop::Interrupted) => {
                    self.start_again_what_the_stop_ended()?;
                    return Ok(Some(Stop::Interrupted));
                }
                other => return Ok(other),
            }
        }
    }

    /// Waits until it stops; `None` at the deadline.
    pub fn next_stop(&mut self, deadline: Instant) -> Result<Option<Stop>, AttachError> {
        let begun = Instant::now();
        loop {
            if let Some(stop) = self.poll()? {
                self.stopped = (stop != Stop::Ended).then(Instant::now);
                return Ok(Some(stop));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            // Sleeping lets the thread have the processor; a yield would let everybody else have it too.
            let waited = begun.elapsed();
            if waited > Duration::from_micros(20) {
                std::thread::sleep((waited / 8).clamp(Duration::from_micros(5), Duration::from_millis(1)));
            }
        }
    }

    fn poll(&mut self) -> Result<Option<Stop>, AttachError> {
        if self.ended {
            return Ok(Some(Stop::Ended));
        }
        // Ends are looked at without taking them: that of our own child is for its parent's loop.
        let Some(seen) = self.wait(libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT)? else {
            return Ok((self.ended).then_some(Stop::Ended));
        };
        if !matches!(seen.0, libc::CLD_TRAPPED | libc::CLD_STOPPED) {
            self.ended = true;
            if !self.child {
                self.wait(libc::WEXITED)?;
            }
            return Ok(Some(Stop::Ended));
        }
        let Some((_, status)) = self.wait(libc::WSTOPPED)? else {
            return Ok(None);
        };
        Ok(Some(match (status >> 8, status & 0xff) {
            (EVENT_STOP, libc::SIGTRAP) => Stop::Interrupted,
            (EVENT_STOP, _) => Stop::Suspended,
            (_, signal) => Stop::Signal(signal),
        }))
    }

    /// What waitid(2) tells of it, code and status, without waiting.
    fn wait(&mut self, what: libc::c_int) -> Result<Option<(i32, i32)>, AttachError> {
        // SAFETY: all zeros is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = what | libc::WNOHANG | libc::__WALL;
        let id = self.tid.unsigned_abs();
        // SAFETY: `info` lives.
        if unsafe { libc::waitid(libc::P_PID, id, &raw mut info, flags) } == 0 {
            // SAFETY: waitid filled in the fields of SIGCHLD, or left zeros.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            return Ok((pid != 0).then_some((info.si_code, status)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Somebody else has reaped it, or the process has become another program by another thread.
            Some(libc::ECHILD) => {
                self.ended = true;
                Ok(None)
            }
            Some(libc::EINTR) => Ok(None),
            _ => Err(AttachError::io(format!("wait for thread {}", self.tid))(error)),
        }
    }

    /// Lets it go on, with a signal if `signal` is not 0.
    pub fn resume(&mut self, signal: i32) -> Result<(), AttachError> {
        self.stopped = None;
        self.request(libc::PTRACE_CONT, 0, signal.unsigned_abs().into()).map_err(self.failed("go on"))
    }

    /// Lets it run one instruction.
    pub fn step(&mut self) -> Result<(), AttachError> {
        self.stopped = None;
        self.request(libc::PTRACE_SINGLESTEP, 0, 0).map_err(self.failed("run one instruction"))
    }

    /// Since when it stands still.
    pub fn stopped_since(&self) -> Option<Instant> {
        self.stopped
    }

    pub fn registers(&self) -> Result<user_regs_struct, AttachError> {
        // SAFETY: all zeros is a valid set of registers.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        // `registers` is what this request fills, and lives.
        self.request(libc::PTRACE_GETREGS, 0, (&raw mut registers) as u64)
            .map_err(self.failed("read the registers"))?;
        Ok(registers)
    }

    pub fn set_registers(&self, registers: &user_regs_struct) -> Result<(), AttachError> {
        // `registers` is what this request reads, and lives.
        let at = std::ptr::from_ref(registers) as u64;
        self.request(libc::PTRACE_SETREGS, 0, at).map_err(self.failed("set the registers"))
    }

    /// The vector and floating point registers, as the kernel packs them.
    pub fn extended_state(&self) -> Result<Vec<u8>, AttachError> {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            // The kernel fills at most the memory that `vector` describes, and tells there how much it did.
            self.request(libc::PTRACE_GETREGSET, NT_X86_XSTATE, (&raw mut vector) as u64)
                .map_err(self.failed("read the vector registers"))?;
            let filled = vector.iov_len;
            if filled < bytes.len() {
                bytes.truncate(filled);
                return Ok(bytes);
            }
            bytes.resize(bytes.len() * 2, 0);
        }
    }

    pub fn set_extended_state(&self, bytes: &[u8]) -> Result<(), AttachError> {
        let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // The kernel only reads the memory that `vector` describes.
        self.request(libc::PTRACE_SETREGSET, NT_X86_XSTATE, (&raw const vector) as u64)
            .map_err(self.failed("set the vector registers"))
    }

    /// The signals that it does not take now.
    pub fn blocked_signals(&self) -> Result<u64, AttachError> {
        let mut mask = 0_u64;
        // The kernel fills 8 bytes, as the address argument says.
        self.request(libc::PTRACE_GETSIGMASK, 8, (&raw mut mask) as u64)
            .map_err(self.failed("read the signal mask"))?;
        Ok(mask)
    }

    pub fn block_signals(&self, mask: u64) -> Result<(), AttachError> {
        // The kernel reads 8 bytes, as the address argument says.
        self.request(libc::PTRACE_SETSIGMASK, 8, (&raw const mask) as u64)
            .map_err(self.failed("set the signal mask"))
    }

    /// Makes the processor stop it at `address`, and no other thread; `None` takes that back.
    pub fn break_at(&self, address: Option<u64>) -> Result<(), AttachError> {
        let register = |number: usize| (std::mem::offset_of!(libc::user, u_debugreg) + 8 * number) as u64;
        let what = "set a hardware breakpoint";
        if let Some(address) = address {
            self.request(libc::PTRACE_POKEUSER, register(0), address).map_err(self.failed(what))?;
        }
        // Bit 0 enables the first breakpoint; its kind and length are 0, an instruction (Intel SDM 3B, 18.2.4).
        self.request(libc::PTRACE_POKEUSER, register(7), address.is_some().into()).map_err(self.failed(what))
    }

    /// A stop must not be seen by the program: where the kernel would return EINTR because of it, the call is started
    /// again instead, unless a signal handler has run.
    fn start_again_what_the_stop_ended(&self) -> Result<(), AttachError> {
        let mut registers = self.registers()?;
        let number = registers.orig_rax as i64;
        if registers.rax as i64 == EINTR && ENDED_BY_STOPS.contains(&number) {
            registers.rax = ERESTARTNOHAND;
            self.set_registers(&registers)?;
        }
        Ok(())
    }
}

const NT_X86_XSTATE: u64 = 0x202;

/// The number of the system call that a stop has interrupted, and that is started again afterwards.
pub(super) fn interrupted_call(registers: &user_regs_struct) -> Option<i64> {
    let number = registers.orig_rax as i64;
    (number >= 0 && RESTARTED.contains(&(registers.rax as i64))).then_some(number)
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.stopped.is_none() {
            // A thread can be let go only while it is stopped. One that does not stop is let go when ours ends.
            let soon = Instant::now() + Duration::from_millis(50);
            if !matches!(self.halt(soon), Ok(Some(Stop::Interrupted | Stop::Suspended))) {
                return;
            }
        }
        let _ = self.request(libc::PTRACE_DETACH, 0, 0);
    }
}

/// Why the kernel does not let us trace a thread.
pub(super) fn refusal(pid: i32, tid: i32, source: &io::Error) -> AttachError {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match field("TracerPid:").and_then(|tracer| tracer.parse().ok()) {
        Some(by) if by != 0 => {
            return AttachError::AlreadyTraced { pid, by: processes::process_of(by).unwrap_or(by) };
        }
        _ => (),
    }
    let why = match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => forbidden_by(field("Uid:").unwrap_or_default()),
        _ => source.to_string(),
    };
    AttachError::Forbidden { pid, why }
}

fn forbidden_by(uids: &str) -> String {
    // SAFETY: no arguments.
    let me = unsafe { libc::geteuid() }.to_string();
    if me != "0" && uids.split_whitespace().any(|uid| uid != me) {
        return "it belongs to another user".to_owned();
    }
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match yama.trim() {
        "" | "0" => {
            "the kernel does not permit it: it is protected, or this is a container without SYS_PTRACE"
                .to_owned()
        }
        "3" => "/proc/sys/kernel/yama/ptrace_scope is 3, which forbids it until the next boot".to_owned(),
        "1" if me != "0" => {
            "/proc/sys/kernel/yama/ptrace_scope is 1, which permits it for children only; root may".to_owned()
        }
        scope => format!("/proc/sys/kernel/yama/ptrace_scope is {scope}, which permits it for root only"),
    }
}

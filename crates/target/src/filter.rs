//! The system calls whose effect a snapshot would share with its parent, and the seccomp filter that reports them.
//!
//! The kernel stops the caller, tells the controller, and waits for its answer (`SECCOMP_RET_USER_NOTIF`, Linux
//! 5.0; letting the call go on needs 5.5). A clone inherits the filter, so snapshots are watched at no cost.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use memtrial_wire::layout::AGENT_MARK;

/// When a call is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// When this argument has any of these bits.
    AnyBit(u32, u32),
    /// When one argument has any of some bits, and another any of others.
    BothBits((u32, u32), (u32, u32)),
    /// When this argument has none of these bits.
    NoBit(u32, u32),
    /// When this argument is one of these values.
    OneOf(u32, &'static [u32]),
}

/// What a reported call does, in the words of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Opens a file for writing; the argument that is its path.
    OpensForWriting(usize),
    /// Changes the file system by name.
    ChangesFiles,
    /// Maps memory that others can write.
    SharesMemory,
    /// Sets a timer or alarm, which a clone would not have.
    SetsTimer,
    /// Locks a file: a clone would not hold the lock.
    LocksFile,
    /// Signals another process.
    Signals,
    /// Takes an address that only one process can have.
    Binds,
    /// Uses a part of the kernel that memtrial can't look into.
    Opaque,
    /// Installs a handler for fault signals.
    HandlesFaults,
    /// Starts a process, whose faults a snapshot would not show.
    Forks,
    /// Starts a process or a thread: its flags lie in memory.
    ForksOrThreads,
}

impl Effect {
    /// The sentence part behind "it".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Effect::OpensForWriting(_) => "opened a file for writing",
            Effect::ChangesFiles => "created, renamed, removed or changed a file",
            Effect::SharesMemory => "mapped shared memory",
            Effect::SetsTimer => "set a timer",
            Effect::LocksFile => "locked a file",
            Effect::Signals => "sent a signal to a process",
            Effect::Binds => "bound a socket",
            Effect::Opaque => "used io_uring, ptrace or System V IPC",
            Effect::HandlesFaults => "installed a handler for fault signals",
            Effect::Forks | Effect::ForksOrThreads => "started a process",
        }
    }
}

/// `O_WRONLY | O_RDWR | O_CREAT | O_TRUNC`
const WRITES: u32 = 0o1103;
const PROT_WRITE: u32 = 2;
const MAP_SHARED: u32 = 1;
/// Flag of `clone` that makes a thread, not a process.
pub const CLONE_THREAD: u32 = 0x10000;

/// The one table of watched calls.
const WATCHED: &[(libc::c_long, When, Effect)] = &[
    (libc::SYS_open, When::AnyBit(1, WRITES), Effect::OpensForWriting(0)),
    (libc::SYS_openat, When::AnyBit(2, WRITES), Effect::OpensForWriting(1)),
    (libc::SYS_openat2, When::Always, Effect::OpensForWriting(1)),
    (libc::SYS_creat, When::Always, Effect::OpensForWriting(0)),
    (libc::SYS_truncate, When::Always, Effect::ChangesFiles),
    (libc::SYS_rename, When::Always, Effect::ChangesFiles),
    (libc::SYS_renameat, When::Always, Effect::ChangesFiles),
    (libc::SYS_renameat2, When::Always, Effect::ChangesFiles),
    (libc::SYS_mkdir, When::Always, Effect::ChangesFiles),
    (libc::SYS_mkdirat, When::Always, Effect::ChangesFiles),
    (libc::SYS_rmdir, When::Always, Effect::ChangesFiles),
    (libc::SYS_link, When::Always, Effect::ChangesFiles),
    (libc::SYS_linkat, When::Always, Effect::ChangesFiles),
    (libc::SYS_unlink, When::Always, Effect::ChangesFiles),
    (libc::SYS_unlinkat, When::Always, Effect::ChangesFiles),
    (libc::SYS_symlink, When::Always, Effect::ChangesFiles),
    (libc::SYS_symlinkat, When::Always, Effect::ChangesFiles),
    (libc::SYS_chmod, When::Always, Effect::ChangesFiles),
    (libc::SYS_fchmodat, When::Always, Effect::ChangesFiles),
    (libc::SYS_chown, When::Always, Effect::ChangesFiles),
    (libc::SYS_lchown, When::Always, Effect::ChangesFiles),
    (libc::SYS_fchownat, When::Always, Effect::ChangesFiles),
    (libc::SYS_utime, When::Always, Effect::ChangesFiles),
    (libc::SYS_utimes, When::Always, Effect::ChangesFiles),
    (libc::SYS_futimesat, When::Always, Effect::ChangesFiles),
    (libc::SYS_utimensat, When::Always, Effect::ChangesFiles),
    (libc::SYS_mknod, When::Always, Effect::ChangesFiles),
    (libc::SYS_mknodat, When::Always, Effect::ChangesFiles),
    (libc::SYS_setxattr, When::Always, Effect::ChangesFiles),
    (libc::SYS_lsetxattr, When::Always, Effect::ChangesFiles),
    (libc::SYS_removexattr, When::Always, Effect::ChangesFiles),
    (libc::SYS_mmap, When::BothBits((2, PROT_WRITE), (3, MAP_SHARED)), Effect::SharesMemory),
    (libc::SYS_shmat, When::Always, Effect::SharesMemory),
    (libc::SYS_setitimer, When::Always, Effect::SetsTimer),
    (libc::SYS_alarm, When::Always, Effect::SetsTimer),
    (libc::SYS_timer_create, When::Always, Effect::SetsTimer),
    (libc::SYS_flock, When::Always, Effect::LocksFile),
    (libc::SYS_fcntl, When::OneOf(1, &[6, 7, 37, 38]), Effect::LocksFile),
    (libc::SYS_kill, When::Always, Effect::Signals),
    (libc::SYS_rt_sigqueueinfo, When::Always, Effect::Signals),
    (libc::SYS_pidfd_send_signal, When::Always, Effect::Signals),
    (libc::SYS_bind, When::Always, Effect::Binds),
    (libc::SYS_io_uring_setup, When::Always, Effect::Opaque),
    (libc::SYS_ptrace, When::Always, Effect::Opaque),
    (libc::SYS_semget, When::Always, Effect::Opaque),
    (libc::SYS_msgget, When::Always, Effect::Opaque),
    (libc::SYS_fork, When::Always, Effect::Forks),
    (libc::SYS_vfork, When::Always, Effect::Forks),
    (libc::SYS_clone, When::NoBit(0, CLONE_THREAD), Effect::Forks),
    (libc::SYS_clone3, When::Always, Effect::ForksOrThreads),
    (libc::SYS_rt_sigaction, When::OneOf(0, &[4, 7, 8, 11]), Effect::HandlesFaults),
];

/// What the call numbered `number` does, if it is watched.
#[must_use]
pub fn effect_of(number: i32) -> Option<Effect> {
    WATCHED
        .iter()
        .find(|(watched, _, _)| *watched == libc::c_long::from(number))
        .map(|(_, _, effect)| *effect)
}

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ARCHITECTURE: u32 = 0xc000_003e;

fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Loads the low half of an argument of the call.
fn load_argument(argument: u32) -> libc::sock_filter {
    statement(LOAD, 16 + argument * 8)
}

/// The filter as the kernel's packet-filter machine runs it: a block for each watched call, which falls through
/// to the next if the number is another.
#[must_use]
pub fn program() -> Vec<libc::sock_filter> {
    // Another architecture's numbers mean other calls: let them pass, the target was checked to have none.
    let mut program = vec![
        statement(LOAD, 4),
        jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, ALLOW),
        statement(LOAD, 0),
    ];
    for (number, when, _) in WATCHED {
        let mut block = vec![load_argument(5), jump(JUMP_EQUAL, mark(), 0, 1), statement(RETURN, ALLOW)];
        if *number == libc::SYS_mmap {
            // Its sixth argument is an offset.
            block.clear();
        }
        match *when {
            When::Always => {}
            When::AnyBit(argument, bits) => {
                block.extend([load_argument(argument), jump(JUMP_SET, bits, 1, 0), statement(RETURN, ALLOW)]);
            }
            When::NoBit(argument, bits) => {
                block.extend([load_argument(argument), jump(JUMP_SET, bits, 0, 1), statement(RETURN, ALLOW)]);
            }
            When::BothBits(one, other) => {
                for (argument, bits) in [one, other] {
                    block.extend([
                        load_argument(argument),
                        jump(JUMP_SET, bits, 1, 0),
                        statement(RETURN, ALLOW),
                    ]);
                }
            }
            When::OneOf(argument, values) => {
                block.push(load_argument(argument));
                for (i, value) in values.iter().enumerate() {
                    let behind = u8::try_from(values.len() - i).unwrap_or(u8::MAX);
                    block.push(jump(JUMP_EQUAL, *value, behind, 0));
                }
                block.push(statement(RETURN, ALLOW));
            }
        }
        block.push(statement(RETURN, NOTIFY));
        let length = u8::try_from(block.len()).unwrap_or(u8::MAX);
        program.push(jump(JUMP_EQUAL, u32::try_from(*number).unwrap_or(u32::MAX), 0, length));
        program.extend(block);
    }
    program.push(statement(RETURN, ALLOW));
    program
}

fn mark() -> u32 {
    u32::try_from(AGENT_MARK).unwrap_or(u32::MAX)
}

/// A call that waits for the controller's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    id: u64,
    /// The thread that made the call.
    pub thread: i32,
    /// What the call does.
    pub effect: Effect,
    /// The call's arguments.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It goes on as if nobody had looked.
    Proceed,
    /// It is not made, and seems to have succeeded.
    PretendDone,
    /// It is not made, and fails.
    Refuse,
}

/// The controller's end of a filter.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

/// `SECCOMP_IOCTL_NOTIF_RECV`, and `_SEND`.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

impl Listener {
    /// The listener that the target's filter was given.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Listener {
        Listener { fd }
    }

    /// For `poll`: readable when a call waits, hung up when no process with the filter is left.
    #[must_use]
    pub fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The next call that waits; `None` if its caller has gone meanwhile.
    #[must_use]
    pub fn receive(&self) -> Option<Notice> {
        // SAFETY: plain data that the kernel wants zeroed and fills in.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request takes this type.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), RECEIVE, &raw mut notice) };
        if result != 0 {
            return None;
        }
        let thread = i32::try_from(notice.pid).ok()?;
        let effect = effect_of(notice.data.nr).unwrap_or(Effect::Opaque);
        Some(Notice { id: notice.id, thread, effect, arguments: notice.data.args })
    }

    /// Answers a call; one whose caller has gone needs no answer.
    pub fn answer(&self, notice: &Notice, answer: Answer) {
        const CONTINUE: u32 = 1;
        let (error, flags) = match answer {
            Answer::Proceed => (0, CONTINUE),
            Answer::PretendDone => (0, 0),
            Answer::Refuse => (-libc::EPERM, 0),
        };
        let mut response = libc::seccomp_notif_resp { id: notice.id, val: 0, error, flags };
        // SAFETY: the request takes this type.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), SEND, &raw mut response) };
    }
}

/// Whether this kernel has what the filter needs, and lets this process use it.
///
/// # Errors
/// The reason, when not.
pub fn check_support() -> io::Result<()> {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    let action = NOTIFY;
    // SAFETY: the operation reads one word.
    match unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does, for one call.
    fn run(number: libc::c_long, arguments: [u64; 6]) -> u32 {
        let program = program();
        let word = |at: u32| match at {
            0 => u32::try_from(number).unwrap(),
            4 => ARCHITECTURE,
            _ => (arguments[(at as usize - 16) / 8] & 0xffff_ffff) as u32,
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let taken = match instruction.code {
                LOAD => {
                    accumulator = word(instruction.k);
                    continue;
                }
                RETURN => return instruction.k,
                JUMP_EQUAL => accumulator == instruction.k,
                _ => accumulator & instruction.k != 0,
            };
            at += usize::from(if taken { instruction.jt } else { instruction.jf });
        }
    }

    #[test]
    fn what_changes_nothing_passes() {
        assert_eq!(run(libc::SYS_read, [0; 6]), ALLOW);
        assert_eq!(run(libc::SYS_openat, [0; 6]), ALLOW);
        assert_eq!(run(libc::SYS_mmap, [0, 4096, 3, 2, 3, 0]), ALLOW);
        assert_eq!(run(libc::SYS_mmap, [0, 4096, 1, 1, 3, 0]), ALLOW);
        assert_eq!(run(libc::SYS_fcntl, [3, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(libc::SYS_clone, [0x10000 | 0x100, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(libc::SYS_rt_sigaction, [15, 1, 0, 8, 0, 0]), ALLOW);
    }

    #[test]
    fn what_others_can_see_is_reported() {
        assert_eq!(run(libc::SYS_openat, [0, 0, 0o101, 0, 0, 0]), NOTIFY);
        assert_eq!(run(libc::SYS_mmap, [0, 4096, 3, 1, 3, 0]), NOTIFY);
        assert_eq!(run(libc::SYS_rename, [0; 6]), NOTIFY);
        assert_eq!(run(libc::SYS_clone, [17, 0, 0, 0, 0, 0]), NOTIFY);
        for command in [6, 7, 37, 38] {
            assert_eq!(run(libc::SYS_fcntl, [3, command, 0, 0, 0, 0]), NOTIFY);
        }
        for signal in [4, 7, 8, 11] {
            assert_eq!(run(libc::SYS_rt_sigaction, [signal, 1, 0, 8, 0, 0]), NOTIFY);
        }
    }

    #[test]
    fn the_agents_own_calls_pass() {
        assert_eq!(run(libc::SYS_openat, [0, 0, 0o1002, 0, 0, AGENT_MARK]), ALLOW);
        assert_eq!(run(libc::SYS_clone, [0x8000, 0, 0, 0, 0, AGENT_MARK]), ALLOW);
        assert_eq!(run(libc::SYS_rt_sigaction, [11, 1, 0, 8, 0, AGENT_MARK]), ALLOW);
    }

    #[test]
    fn the_program_fits_the_kernels_limit() {
        assert!(program().len() < 4096);
    }
}

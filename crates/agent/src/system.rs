//! The system calls of the agent, made without the C library so that `errno` and its locks are left alone.

use core::arch::asm;

/// Numbers of the calls used (Linux, x86-64).
pub(crate) mod number {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const CLOSE: u64 = 3;
    pub const FSTAT: u64 = 5;
    pub const POLL: u64 = 7;
    pub const LSEEK: u64 = 8;
    pub const MMAP: u64 = 9;
    pub const MUNMAP: u64 = 11;
    pub const RT_SIGACTION: u64 = 13;
    pub const RT_SIGPROCMASK: u64 = 14;
    pub const PWRITE64: u64 = 18;
    pub const MREMAP: u64 = 25;
    pub const MADVISE: u64 = 28;
    pub const GETPID: u64 = 39;
    pub const SOCKET: u64 = 41;
    pub const CONNECT: u64 = 42;
    pub const SENDTO: u64 = 44;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const GETSOCKOPT: u64 = 55;
    pub const CLONE: u64 = 56;
    pub const FCNTL: u64 = 72;
    pub const READLINK: u64 = 89;
    pub const SETPGID: u64 = 109;
    pub const RT_SIGPENDING: u64 = 127;
    pub const RT_SIGTIMEDWAIT: u64 = 128;
    pub const PRCTL: u64 = 157;
    pub const GETTID: u64 = 186;
    pub const FUTEX: u64 = 202;
    pub const GETDENTS64: u64 = 217;
    pub const CLOCK_GETTIME: u64 = 228;
    pub const EXIT_GROUP: u64 = 231;
    pub const TGKILL: u64 = 234;
    pub const WAITID: u64 = 247;
    pub const OPENAT: u64 = 257;
    pub const NEWFSTATAT: u64 = 262;
    pub const FALLOCATE: u64 = 285;
    pub const ACCEPT4: u64 = 288;
    pub const DUP3: u64 = 292;
    pub const PRLIMIT64: u64 = 302;
    pub const PROCESS_VM_READV: u64 = 310;
    pub const CLOSE_RANGE: u64 = 436;
}

/// `open` flags and other constants of the kernel's interface.
pub const O_RDWR: u64 = 0o2;
/// Part of the flags that says reading, writing or both.
pub const O_ACCMODE: u64 = 0o3;
/// Cuts the file to nothing.
pub const O_TRUNC: u64 = 0o1000;
/// Closed at exec.
pub const O_CLOEXEC: u64 = 0o2_000_000;
/// A descriptor that only names a file.
pub const O_PATH: u64 = 0o10_000_000;
/// Fails where the path is a symbolic link, as those in /proc/self/fd are.
pub const O_NOFOLLOW: u64 = 0o400_000;
/// Must be a folder.
pub const O_DIRECTORY: u64 = 0o200_000;
/// "No child processes".
pub const ECHILD: i64 = 10;

/// The error number of a failed call.
pub type Errno = i64;

pub(crate) fn check(result: i64) -> Result<u64, Errno> {
    // The kernel returns errors as -4095..=-1; all else, addresses too, is success.
    if (-4095..0).contains(&result) { Err(-result) } else { Ok(result.cast_unsigned()) }
}

/// Makes a system call.
///
/// # Safety
/// The arguments must be right for the call: pointers valid for what it reads and writes, and its effect on
/// memory, descriptors and processes one that the caller answers for.
#[inline]
pub(crate) unsafe fn call(number: u64, a: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the x86-64 system call convention; the caller answers for the arguments.
    unsafe {
        // The mark must not stay behind in its register: the target's next call might pass for the agent's.
        asm!("syscall", "xor r9d, r9d", inlateout("rax") number.cast_signed() => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
            inlateout("r9") a[5] => _, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A call with up to five arguments; the sixth marks it as the agent's.
macro_rules! marked {
    ($number:expr $(, $argument:expr)*) => {{
        let mut arguments = [0u64; 6];
        let given: &[u64] = &[$($argument),*];
        let mut i = 0;
        while i < given.len() {
            arguments[i] = given[i];
            i += 1;
        }
        arguments[5] = memtrial_wire::layout::AGENT_MARK;
        $crate::system::check($crate::system::call($number, arguments))
    }};
}

pub(crate) use marked;

/// What `fstat` tells, as far as it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Device and inode.
    pub id: [u64; 2],
    /// Links to it; for `/proc/self/task`, two more than there are threads.
    pub links: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Which device it is, if one.
    pub device: u64,
}

/// `struct stat` of x86-64: 144 bytes.
#[repr(C)]
struct Stat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    rest: [u64; 12],
}

impl Stat {
    const EMPTY: Stat =
        Stat { dev: 0, ino: 0, nlink: 0, mode: 0, uid: 0, gid: 0, pad: 0, rdev: 0, rest: [0; 12] };

    fn facts(&self) -> FileFacts {
        FileFacts { id: [self.dev, self.ino], links: self.nlink, mode: self.mode, device: self.rdev }
    }
}

const _: () = assert!(size_of::<Stat>() == 144);

/// A path that ends in NUL, as the kernel takes it.
fn is_path(path: &[u8]) -> bool {
    path.last() == Some(&0)
}

/// The current folder, for the calls that take one.
pub const AT_FDCWD: u64 = (-100i64).cast_unsigned();

/// Opens `path` (NUL-terminated).
pub fn open(path: &[u8], flags: u64) -> Result<u64, Errno> {
    debug_assert!(is_path(path));
    // SAFETY: the path is NUL-terminated memory; opening touches no memory of the target.
    unsafe { marked!(number::OPENAT, AT_FDCWD, path.as_ptr() as u64, flags, 0) }
}

/// Closes `fd`, which must be one that the agent opened.
pub fn close(fd: u64) {
    // SAFETY: the agent closes only what it opened.
    let _ = unsafe { marked!(number::CLOSE, fd) };
}

/// Reads into `buffer`.
pub fn read(fd: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the length of the buffer.
    let read = unsafe { marked!(number::READ, fd, buffer.as_mut_ptr() as u64, buffer.len() as u64) };
    read.map(|n| n as usize)
}

/// Reads folder entries into `buffer`.
pub fn getdents(fd: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the length of the buffer.
    let read = unsafe { marked!(number::GETDENTS64, fd, buffer.as_mut_ptr() as u64, buffer.len() as u64) };
    read.map(|n| n as usize)
}

/// Facts of an open file.
pub fn fstat(fd: u64) -> Result<FileFacts, Errno> {
    let mut stat = Stat::EMPTY;
    // SAFETY: `stat` has the kernel's layout and size.
    unsafe { marked!(number::FSTAT, fd, &raw mut stat as u64) }.map(|_| stat.facts())
}

/// Facts of the file at `path` (NUL-terminated).
pub fn stat(path: &[u8]) -> Result<FileFacts, Errno> {
    debug_assert!(is_path(path));
    let mut stat = Stat::EMPTY;
    // SAFETY: the path is NUL-terminated; `stat` has the kernel's layout and size.
    unsafe { marked!(number::NEWFSTATAT, AT_FDCWD, path.as_ptr() as u64, &raw mut stat as u64, 0) }
        .map(|_| stat.facts())
}

/// Where the symbolic link at `path` (NUL-terminated) leads.
pub fn readlink(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    debug_assert!(is_path(path));
    let (to, room) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
    // SAFETY: the path is NUL-terminated; the kernel writes at most the length of the buffer.
    unsafe { marked!(number::READLINK, path.as_ptr() as u64, to, room) }.map(|n| n as usize)
}

/// Moves or tells (`whence` 1, `offset` 0) the offset of `fd`.
pub fn lseek(fd: u64, offset: u64, whence: u64) -> Result<u64, Errno> {
    // SAFETY: only the offset of the descriptor changes; see `privacy` for whose it is.
    unsafe { marked!(number::LSEEK, fd, offset, whence) }
}

/// Flags of an open file (`F_GETFL`).
pub fn file_flags(fd: u64) -> Result<u64, Errno> {
    // SAFETY: reads only.
    unsafe { marked!(number::FCNTL, fd, 3, 0) }
}

/// Flags of a descriptor (`F_GETFD`): 1 for close-on-exec.
pub fn descriptor_flags(fd: u64) -> Result<u64, Errno> {
    // SAFETY: reads only.
    unsafe { marked!(number::FCNTL, fd, 1, 0) }
}

/// Makes `to` another name of `from`; `flags` is 0 or [`O_CLOEXEC`].
pub fn dup3(from: u64, to: u64, flags: u64) -> Result<u64, Errno> {
    // SAFETY: called only in a snapshot, to replace what it shares by what is its own.
    unsafe { marked!(number::DUP3, from, to, flags) }
}

/// Maps `length` bytes of `fd`, shared, readable and writable.
pub fn map_shared(fd: u64, length: usize) -> Result<*mut u8, Errno> {
    const READ_WRITE: u64 = 3;
    const SHARED: u64 = 1;
    // SAFETY: a new mapping at an address that the kernel chooses disturbs no other.
    let address = check(unsafe { call(number::MMAP, [0, length as u64, READ_WRITE, SHARED, fd, 0]) })?;
    Ok(address as *mut u8)
}

/// Moves the mapping of `length` bytes at `from` to `to`, in place of the one of that length that is there. At no moment is
/// there none.
pub fn move_mapping(from: *mut u8, length: usize, to: *mut u8) -> Result<(), Errno> {
    const MAYMOVE_FIXED: u64 = 1 | 2;
    let length = length as u64;
    // SAFETY: both mappings are the agent's own, and the caller lets go of the one that is replaced.
    unsafe { marked!(number::MREMAP, from as u64, length, length, MAYMOVE_FIXED, to as u64) }.map(drop)
}

/// Maps `length` bytes of private memory, which take room only where they are written to.
pub fn map_private(length: usize) -> Result<*mut u8, Errno> {
    const READ_WRITE: u64 = 3;
    const PRIVATE_ANONYMOUS_NORESERVE: u64 = 0x2 | 0x20 | 0x4000;
    let arguments = [0, length as u64, READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, u64::MAX, 0];
    // SAFETY: a new mapping at an address that the kernel chooses disturbs no other.
    let address = check(unsafe { call(number::MMAP, arguments) })?;
    Ok(address as *mut u8)
}

/// Unmaps what [`map_private`] returned.
pub fn unmap(address: u64, length: usize) {
    // SAFETY: the caller maps and unmaps memory of the agent's own, which nobody else knows of.
    let _ = unsafe { marked!(number::MUNMAP, address, length as u64) };
}

/// Gives the memory of a private mapping of the agent's back; it reads as zeros afterwards.
pub fn empty(address: u64, length: usize) {
    const MADV_DONTNEED: u64 = 4;
    // SAFETY: the agent's own private mapping; all its words are atomic, and zero is one of their values.
    let _ = unsafe { marked!(number::MADVISE, address, length as u64, MADV_DONTNEED) };
}

/// Makes the start of a private mapping of the agent's read as zeros in children that are forked.
pub fn wipe_on_fork(address: *mut u8, length: usize) {
    const MADV_WIPEONFORK: u64 = 18;
    // SAFETY: as for `empty`.
    let _ = unsafe { marked!(number::MADVISE, address as u64, length as u64, MADV_WIPEONFORK) };
}

/// Keeps the pages from `start` to `end`, which are the agent's own, from becoming one mapping with what lies behind
/// them: they are left out of core dumps.
pub fn keep_apart(start: u64, end: u64) {
    const MADV_DONTDUMP: u64 = 16;
    // SAFETY: changes nothing in memory.
    let _ = unsafe { marked!(number::MADVISE, start, end.saturating_sub(start), MADV_DONTDUMP) };
}

/// The process id, not cached.
pub fn getpid() -> u32 {
    // SAFETY: no arguments.
    unsafe { marked!(number::GETPID) }.map_or(0, |pid| pid as u32)
}

/// Whether the calling process has any child, ended or not.
pub fn has_children() -> bool {
    // P_ALL; WNOHANG | WEXITED | WNOWAIT | __WALL: look, and leave everything as it is.
    const LOOK: u64 = 1 | 4 | 0x0100_0000 | 0x4000_0000;
    // SAFETY: no memory is written: both pointers are null.
    let seen = unsafe { marked!(number::WAITID, 0, 0, 0, LOOK, 0) };
    seen != Err(ECHILD)
}

/// Clones the process: the clone is a child of the caller's parent. Returns 0 in the clone.
///
/// Unlike libc's `fork` this runs no handlers and leaves the thread id that libc has cached as it was, which
/// the owner checks of locks that are held across the call depend on.
pub fn clone_process() -> Result<u64, Errno> {
    const CLONE_PARENT: u64 = 0x8000;
    // SAFETY: without CLONE_VM the clone has memory of its own, and goes on with a copy of this stack.
    unsafe { marked!(number::CLONE, CLONE_PARENT, 0, 0, 0, 0) }
}

/// Asks the kernel to kill this process when its parent ends.
pub fn die_with_parent() {
    const PR_SET_PDEATHSIG: u64 = 1;
    const SIGKILL: u64 = 9;
    // SAFETY: no pointers.
    let _ = unsafe { marked!(number::PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) };
}

/// Makes a fault end this process, whatever handler the target has: a snapshot must show what happened.
pub fn die_of_faults() {
    const SIGILL: u64 = 4;
    const SIGBUS: u64 = 7;
    const SIGFPE: u64 = 8;
    const SIGSEGV: u64 = 11;
    // `struct sigaction` of the kernel: SIG_DFL, no flags, no restorer, an empty mask.
    let default = [0u64; 4];
    for signal in [SIGILL, SIGBUS, SIGFPE, SIGSEGV] {
        // SAFETY: `default` has the kernel's layout; done only in a snapshot.
        let _ = unsafe { marked!(number::RT_SIGACTION, signal, default.as_ptr() as u64, 0, 8) };
    }
}

/// Makes the process the leader of a process group of its own.
pub fn lead_group() {
    // SAFETY: no pointers.
    let _ = unsafe { marked!(number::SETPGID, 0, 0) };
}

/// Lowers a resource limit of this process, never raises it.
pub fn lower_limit(resource: u64, to: u64) {
    let mut limit = [0u64; 2];
    // SAFETY: `limit` has the layout of `struct rlimit64`.
    unsafe {
        if marked!(number::PRLIMIT64, 0, resource, 0, &raw mut limit as u64).is_ok() && limit[0] > to {
            limit[0] = to;
            let _ = marked!(number::PRLIMIT64, 0, resource, &raw const limit as u64, 0);
        }
    }
}

/// Sleeps until `word` is no longer `value`, or for no reason.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32) {
    const FUTEX_WAIT: u64 = 0;
    // SAFETY: the word outlives the call; the kernel only reads it.
    let _ = unsafe { marked!(number::FUTEX, word.as_ptr() as u64, FUTEX_WAIT, u64::from(value), 0) };
}

/// The same, at most until the clock of [`monotonic`] reaches `until`.
pub fn futex_wait_until(word: &core::sync::atomic::AtomicU32, value: u32, until: u64) {
    const FUTEX_WAIT_BITSET: u64 = 9;
    const ANY: u64 = u32::MAX as u64;
    let time = [until / 1_000_000_000, until % 1_000_000_000];
    let time = if until == u64::MAX { 0 } else { &raw const time as u64 };
    let arguments = [word.as_ptr() as u64, FUTEX_WAIT_BITSET, u64::from(value), time, 0, ANY];
    // SAFETY: word and time outlive the call; the kernel only reads them.
    let _ = unsafe { call(number::FUTEX, arguments) };
}

/// Wakes all that sleep on `word`.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32) {
    const FUTEX_WAKE: u64 = 1;
    // SAFETY: the kernel takes the address as a name.
    let _ = unsafe { marked!(number::FUTEX, word.as_ptr() as u64, FUTEX_WAKE, i32::MAX as u64) };
}

/// Blocks all signals in this thread, but those by which the C library reaches its own threads (32, and 33, which must
/// get through when the target changes its user). Returns what was blocked before.
pub fn block_signals() -> u64 {
    const SIG_SETMASK: u64 = 2;
    const LIBRARY: u64 = 1 << 31 | 1 << 32;
    let (all, mut before) = (!LIBRARY, 0u64);
    let (new, old) = (&raw const all as u64, &raw mut before as u64);
    // SAFETY: both sets have the kernel's 8 bytes.
    let _ = unsafe { marked!(number::RT_SIGPROCMASK, SIG_SETMASK, new, old, 8) };
    before
}

/// Sets which signals are blocked in this thread.
pub fn set_signals(blocked: u64) {
    const SIG_SETMASK: u64 = 2;
    // SAFETY: the set has the kernel's 8 bytes.
    let _ = unsafe { marked!(number::RT_SIGPROCMASK, SIG_SETMASK, &raw const blocked as u64, 0, 8) };
}

/// Names this thread; the name has at most 15 bytes and ends in NUL.
pub fn name_thread(name: &[u8]) {
    const PR_SET_NAME: u64 = 15;
    debug_assert!(is_path(name));
    // SAFETY: NUL-terminated.
    let _ = unsafe { marked!(number::PRCTL, PR_SET_NAME, name.as_ptr() as u64, 0, 0, 0) };
}

/// Makes the sleep of this thread end as exactly as it can: by default the kernel adds 50 us.
pub fn sleep_exactly() {
    const PR_SET_TIMERSLACK: u64 = 29;
    // SAFETY: no pointers.
    let _ = unsafe { marked!(number::PRCTL, PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

/// Gives this thread a table of descriptors of its own, an empty one: what it opens, the process does not see, and what
/// the process closes, it does not hold open. Linux 5.9.
pub fn own_descriptors() -> Result<(), Errno> {
    const UNSHARE: u64 = 2;
    // SAFETY: closes nothing but this thread's names of what is open.
    unsafe { marked!(number::CLOSE_RANGE, 0, u64::from(u32::MAX), UNSHARE) }.map(|_| ())
}

/// A new socket.
pub fn socket(family: u64, kind: u64) -> Result<u64, Errno> {
    // SAFETY: no pointers.
    unsafe { marked!(number::SOCKET, family, kind, 0) }
}

/// Connects a socket.
///
/// # Safety
/// `address` must be that of so many bytes.
pub unsafe fn connect(socket: u64, address: u64, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller promises the address.
    unsafe { marked!(number::CONNECT, socket, address, length as u64) }.map(|_| ())
}

/// Accepts a connection.
pub fn accept(listener: u64, flags: u64) -> Result<u64, Errno> {
    // SAFETY: the other end's address is not asked for.
    unsafe { marked!(number::ACCEPT4, listener, 0, 0, flags) }
}

/// Receives a message.
///
/// # Safety
/// `message` must be the address of a `struct msghdr` whose parts can be written to.
pub unsafe fn recvmsg(socket: u64, message: u64, flags: u64) -> Result<usize, Errno> {
    // SAFETY: the caller promises the message.
    unsafe { marked!(number::RECVMSG, socket, message, flags) }.map(|n| n as usize)
}

/// Sends a message.
///
/// # Safety
/// `message` must be the address of a `struct msghdr` whose parts can be read.
pub unsafe fn sendmsg(socket: u64, message: u64, flags: u64) -> Result<usize, Errno> {
    // SAFETY: the caller promises the message.
    unsafe { marked!(number::SENDMSG, socket, message, flags) }.map(|n| n as usize)
}

/// Reads `struct ucred` of the other end of a Unix socket.
///
/// # Safety
/// `to` must be the address of as many bytes as the word at `length` says.
pub unsafe fn peer_credentials(socket: u64, to: u64, length: u64) -> Result<(), Errno> {
    const SOL_SOCKET: u64 = 1;
    const SO_PEERCRED: u64 = 17;
    // SAFETY: the caller promises the room.
    unsafe { marked!(number::GETSOCKOPT, socket, SOL_SOCKET, SO_PEERCRED, to, length) }.map(|_| ())
}

/// Waits until something has come for one of so many `struct pollfd`; or only looks.
///
/// # Safety
/// They must lie at `polled`.
pub unsafe fn poll(polled: u64, count: usize, only_look: bool) -> Result<usize, Errno> {
    const FOREVER: u64 = u64::MAX;
    let time = if only_look { 0 } else { FOREVER };
    // SAFETY: the caller promises them.
    unsafe { marked!(number::POLL, polled, count as u64, time) }.map(|n| n as usize)
}

/// The word at `address` of this process, if it can be read.
pub fn read_own(address: u64) -> Option<u64> {
    let mut word = 0u64;
    let (here, there) = ([&raw mut word as u64, 8], [address, 8]);
    let arguments = [u64::from(getpid()), &raw const here as u64, 1, &raw const there as u64, 1, 0];
    // SAFETY: the kernel writes 8 bytes to `word`, or fails.
    let read = check(unsafe { call(number::PROCESS_VM_READV, arguments) });
    // SAFETY: the kernel may have written to it.
    (read == Ok(8)).then(|| unsafe { (&raw const word).read_volatile() })
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: `time` has the layout of `struct timespec`.
    let _ = unsafe { marked!(number::CLOCK_GETTIME, 1, &raw mut time as u64) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// Whether the word at `address` can be read: the kernel is asked to take a signal set from there, with a
/// request that it refuses only afterwards.
pub fn is_readable(address: u64) -> bool {
    const NO_SUCH_REQUEST: u64 = 0xffff;
    const EFAULT: i64 = 14;
    // SAFETY: the kernel reads 8 bytes or fails; the request is invalid, so the mask stays.
    let asked = unsafe { marked!(number::RT_SIGPROCMASK, NO_SUCH_REQUEST, address, 0, 8) };
    asked != Err(EFAULT)
}

/// Ends the process.
pub fn exit_group(status: u64) -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { marked!(number::EXIT_GROUP, status) };
    }
}

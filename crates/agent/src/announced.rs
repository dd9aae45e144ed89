//! Functions of the C library that are told of before they are called: those that make processes and threads, execute
//! programs and load libraries.
//!
//! Each exported function keeps the arguments, tells, and jumps to the function of the C library with everything as it came:
//! variable arguments pass untouched, and `dlopen` sees the return address of its real caller, on which depends where it
//! looks for libraries.
//!
//! What the C library itself does is not seen: `system`, `popen` and `posix_spawn` make their processes without `fork`, and
//! `vfork` can't be passed through a function. Of a version of `posix_spawn` from before glibc 2.15 the newer one is called.

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};

use crate::events::{self, DLOPEN, EXEC, FORK, MARK, THREAD};
use crate::real::{ANNOUNCED, ENOSYS, set_errno};
use crate::stack::Caller;
use crate::start;

/// Exports a function that announces itself by calling `announce` with its first four arguments and where its caller stands,
/// and jumps to where that says.
macro_rules! announce {
    ($name:ident => $announce:ident) => {
        /// Stands in front of the target's function of the same name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                "push r9",
                // The number of vector registers that hold variable arguments.
                "push rax",
                "lea r8, [rsp + 56]",
                "mov r9, rbp",
                "call {announce}",
                "mov r11, rax",
                "pop rax",
                "pop r9",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp r11",
                announce = sym $announce,
            )
        }
    };
}

announce!(execve => announce_execve);
announce!(execv => announce_execv);
announce!(execvp => announce_execvp);
announce!(execvpe => announce_execvpe);
announce!(execl => announce_execl);
announce!(execlp => announce_execlp);
announce!(execle => announce_execle);
announce!(fexecve => announce_fexecve);
announce!(posix_spawn => announce_posix_spawn);
announce!(posix_spawnp => announce_posix_spawnp);
announce!(pthread_create => announce_pthread_create);
announce!(dlopen => announce_dlopen);
announce!(dlmopen => announce_dlmopen);

/// Numbers in [`ANNOUNCED`].
mod number {
    pub const FORK: usize = 0;
    pub const EXECVE: usize = 1;
    pub const EXECV: usize = 2;
    pub const EXECVP: usize = 3;
    pub const EXECVPE: usize = 4;
    pub const EXECL: usize = 5;
    pub const EXECLP: usize = 6;
    pub const EXECLE: usize = 7;
    pub const FEXECVE: usize = 8;
    pub const POSIX_SPAWN: usize = 9;
    pub const POSIX_SPAWNP: usize = 10;
    pub const PTHREAD_CREATE: usize = 11;
    pub const DLOPEN: usize = 12;
    pub const DLMOPEN: usize = 13;
}

/// Looks up what may be called where it can't be looked up any more: in a forked child of a process whose other thread held
/// the loader's lock. The rest may be in a library that is not loaded, and a look-up that fails would leave its message.
pub fn prepare() {
    for function in &ANNOUNCED[..number::PTHREAD_CREATE] {
        function.address();
    }
}

/// Where to go on: the real function, or one that fails.
fn go_on(number: usize, otherwise: *mut c_void) -> *mut c_void {
    let address = ANNOUNCED[number].address();
    if address.is_null() { otherwise } else { address }
}

/// Stands for a function that is not there: fails with -1.
extern "C" fn fail() -> c_int {
    set_errno(ENOSYS);
    -1
}

/// Stands for a function that is not there, and which returns its error.
extern "C" fn refuse() -> c_int {
    ENOSYS
}

/// Stands for a function that is not there, and which returns an address.
extern "C" fn find_nothing() -> *mut c_void {
    core::ptr::null_mut()
}

macro_rules! executes {
    ($($announce:ident $number:ident)*) => {$(
        extern "C" fn $announce(path: *const u8, _: u64, _: u64, _: u64, sp: u64, bp: u64) -> *mut c_void {
            tell_exec(path, Caller { sp, bp });
            go_on(number::$number, fail as extern "C" fn() -> _ as *mut c_void)
        }
    )*};
}

executes! {
    announce_execve EXECVE
    announce_execv EXECV
    announce_execvp EXECVP
    announce_execvpe EXECVPE
    announce_execl EXECL
    announce_execlp EXECLP
    announce_execle EXECLE
}

macro_rules! spawns {
    ($($announce:ident $number:ident)*) => {$(
        extern "C" fn $announce(_: u64, path: *const u8, _: u64, _: u64, sp: u64, bp: u64) -> *mut c_void {
            tell_exec(path, Caller { sp, bp });
            go_on(number::$number, refuse as extern "C" fn() -> _ as *mut c_void)
        }
    )*};
}

spawns! {
    announce_posix_spawn POSIX_SPAWN
    announce_posix_spawnp POSIX_SPAWNP
}

fn tell_exec(path: *const u8, at: Caller) {
    start::start();
    if events::is_enabled(EXEC) {
        // It is no argument of the event, but its call stack is wanted perhaps.
        let _ = events::caller(at);
        // SAFETY: what the target passes for a text; if it is none, that is found out.
        unsafe { events::exec(path) };
    }
}

/// Tells of the file that a descriptor names by the path at which the kernel shows it.
extern "C" fn announce_fexecve(fd: c_int, _: u64, _: u64, _: u64, sp: u64, bp: u64) -> *mut c_void {
    if fd >= 0 {
        let mut path = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
        let digits = fd.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = fd;
        for digit in path[14..14 + digits].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        tell_exec(path.as_ptr(), Caller { sp, bp });
    }
    go_on(number::FEXECVE, fail as extern "C" fn() -> _ as *mut c_void)
}

extern "C" fn announce_pthread_create(
    _thread: *mut c_void,
    _attributes: *const c_void,
    function: u64,
    argument: u64,
    sp: u64,
    bp: u64,
) -> *mut c_void {
    if events::is_enabled(THREAD) {
        events::thread(function, argument, events::caller(Caller { sp, bp }));
    }
    go_on(number::PTHREAD_CREATE, refuse as extern "C" fn() -> _ as *mut c_void)
}

extern "C" fn announce_dlopen(
    path: *const u8,
    flags: c_int,
    _: u64,
    _: u64,
    sp: u64,
    bp: u64,
) -> *mut c_void {
    tell_dlopen(path, flags, Caller { sp, bp });
    go_on(number::DLOPEN, find_nothing as extern "C" fn() -> _ as *mut c_void)
}

extern "C" fn announce_dlmopen(
    _namespace: i64,
    path: *const u8,
    flags: c_int,
    _: u64,
    sp: u64,
    bp: u64,
) -> *mut c_void {
    tell_dlopen(path, flags, Caller { sp, bp });
    go_on(number::DLMOPEN, find_nothing as extern "C" fn() -> _ as *mut c_void)
}

fn tell_dlopen(path: *const u8, flags: c_int, at: Caller) {
    if events::is_enabled(DLOPEN) {
        let caller = events::caller(at);
        // SAFETY: as for `tell_exec`.
        unsafe { events::dlopen(path, flags, caller) };
    }
}

/// Stands in front of the target's `fork`, and is told of once it is done.
#[unsafe(no_mangle)]
unsafe extern "C" fn fork() -> c_int {
    let real = go_on(number::FORK, fail as extern "C" fn() -> _ as *mut c_void);
    // SAFETY: a symbol of this name has this type by POSIX; both processes go on with a stack of their own. What its
    // handlers allocate is the target's own.
    let child = unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(real)() };
    if child > 0 && events::is_enabled(FORK) {
        events::fork(child);
    }
    child
}

/// Called by programs that want a moment of theirs to be seen among the events: see include/memtrial.h.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memtrial_mark() {
    naked_asm!("mov rsi, rsp", "mov rdx, rbp", "jmp {work}", work = sym mark)
}

extern "C" fn mark(text: *const u8, sp: u64, bp: u64) {
    if events::is_enabled(MARK) {
        let caller = events::caller(Caller { sp, bp });
        // SAFETY: as for `tell_exec`.
        unsafe { events::mark(text, caller) };
    }
}

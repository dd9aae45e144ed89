//! Judging by its stack whether a thread may hold a lock of the loader or the allocator.

use libc::user_regs_struct;

use super::modules::{ALLOCATOR, Role};
use super::tracee::interrupted_call;

/// What the judgement needs of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub role: Role,
    /// The names of the exported function it is in, as far as they matter.
    pub names: Vec<String>,
    /// The kernel began to run a signal handler in the next frame, which this one returns to.
    pub trampoline: bool,
    /// The program or a thread begins here.
    pub beginning: bool,
}

/// Why a thread may make a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafePoint {
    /// It ran outside of libc, the loader and allocators.
    Outside,
    /// It waited in this function of libc, which holds no lock of theirs meanwhile.
    Waiting(String),
    /// It was stopped by a hardware breakpoint when it came back from libc.
    Returned,
}

/// Functions that wait, and hold no lock of the loader or the allocator at any instruction of theirs.
const WAITING: &str = "poll ppoll select pselect epoll_wait epoll_pwait epoll_pwait2 nanosleep clock_nanosleep usleep \
    sleep read pread64 readv recv recvfrom recvmsg recvmmsg write writev send sendto sendmsg accept \
    accept4 connect pause sigsuspend sigwait sigwaitinfo sigtimedwait wait waitid waitpid wait3 wait4 \
    syscall sched_yield sem_wait sem_timedwait sem_clockwait pthread_cond_wait pthread_cond_timedwait \
    pthread_cond_clockwait pthread_join pthread_timedjoin_np pthread_clockjoin_np pthread_mutex_lock \
    pthread_mutex_timedlock pthread_rwlock_rdlock pthread_rwlock_wrlock pthread_barrier_wait \
    pthread_spin_lock cnd_wait cnd_timedwait mtx_lock mtx_timedlock thrd_join thrd_sleep thrd_yield \
    flock msgrcv msgsnd open open64 openat openat64 fcntl fcntl64 ioctl fsync fdatasync sendfile sendfile64 \
    splice semop semtimedop";

/// Functions that call back into the program with no such lock held.
const CALLING_BACK: &str = "qsort qsort_r bsearch lfind lsearch twalk twalk_r ftw nftw scandir pthread_once call_once \
    __libc_start_main";

/// Functions that hold such a lock, or run while the process or a thread is half gone. With [`ALLOCATOR`].
const HOLDING: &str = "dlopen dlmopen dlclose dlsym dlvsym dladdr dladdr1 dlinfo dlerror dl_iterate_phdr \
    __libc_dlopen_mode fork _Fork vfork exit quick_exit __cxa_finalize __call_tls_dtors pthread_exit \
    thrd_exit";

/// Functions with which a thread begins.
const BEGINNING: [&str; 3] = ["clone", "__clone", "__libc_start_main"];

/// System calls that wait for something outside the process. Neither the loader nor an allocator waits in them with a lock
/// held; `futex` is not among them.
const WAITING_CALLS: [i64; 28] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_pause,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_flock,
    libc::SYS_open,
    libc::SYS_openat,
];

/// Whether a thread with these registers was stopped while it waited for something outside the process.
pub(super) fn waits_outside(registers: &user_regs_struct) -> bool {
    interrupted_call(registers).is_some_and(|number| WAITING_CALLS.contains(&number))
}

impl Step {
    fn is_any(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }

    fn is_in(&self, list: &str) -> bool {
        self.names.iter().any(|name| list.split(' ').any(|listed| listed == name))
    }

    fn name(&self) -> &str {
        self.names.iter().min_by_key(|name| (name.len(), *name)).map_or("an inner function", String::as_str)
    }
}

/// Whether the whole stack is known: it ends where a program or a thread begins.
pub(super) fn is_complete(stack: &[Step]) -> bool {
    let last = |step: &Step| {
        step.beginning || step.role == Role::Libc && (step.names.is_empty() || step.is_any(&BEGINNING))
    };
    stack.last().is_some_and(last)
}

/// What a thread with this frame anywhere on its stack is doing, if it may hold such a lock there.
pub(super) fn holding(step: &Step) -> Option<String> {
    match step.role {
        Role::Loader => Some("in the loader".to_owned()),
        Role::Allocator => Some("in an allocator".to_owned()),
        Role::Libc | Role::Program if step.is_any(&ALLOCATOR) || step.is_in(HOLDING) => {
            Some(format!("in {}", step.name()))
        }
        _ => None,
    }
}

/// Whether the thread with this stack, innermost frame first, holds no lock of the loader or an allocator; if it may, what
/// it is doing. `waits` is what [`waits_outside`] says of its registers.
pub(super) fn judge(stack: &[Step], waits: bool) -> Result<SafePoint, String> {
    if let Some(doing) = stack.iter().find_map(holding) {
        return Err(doing);
    }
    let mut found = SafePoint::Outside;
    // A signal handler interrupts code at any instruction, so that what it interrupted is judged as what runs now is.
    for (number, part) in stack.split(|step| step.trampoline).enumerate() {
        match part.first().map(|step| step.role) {
            Some(Role::Unwinder) => return Err("in the code that unwinds exceptions".to_owned()),
            Some(Role::Vdso) => return Err("in the kernel's clock functions".to_owned()),
            _ => (),
        }
        let last_part = part.last() == stack.last();
        let mut at = 0;
        for run in part.chunk_by(|one, other| (one.role == Role::Libc) == (other.role == Role::Libc)) {
            let (innermost, outermost) = (at == 0, last_part && at + run.len() == part.len());
            at += run.len();
            // The function of libc that the program called.
            let Some(called) = run.last().filter(|step| step.role == Role::Libc) else { continue };
            let harmless = called.is_in(WAITING)
                || (innermost && number == 0 && waits)
                || (!innermost && (outermost || called.is_in(CALLING_BACK)));
            if !harmless {
                return Err(format!("in {} of libc", called.name()));
            }
            if innermost && number == 0 {
                found = SafePoint::Waiting(called.name().to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(role: Role, name: &str) -> Step {
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        Step { role, names, trampoline: false, beginning: false }
    }

    fn stack(frames: &[(Role, &str)]) -> Vec<Step> {
        let outer =
            [(Role::Program, ""), (Role::Libc, ""), (Role::Libc, "__libc_start_main"), (Role::Program, "")];
        let mut steps: Vec<Step> = frames.iter().chain(&outer).map(|frame| step(frame.0, frame.1)).collect();
        if let Some(last) = steps.last_mut() {
            last.beginning = true;
        }
        steps
    }

    use Role::{Allocator, Libc, Loader, Program, Unwinder, Vdso};

    #[test]
    fn code_of_the_program_is_safe() {
        assert_eq!(judge(&stack(&[]), false), Ok(SafePoint::Outside));
        assert!(is_complete(&stack(&[])));
        let thread = [step(Program, ""), step(Libc, ""), step(Libc, "")];
        assert!(is_complete(&thread));
        assert_eq!(judge(&thread, false), Ok(SafePoint::Outside));
    }

    #[test]
    fn a_thread_that_waits_is_safe() {
        let waiting = |name: &str| Ok(SafePoint::Waiting(name.to_owned()));
        assert_eq!(judge(&stack(&[(Libc, "poll")]), false), waiting("poll"));
        assert_eq!(judge(&stack(&[(Libc, ""), (Libc, "sleep")]), false), waiting("sleep"));
        assert_eq!(judge(&stack(&[(Libc, "read"), (Libc, ""), (Libc, "fgets")]), true), waiting("fgets"));
    }

    #[test]
    fn locks_are_seen_anywhere_on_the_stack() {
        let held: [&[(Role, &str)]; 9] = [
            &[(Libc, ""), (Libc, "malloc")],
            &[(Program, ""), (Allocator, "")],
            &[(Libc, "poll"), (Program, ""), (Loader, ""), (Libc, "dlopen")],
            &[(Program, ""), (Libc, "dl_iterate_phdr")],
            &[(Libc, ""), (Libc, "malloc"), (Libc, ""), (Libc, "qsort")],
            &[(Libc, "read"), (Program, ""), (Libc, "fork")],
            &[(Program, ""), (Libc, ""), (Libc, "exit")],
            &[(Libc, "memcpy")],
            &[(Libc, "")],
        ];
        for frames in held {
            assert!(judge(&stack(frames), false).is_err(), "{frames:?}");
        }
        assert!(judge(&stack(&[(Program, ""), (Program, "malloc")]), false).is_err());
        assert!(judge(&stack(&[(Unwinder, "")]), false).is_err());
        assert!(judge(&stack(&[(Vdso, "")]), false).is_err());
    }

    #[test]
    fn a_callback_is_safe_where_no_lock_is_held() {
        assert!(judge(&stack(&[(Program, ""), (Libc, ""), (Libc, "qsort")]), false).is_ok());
        assert!(judge(&stack(&[(Program, ""), (Libc, "qsort")]), true).is_ok());
        assert!(judge(&stack(&[(Program, ""), (Libc, "fopencookie")]), true).is_err());
        // A sort is no place to stop in: it may be about to allocate.
        assert!(judge(&stack(&[(Libc, "qsort")]), false).is_err());
    }

    #[test]
    fn what_a_signal_handler_interrupted_counts() {
        let mut steps = stack(&[(Program, ""), (Libc, ""), (Libc, "malloc")]);
        steps[1].trampoline = true;
        assert!(judge(&steps, false).is_err());
        let mut steps = stack(&[(Program, ""), (Libc, ""), (Libc, "strlen")]);
        steps[1].trampoline = true;
        assert!(judge(&steps, false).is_err());
        let mut steps = stack(&[(Program, ""), (Libc, ""), (Libc, "poll")]);
        steps[1].trampoline = true;
        assert_eq!(judge(&steps, false), Ok(SafePoint::Outside));
        let mut steps = stack(&[(Program, ""), (Libc, ""), (Program, "")]);
        steps[1].trampoline = true;
        assert_eq!(judge(&steps, false), Ok(SafePoint::Outside));
    }

    #[test]
    fn a_stack_that_ends_in_the_middle_is_not_complete() {
        assert!(!is_complete(&[]));
        assert!(!is_complete(&[step(Libc, "poll"), step(Program, "")]));
        assert!(!is_complete(&[step(Libc, "poll")]));
    }
}

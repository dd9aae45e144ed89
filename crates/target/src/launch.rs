//! Starting a target: its streams, folder, environment, limits and isolation.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use memtrial_wire::layout::CONTROL_VARIABLE;

use crate::isolation::{Isolation, Prepared};
use crate::memory::SharedMemory;
use crate::{descriptors, filter};

/// A program to be started, and how.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file to run.
    pub path: PathBuf,
    /// All arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// The whole environment, without what memtrial adds.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder it runs in.
    pub folder: PathBuf,
}

/// What one run of a program gets.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The program.
    pub program: &'a Program,
    /// Its stdin, read from the start.
    pub stdin: &'a File,
    /// Its stdout.
    pub stdout: &'a File,
    /// Its stderr.
    pub stderr: &'a File,
    /// The agent and the memory it joins; `None`: the program runs without.
    pub agent: Option<(&'a Path, &'a SharedMemory)>,
    /// Folders that the run has to itself.
    pub isolation: Option<&'a Isolation>,
    /// Whether watched system calls are reported.
    pub filtered: bool,
    /// Whether its fault signals are looked at.
    pub traced: bool,
}

/// A process that waits just before it runs the program.
#[derive(Debug)]
pub struct Started {
    /// Its process id.
    pub pid: i32,
    /// The filter's listener, if one was asked for.
    pub listener: Option<OwnedFd>,
    channel: OwnedFd,
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A step before or at running the program was refused.
    #[error("{step}: {error}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

impl LaunchError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> LaunchError {
        move |error| LaunchError::Step { step, error }
    }

    /// Whether the isolation was what the kernel refused.
    #[must_use]
    pub fn is_isolation(&self) -> bool {
        matches!(self, LaunchError::Step { step, .. } if *step == STEPS[Step::Isolate as usize])
    }
}

/// The steps of the child, of which it reports the number when one fails.
#[derive(Debug, Clone, Copy)]
enum Step {
    Isolate = 0,
    Enter = 1,
    Streams = 2,
    Filter = 3,
    Run = 4,
}

const STEPS: [&str; 5] = [
    "cannot make private folders",
    "cannot enter the working folder",
    "cannot set up the streams",
    "cannot install the system call filter",
    "cannot run the program",
];

/// Everything the child needs, made before the fork: between fork and exec it must not allocate.
struct Plan<'a> {
    path: CString,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    folder: CString,
    streams: [RawFd; 3],
    isolation: Option<Prepared>,
    filter: Option<Vec<libc::sock_filter>>,
    root_pid: Option<&'a std::sync::atomic::AtomicU32>,
    _texts: Vec<CString>,
}

/// Starts a program up to the point just before it is run; [`Started::go`] lets it go on.
///
/// # Errors
/// The step that failed, and why.
pub fn start(launch: &Launch<'_>) -> Result<Started, LaunchError> {
    let at_start = LaunchError::at("cannot prepare the start");
    let plan = plan(launch).map_err(&at_start)?;
    let (ours, theirs) = socket_pair().map_err(&at_start)?;
    // SAFETY: the child calls only what is safe after a fork, and ends in exec or _exit.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(at_start(io::Error::last_os_error())),
        0 => run_child(&plan, theirs.as_raw_fd()),
        pid => pid,
    };
    drop(theirs);
    let started = receive(&ours).and_then(|(word, listener)| match word {
        READY => Ok(listener),
        failure => Err(decode(failure)),
    });
    match started {
        Ok(listener) => Ok(Started { pid, listener, channel: ours }),
        Err(error) => {
            // SAFETY: the child is ours and has ended or is about to.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            Err(error)
        }
    }
}

impl Started {
    /// Lets the child run the program.
    ///
    /// # Errors
    /// When the program can't be run.
    pub fn go(&self) -> Result<(), LaunchError> {
        let _ = descriptors::send(self.channel.as_raw_fd(), &READY.to_ne_bytes(), None);
        // The channel closes when the program runs; a word on it says that it does not.
        match receive(&self.channel) {
            Ok((failure, _)) => Err(decode(failure)),
            Err(_) => Ok(()),
        }
    }
}

/// The word that says that all is well; failures are step * 4096 + errno.
const READY: u64 = u64::MAX;

fn decode(failure: u64) -> LaunchError {
    let step = usize::try_from(failure / 4096).unwrap_or(0).min(STEPS.len() - 1);
    let error = io::Error::from_raw_os_error(i32::try_from(failure % 4096).unwrap_or(0));
    LaunchError::Step { step: STEPS[step], error }
}

fn plan<'a>(launch: &Launch<'a>) -> io::Result<Plan<'a>> {
    let text = |bytes: &OsStr| CString::new(bytes.as_bytes()).map_err(io::Error::from);
    let program = launch.program;
    let mut texts = Vec::new();
    let mut pointers = |list: Vec<CString>| {
        let mut pointers: Vec<*const libc::c_char> = list.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        texts.extend(list);
        pointers
    };
    let arguments = pointers(program.arguments.iter().map(|a| text(a)).collect::<io::Result<_>>()?);
    let environment = environment(program, launch.agent);
    let environment = pointers(environment.iter().map(|variable| text(variable)).collect::<io::Result<_>>()?);
    Ok(Plan {
        path: text(program.path.as_os_str())?,
        arguments,
        environment,
        folder: text(program.folder.as_os_str())?,
        streams: [launch.stdin.as_raw_fd(), launch.stdout.as_raw_fd(), launch.stderr.as_raw_fd()],
        isolation: launch.isolation.map(Isolation::prepare).transpose()?,
        filter: launch.filtered.then(filter::program),
        root_pid: launch.agent.map(|(_, memory)| &memory.control().root_pid),
        _texts: texts,
    })
}

/// The environment as `NAME=value`, the agent's variables last.
fn environment(program: &Program, agent: Option<(&Path, &SharedMemory)>) -> Vec<OsString> {
    let assign = |name: &OsStr, value: &OsStr| {
        let mut text = name.to_owned();
        text.push("=");
        text.push(value);
        text
    };
    let preload = OsStr::new("LD_PRELOAD");
    let mut list: Vec<OsString> = program
        .environment
        .iter()
        .filter(|(name, _)| agent.is_none() || (name != preload && name != CONTROL_VARIABLE))
        .map(|(name, value)| assign(name, value))
        .collect();
    if let Some((library, memory)) = agent {
        let mut libraries = library.as_os_str().to_owned();
        if let Some((_, theirs)) =
            program.environment.iter().find(|(name, value)| name == preload && !value.is_empty())
        {
            libraries.push(":");
            libraries.push(theirs);
        }
        list.push(assign(preload, &libraries));
        list.push(assign(OsStr::new(CONTROL_VARIABLE), memory.path().as_os_str()));
    }
    list
}

/// In the forked child: everything up to exec.
fn run_child(plan: &Plan<'_>, channel: RawFd) -> ! {
    let failed = match set_up(plan, channel) {
        Err(failed) => failed,
        Ok(()) => {
            // SAFETY: null-terminated arrays of NUL-terminated texts that the plan keeps alive.
            unsafe { libc::execve(plan.path.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr()) };
            (Step::Run, io::Error::last_os_error())
        }
    };
    let errno = u64::from(failed.1.raw_os_error().unwrap_or(0).cast_unsigned());
    let _ = descriptors::send(channel, &(failed.0 as u64 * 4096 + errno).to_ne_bytes(), None);
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

fn set_up(plan: &Plan<'_>, channel: RawFd) -> Result<(), (Step, io::Error)> {
    let ok =
        |step: Step, result: i32| if result < 0 { Err((step, io::Error::last_os_error())) } else { Ok(()) };
    // SAFETY: plain system calls on our own descriptors and on texts that the plan keeps alive.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        if let Some(isolation) = &plan.isolation {
            isolation.enter().map_err(|error| (Step::Isolate, error))?;
        }
        ok(Step::Enter, libc::chdir(plan.folder.as_ptr()))?;
        for (number, &stream) in (0..).zip(&plan.streams) {
            ok(Step::Streams, libc::dup2(stream, number))?;
        }
        // All else that the controller has open is closed at exec; this is for what it inherited itself.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        // The same addresses in every run make runs comparable.
        libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let none = crate::keeper::signal_set(&[]);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if let Some(root_pid) = plan.root_pid {
            root_pid.store(libc::getpid().cast_unsigned(), Ordering::Release);
        }
    }
    let listener = match &plan.filter {
        Some(program) => Some(install(program).map_err(|error| (Step::Filter, error))?),
        None => None,
    };
    let _ = descriptors::send(channel, &READY.to_ne_bytes(), listener);
    let mut word = [0u8; 8];
    // SAFETY: the buffer lives; the channel is ours. If the controller has gone, so has this process.
    unsafe { libc::recv(channel, word.as_mut_ptr().cast(), 8, 0) };
    Ok(())
}

/// Installs a filter for this process and all its children; returns its listener.
fn install(program: &[libc::sock_filter]) -> io::Result<RawFd> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    const NEW_LISTENER: libc::c_uint = 8;
    let length = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program lives through the call, which copies it.
    let fd = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, NEW_LISTENER, &raw const program)
    };
    RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)
}

fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `pair` has room for both.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just opened, and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) })
}

/// Receives a word and perhaps a descriptor; an error when the other end is closed.
fn receive(channel: &OwnedFd) -> Result<(u64, Option<OwnedFd>), LaunchError> {
    let mut word = [0u8; 8];
    match descriptors::receive(channel, &mut word) {
        Ok((8, descriptor)) => Ok((u64::from_ne_bytes(word), descriptor)),
        _ => {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the process ended at once");
            Err(LaunchError::at("cannot prepare the start")(error))
        }
    }
}

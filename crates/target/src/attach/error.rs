//! Why a process could not be entered, redirected or stopped.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a process could not be entered, redirected or stopped.
#[derive(Debug, Error)]
pub enum AttachError {
    /// No such process, or it has ended, or runs another program now.
    #[error("process {0} has ended, or runs another program now")]
    Gone(i32),
    /// This user may not attach to it.
    #[error("cannot attach to process {pid}: {why}")]
    Forbidden {
        /// The process.
        pid: i32,
        /// What keeps it from being traced, as far as it can be told.
        why: String,
    },
    /// A debugger, or another memtrial, is attached to it; only one can be.
    #[error("process {pid} is traced by process {by} already")]
    AlreadyTraced {
        /// The process.
        pid: i32,
        /// Who traces it.
        by: i32,
    },
    /// A stop signal holds it (SIGSTOP, or a terminal's): no thread of it would let go of a lock.
    #[error("process {0} is stopped by a signal; SIGCONT lets it go on")]
    Suspended(i32),
    /// No thread was met in a place where it holds no lock of the loader or the allocator.
    #[error("no thread of process {pid} came to a safe point in {tries} looks: {doing}")]
    NoSafePoint {
        /// The process.
        pid: i32,
        /// How often a thread was looked at.
        tries: u32,
        /// What the threads were doing, the most frequent first.
        doing: String,
    },
    /// The loader of the target did not take the library.
    #[error("process {pid} did not load {}: {why}", .library.display())]
    Refused {
        /// The process.
        pid: i32,
        /// The library.
        library: PathBuf,
        /// What its `dlerror` said.
        why: String,
    },
    /// The library is not in the process.
    #[error("{} is not loaded in process {pid}", .library.display())]
    NotLoaded {
        /// The process.
        pid: i32,
        /// The library.
        library: PathBuf,
    },
    /// Libraries of this name that were loaded before have stayed in the process. Each takes some of the little room that its
    /// loader keeps for thread-local variables, and the rest is left to the program.
    #[error(
        "process {pid} holds {copies} copies of {} already, as many as may be: only a new start gets rid of them",
        .library.file_name().unwrap_or_default().display()
    )]
    TooMany {
        /// The process.
        pid: i32,
        /// The library.
        library: PathBuf,
        /// How many there are.
        copies: usize,
    },
    /// A module does not export a function that is needed.
    #[error("{} does not export {function}", .library.display())]
    NoFunction {
        /// The module.
        library: PathBuf,
        /// The function.
        function: String,
    },
    /// It is linked statically: there is no loader in it that could load a library.
    #[error("process {0} is linked statically, so nothing can be loaded into it")]
    NotDynamic(i32),
    /// Its C library is not glibc.
    #[error("process {0} does not use glibc")]
    NotGlibc(i32),
    /// The target has another view of the file system, and the library is not in it.
    #[error("process {pid} sees other files, and {} is not among them", .library.display())]
    OtherNamespace {
        /// The process.
        pid: i32,
        /// The library.
        library: PathBuf,
    },
    /// Its program is not for 64-bit x86.
    #[error("the program of process {0} is not for x86-64")]
    OtherArchitecture(i32),
    /// A function called in the target met a fault signal; the registers of the thread are as before the call, but
    /// what the function had done until then stays done.
    #[error("{function} met signal {signal} at {address:#x} in process {pid}")]
    Fault {
        /// The process.
        pid: i32,
        /// What was called.
        function: String,
        /// The signal.
        signal: i32,
        /// Where the thread was, in the target.
        address: u64,
    },
    /// A function called in the target did not come back in time. The thread goes on where it was before the call; locks
    /// that the function had taken by then stay taken.
    #[error("{function} did not come back in time in process {pid}")]
    Late {
        /// The process.
        pid: i32,
        /// What was called.
        function: String,
    },
    /// A thread did not stop: it waits in the kernel for something that no signal ends, such as a disk, or a child
    /// made by `vfork`.
    #[error("thread {tid} of process {pid} does not stop: it waits inside the kernel")]
    Unstoppable {
        /// The process.
        pid: i32,
        /// The thread.
        tid: i32,
    },
    /// Something else.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl AttachError {
    /// For `map_err`: a system call failed that was made for `what`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> AttachError {
        move |source| AttachError::Io { what: what.into(), source }
    }
}

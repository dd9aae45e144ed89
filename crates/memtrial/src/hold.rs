//! `memtrial hold`: a process that does nothing, so that `memtrial stress` can load an allocator by itself.

use memtrial_target::processes;

use crate::exit::ExitStatus;
use crate::failure::Failure;

/// What the kernel is to call the process.
const NAME: &str = "memtrial-hold";

/// Sleeps until it is killed, or the process that started it has ended.
pub fn run() -> Result<ExitStatus, Failure> {
    processes::end_with_parent();
    // The agent's threads are told by their names, and one of them has that of this program. Without the file, it is
    // only found out later that they have ended.
    let _ = std::fs::write("/proc/self/comm", NAME);
    loop {
        std::thread::park();
    }
}

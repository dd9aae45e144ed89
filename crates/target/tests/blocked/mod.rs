//! Waiting until a process has nothing to do.

use std::fs;
use std::time::{Duration, Instant};

/// Far beyond what anything takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Waits until the first thread of a process sleeps in a system call that anything may end, and not for a disk.
///
/// # Panics
/// When that does not come.
pub fn wait_until_blocked(pid: i32) {
    let begun = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state stands behind the name, which may have anything in it (proc(5)).
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "process {pid} does not block: {stat}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

//! Whether a process has come to rest: it takes no CPU time any more.

use std::fs;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;

/// Between two looks.
const APART: Duration = Duration::from_millis(2);
/// A process that is at work all the time never comes to rest: then this must do.
const MOST: Duration = Duration::from_millis(60);

/// Waits until no thread of the process `pid` has run between two looks 2 ms apart, at most for 60 ms, or until
/// `interrupt` asks to stop.
pub fn come_to_rest(pid: i32, interrupt: &Interrupt) {
    let begun = Instant::now();
    let mut before = time_run(pid);
    while begun.elapsed() < MOST && !interrupt.sleep(APART) {
        let now = time_run(pid);
        if now == before {
            return;
        }
        before = now;
    }
}

/// Nanoseconds that each thread has run for, and how often it was given a CPU (`/proc/PID/task/TID/schedstat`).
fn time_run(pid: i32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("schedstat")).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_sleeps_is_at_rest_and_one_that_is_gone_too() {
        let interrupt = Interrupt::new().unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        come_to_rest(child.id().cast_signed(), &interrupt);
        child.kill().unwrap();
        child.wait().unwrap();
        come_to_rest(child.id().cast_signed(), &interrupt);
        assert!(time_run(std::process::id().cast_signed()).iter().any(|thread| !thread.is_empty()));
    }
}

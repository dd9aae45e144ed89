//! A command run with the agent in it and nothing else of memtrial: every allocation is recorded, none is failed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;

use memtrial_target::memory::{Setup, SharedMemory};
use memtrial_wire::layout::{CONTROL_VARIABLE, mode};

use super::executable::built;
use super::processes::wait_for;

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// What a shell does with `line` in `folder`.
#[must_use]
pub fn alone(line: &str, folder: &Path) -> Done {
    run(shell(line, folder))
}

/// The same with the agent in the shell and in all that it starts; and how many allocations they made, in how many
/// programs. `memory` is a path for what the agent writes.
///
/// # Panics
/// When there is no room for that.
#[must_use]
pub fn with_agent(line: &str, folder: &Path, memory: PathBuf) -> (Done, u64, u32) {
    let all = ["*".to_owned()];
    let setup = Setup { follow: &all, ..Setup::of(mode::CENSUS) };
    let memory = SharedMemory::create(&memory, &setup).expect("there is room for the agent's memory");
    let mut command = shell(line, folder);
    command.env("LD_PRELOAD", &built().agent).env(CONTROL_VARIABLE, memory.path());
    let done = run(command);
    let control = memory.control();
    (done, control.allocations.load(Ordering::Relaxed), control.images.load(Ordering::Relaxed))
}

fn shell(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).current_dir(folder);
    // What varies from user to user, and from shell to shell, is left out.
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C").env("HOME", folder);
    command
}

fn run(mut command: Command) -> Done {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let waiting = thread::spawn(move || child.wait_with_output());
    wait_for(&format!("the end of {command:?} (process {pid})"), || waiting.is_finished().then_some(()));
    let output = waiting.join().expect("the thread only waits").expect("it is our child");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Done { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

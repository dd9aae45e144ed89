//! Runs a program with the agent following every block from the start, as in one long round: for benchmarks.
//!
//! ```text
//! follow AGENT BYTES COMMAND [ARGUMENT…]
//! ```
//!
//! AGENT is the agent's library; BYTES is 0 to follow every block, else the mean distance of a sample. What was seen
//! goes to stderr as a line of JSON: blocks alive at the exit are not counted, for that would cost time of its own.

use std::ffi::OsString;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::Ordering;

use memtrial_target::memory::{Setup, SharedMemory};
use memtrial_wire::layout::{CONTROL_VARIABLE, mode};

const USAGE: &str = "usage: follow AGENT BYTES COMMAND [ARGUMENT...]";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [agent, sample, command @ ..] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(sample) = sample.to_str().and_then(|bytes| bytes.parse().ok()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match follow(agent, sample, command) {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125)),
        Err(error) => {
            eprintln!("follow: {error}");
            ExitCode::from(125)
        }
    }
}

fn follow(agent: &OsString, sample: u64, command: &[OsString]) -> std::io::Result<ExitStatus> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(std::io::Error::other(USAGE));
    };
    let path = std::env::temp_dir().join(format!("memtrial-follow-{}", std::process::id()));
    let mut memory = SharedMemory::create(&path, &Setup::of(mode::FOLLOW))?;
    memory.set_sample(sample);
    memory.control().round.store(1, Ordering::Release);
    let status =
        Command::new(program).args(arguments).env("LD_PRELOAD", agent).env(CONTROL_VARIABLE, &path).status();
    std::fs::remove_file(&path)?;
    let control = memory.control();
    let counted: u64 = memory.sites().iter().map(|site| site.count).sum();
    let count = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
    eprintln!(
        "{{\"followed\": {counted}, \"sites\": {}, \"dropped\": {}, \"freed_unknown\": {}, \"cut\": {}}}",
        count(&control.sites_used),
        count(&control.lost),
        count(&control.freed_unknown),
        count(&control.cut),
    );
    status
}

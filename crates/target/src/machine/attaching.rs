//! Getting into processes that run.

use std::fs::File;
use std::io;
use std::time::Duration;

use memtrial_wire::layout::{REAL_FUNCTIONS, mode};

use super::rights::{Capability, has, in_first_namespace, not_root, setting};
use super::{Machine, Tried};
use crate::attach::{self, AttachError, Entered};
use crate::observe;
use crate::processes;

/// How long is waited for a moment in which the agent can get in.
const PATIENCE: Duration = Duration::from_secs(20);

impl Machine<'_> {
    /// Loads the agent into a running process of this user.
    #[must_use]
    pub fn own_processes(&self) -> Tried {
        let entered = self.enter();
        match entered {
            Ok(entered) if entered.value == 0 => Tried::yes(format!(
                "ptrace; it stood still for {:.1} ms",
                entered.stopped.as_secs_f64() * 1e3
            )),
            Ok(entered) => Tried::no(attach::refused(entered.value), None),
            Err(Refusal { why, how }) => Tried::no(why, how),
        }
    }

    /// Reads the memory figures of a running process of this user.
    #[must_use]
    pub fn watching(&self) -> Tried {
        let file = format!("/proc/{}/smaps_rollup", self.stand_in.pid());
        match std::fs::read_to_string(&file) {
            Ok(text) if text.contains("Rss:") => Tried::yes("/proc"),
            Ok(_) => Tried::no("/proc/PID/smaps_rollup (Linux 4.14) says nothing", None),
            Err(error) => Tried::no(format!("/proc/PID/smaps_rollup: {error}"), None),
        }
    }

    fn enter(&self) -> Result<Entered, Refusal> {
        let pid = self.stand_in.pid();
        let mut memory = self.memory("entered", mode::FOLLOW)?;
        let real = attach::definitions(pid, &self.agent, REAL_FUNCTIONS)?;
        memory.set_real(real.map(Option::unwrap_or_default));
        let path = memory.path().to_string_lossy().into_owned();
        Ok(attach::enter(pid, &self.agent, "memtrial_follow", &path, PATIENCE)?)
    }
}

/// Why a process could not be entered, and what changes that.
struct Refusal {
    why: String,
    how: Option<String>,
}

impl From<AttachError> for Refusal {
    fn from(error: AttachError) -> Refusal {
        match error {
            AttachError::Forbidden { why, .. } => Refusal { why, how: allow_tracing() },
            error => Refusal { why: error.to_string(), how: None },
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal { why: error.to_string(), how: None }
    }
}

/// Looks whether processes of other users could be entered, by the right that this takes (ptrace(2), "Ptrace access mode
/// checking"), without stopping one.
#[must_use]
pub fn others_processes(command: &str) -> Tried {
    let first = observe::processes()
        .ok()
        .into_iter()
        .flatten()
        .map(|process| process.pid)
        .filter(|pid| is_foreign(*pid));
    let tried = first.map(|pid| File::open(format!("/proc/{pid}/mem")).map(drop)).next();
    match tried {
        Some(Ok(())) => Tried::yes("ptrace"),
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            let (why, how) = not_root(command);
            Tried::no(why, how)
        }
        _ if has(Capability::Ptrace) && in_first_namespace() => {
            Tried::yes("CAP_SYS_PTRACE; no such process was seen")
        }
        _ => {
            let (why, how) = not_root(command);
            Tried::no(why, how)
        }
    }
}

/// Whether a process belongs to another user, and is none of the kernel's.
fn is_foreign(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let facts = std::fs::metadata(format!("/proc/{pid}"));
    let has_memory =
        std::fs::read_to_string(format!("/proc/{pid}/statm")).is_ok_and(|sizes| !sizes.starts_with("0 "));
    // SAFETY: no arguments.
    has_memory && facts.is_ok_and(|facts| facts.uid() != unsafe { libc::geteuid() })
}

/// The setting that lets this user trace.
pub(super) fn allow_tracing() -> Option<String> {
    let scope = setting("kernel/yama/ptrace_scope").and_then(|scope| scope.parse::<u32>().ok())?;
    let helps = scope == 1 && !processes::is_root() || scope == 2;
    (helps && in_first_namespace()).then(|| "sudo sysctl kernel.yama.ptrace_scope=0".to_owned())
}

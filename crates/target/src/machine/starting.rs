//! What is done to programs that memtrial starts: loading the agent, private folders, the system call filter, tracing.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use memtrial_wire::layout::mode;

use super::rights::{in_first_namespace, setting};
use super::{Machine, Tried};
use crate::attach::AttachError;
use crate::isolation::Isolation;
use crate::launch::{self, Launch, Program, Started};
use crate::memory::{Setup, SharedMemory};
use crate::{attach, filter, preflight, processes};

/// A program that every machine has and the agent can get into: it makes allocations, and little else.
fn small_program() -> Option<PathBuf> {
    let found = preflight::examine(OsStr::new("true"), Some(OsStr::new("/usr/bin:/bin")));
    found.map(|fit| fit.program).or_else(|_| env::current_exe()).ok()
}

fn program() -> Option<Program> {
    let path = small_program()?;
    Some(Program {
        arguments: vec![path.clone().into(), "--version".into()],
        path,
        environment: Vec::new(),
        folder: PathBuf::from("/"),
    })
}

impl Machine<'_> {
    /// Loads the agent into a program that is started.
    #[must_use]
    pub fn agent(&self) -> Tried {
        match self.load_agent() {
            Ok(found) => Tried::yes(found),
            Err(why) => Tried::no(why, None),
        }
    }

    fn load_agent(&self) -> Result<String, String> {
        let memory = self.memory("loaded", mode::CENSUS).map_err(|error| error.to_string())?;
        let program = program().ok_or("there is no program to try it on")?;
        let started = self.start(&program, Some(&memory), None, false)?;
        let gone = started.go().map_err(|error| error.to_string());
        // SAFETY: it is our child; its status is not asked for.
        unsafe { libc::waitpid(started.pid, std::ptr::null_mut(), libc::__WALL) };
        gone?;
        let control = memory.control();
        let (path, place) = (program.path.display(), self.scratch.parent().unwrap_or(self.scratch).display());
        if control.no_unwinder.load(Ordering::Relaxed) != 0 {
            return Err("the C library is older than glibc 2.35".to_owned());
        }
        match control.allocations.load(Ordering::Relaxed) {
            0 => Err(format!("{path} ran without it: the loader did not load it from {place}")),
            _ => Ok(format!("into {path}, from {place}")),
        }
    }

    /// Gives a program that is started a private view of a folder.
    #[must_use]
    pub fn private_folders(&self) -> Tried {
        let covered = self.scratch.join("covered");
        let isolation = fs::create_dir_all(&covered)
            .and_then(|()| Isolation::new(std::slice::from_ref(&covered), None, &self.scratch.join("cover")));
        let tried = isolation.map_err(|error| error.to_string()).and_then(|isolation| {
            let program = program().ok_or("there is no program to try it on")?;
            self.start(&program, None, Some(&isolation), false)
        });
        match tried {
            Ok(started) => {
                end(&started);
                let by = if processes::is_root() { "mount" } else { "user and mount" };
                Tried::yes(format!("{by} namespaces, overlay"))
            }
            Err(why) => Tried::no(why, allow_namespaces()),
        }
    }

    /// Has the system calls of a program that is started reported.
    #[must_use]
    pub fn system_call_filter(&self) -> Tried {
        let tried = filter::check_support().map_err(|error| error.to_string()).and_then(|()| {
            let program = program().ok_or("there is no program to try it on")?;
            self.start(&program, None, None, true)
        });
        match tried {
            Ok(started) => {
                end(&started);
                Tried::yes("seccomp user notification")
            }
            Err(why) => Tried::no(format!("seccomp user notification (Linux 5.5): {why}"), None),
        }
    }

    /// Traces a program that is started.
    #[must_use]
    pub fn traced_children(&self) -> Tried {
        let tried =
            program().ok_or_else(|| "there is no program to try it on".to_owned()).and_then(|program| {
                let started = self.start(&program, None, None, false)?;
                let traced = attach::can_trace(started.pid);
                end(&started);
                traced.map_err(|error| match error {
                    AttachError::Forbidden { why, .. } => why,
                    error => error.to_string(),
                })
            });
        match tried {
            Ok(()) => Tried::yes("ptrace"),
            Err(why) => Tried::no(why, super::attaching::allow_tracing()),
        }
    }

    /// Memory for the agent.
    pub(super) fn memory(&self, name: &str, mode: u32) -> std::io::Result<SharedMemory> {
        SharedMemory::create(&self.scratch.join(name), &Setup::of(mode))
    }

    /// Starts a program up to the point just before it is run.
    fn start(
        &self,
        program: &Program,
        memory: Option<&SharedMemory>,
        isolation: Option<&Isolation>,
        filtered: bool,
    ) -> Result<Started, String> {
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|error| format!("/dev/null: {error}"))?;
        let launch = Launch {
            program,
            stdin: &null,
            stdout: &null,
            stderr: &null,
            agent: memory.map(|memory| (self.agent.as_path(), memory)),
            isolation,
            filtered,
            traced: false,
        };
        launch::start(&launch).map_err(|error| error.to_string())
    }
}

/// Ends a program that has not been run.
fn end(started: &Started) {
    processes::kill(started.pid);
    // SAFETY: it is our child; its status is not asked for.
    unsafe { libc::waitpid(started.pid, std::ptr::null_mut(), libc::__WALL) };
}

/// The setting that keeps this user from having namespaces of its own.
fn allow_namespaces() -> Option<String> {
    if processes::is_root() || !in_first_namespace() {
        return None;
    }
    let is = |path: &str, value: &str| setting(path).is_some_and(|now| now == value);
    if is("kernel/unprivileged_userns_clone", "0") {
        return Some("sudo sysctl kernel.unprivileged_userns_clone=1".to_owned());
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Some("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0".to_owned());
    }
    is("user/max_user_namespaces", "0").then(|| "sudo sysctl user.max_user_namespaces=10000".to_owned())
}

//! Programs, folders and control groups that memtrial makes use of.

use std::fs;
use std::path::Path;

use super::backends::{find, install};
use super::rights::not_root;
use super::{Machine, Tried};
use crate::control;
use crate::limit::{Kind, Limited};
use crate::processes;

/// What a process is limited to when that is tried, beside what it has.
const LIMIT: u64 = 1 << 30;

impl Machine<'_> {
    /// Limits the memory of a running process of this user.
    #[must_use]
    pub fn limit(&self, command: &str) -> Tried {
        let record = self.scratch.join("limit-tried");
        let limited = match Limited::apply(self.stand_in.pid(), LIMIT, &record) {
            Ok(limited) => limited,
            Err(error) => return Tried::no(error.to_string(), None),
        };
        let (kind, note) = (limited.kind(), limited.note().map(str::to_owned));
        let lifted = limited.release();
        let _ = fs::remove_file(record);
        match (lifted, kind) {
            (Err(error), _) => Tried::no(error.to_string(), None),
            (Ok(()), Kind::CgroupV1) => Tried::yes("a control group, version 1"),
            (Ok(()), Kind::CgroupV2) => Tried::yes("a control group, version 2"),
            (Ok(()), Kind::AddressSpace) => {
                let why = note.as_deref().unwrap_or("no memory controller is found");
                let how = in_own_scope(command).or_else(|| not_root(command).1);
                Tried::part(format!("the address space alone: {why}"), how)
            }
        }
    }
}

/// The command that gives a program a control group of its user's, where systemd runs for the user.
fn in_own_scope(command: &str) -> Option<String> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR")?;
    let runs = !processes::is_root() && Path::new(&folder).join("systemd/private").exists();
    let own = |group: &str| group.contains("/user@");
    let within = fs::read_to_string("/proc/self/cgroup").is_ok_and(|group| own(&group));
    (runs && !within).then(|| format!("systemd-run --user --scope {command} -- CMD"))
}

/// Binds a control socket.
#[must_use]
pub fn control_sockets() -> Tried {
    match control::try_listen() {
        Ok(folder) => Tried::yes(folder.display().to_string()),
        Err(error) => Tried::no(error.to_string(), None),
    }
}

/// Looks for a program in PATH; `packages` are its names by package manager.
#[must_use]
pub fn program(name: &str, packages: &[(&str, &str)]) -> Tried {
    match find(name) {
        Some(path) => Tried::yes(path.display().to_string()),
        None => Tried::no(format!("{name} is not in PATH"), install(packages)),
    }
}

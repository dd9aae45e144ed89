//! A control group made for one process: where it can be, what it counts, and how its processes get back out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hierarchy::{self, Mount, Version};

/// How often, and how far apart, it is tried to empty and remove a group.
const TRIES: u32 = 100;
const APART: Duration = Duration::from_millis(20);

/// A control group for one process and what that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    /// Its folder.
    pub folder: PathBuf,
    /// The folder of the group that the process comes from.
    pub home: PathBuf,
    /// Whether it is one of the unified hierarchy.
    pub unified: bool,
    /// Whether the memory controller has to be enabled for the folder that it is in.
    pub enabled: bool,
}

/// Where groups for the process `pid` may be made, those to be tried first at the beginning.
pub(super) fn places(pid: i32) -> io::Result<Vec<Group>> {
    let mounts = hierarchy::mounts(&fs::read("/proc/self/mountinfo")?);
    let memberships = fs::read(format!("/proc/{pid}/cgroup"))?;
    let name = format!("memtrial-{pid}");
    let mut groups = Vec::new();
    for version in [Version::Two, Version::One] {
        let Some(path) = hierarchy::membership(&memberships, version) else { continue };
        let fits = |mount: &&Mount| mount.version == version;
        let seen = mounts.iter().filter(fits).find_map(|mount| {
            let home = mount.folder(&path).filter(|home| home.is_dir())?;
            Some((mount, home))
        });
        let Some((mount, home)) = seen else { continue };
        let group = |parent: &Path, unified, enabled| Group {
            folder: parent.join(&name),
            home: home.clone(),
            unified,
            enabled,
        };
        match version {
            Version::One => groups.push(group(&home, false, false)),
            Version::Two => {
                if is_alone_in_scope(&home, pid) && lists(&home.join("cgroup.controllers"), "memory") {
                    groups.push(group(&home, true, true));
                }
                // A group with processes in it can't hand the controller on to groups below ("no internal processes",
                // cgroups(7)), unless it is the root: so the new group is mostly a neighbour of the process's own.
                let parents = home.ancestors().take_while(|folder| folder.starts_with(&mount.point));
                let handed_on = |folder: &&Path| lists(&folder.join("cgroup.subtree_control"), "memory");
                groups.extend(parents.filter(handed_on).map(|parent| group(parent, true, false)));
                let root = mount.point.as_path();
                let is_real_root = !root.join("cgroup.type").exists();
                if is_real_root && lists(&root.join("cgroup.controllers"), "memory") && !handed_on(&root) {
                    groups.push(group(root, true, true));
                }
            }
        }
    }
    Ok(groups)
}

/// Whether a process is the only one in a group that is there no longer than it has processes: a scope of systemd's
/// (systemd.scope(5)), as desktops and containers have. Its group must stay below it then.
fn is_alone_in_scope(home: &Path, pid: i32) -> bool {
    let processes = fs::read_to_string(home.join("cgroup.procs")).unwrap_or_default();
    home.extension().is_some_and(|kind| kind == "scope")
        && processes.split_whitespace().eq([pid.to_string().as_str()])
}

/// Whether a file lists this word.
fn lists(file: &Path, word: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|one| one == word))
}

/// The count behind a name in a file of lines as `oom_kill 3`.
fn count(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

impl Group {
    /// Makes the group, limits it to so many bytes, and moves the process there, none of whose pages move with it.
    pub fn enter(&self, pid: i32, bytes: u64) -> io::Result<()> {
        // One that somebody who was killed has left behind is empty by now, or it is somebody's.
        let _ = fs::remove_dir(&self.folder);
        fs::create_dir(&self.folder).map_err(|error| at(&self.folder, error))?;
        if !self.enabled {
            self.limit(Some(bytes))?;
        }
        write(&self.folder.join("cgroup.procs"), &pid.to_string())?;
        if let (true, Some(parent)) = (self.enabled, self.folder.parent()) {
            // It is refused as long as there are processes in the parent.
            write(&parent.join("cgroup.subtree_control"), "+memory")?;
            self.limit(Some(bytes))?;
        }
        Ok(())
    }

    /// Limits memory to so many bytes, and swap where the kernel counts it; without a number, nothing.
    fn limit(&self, bytes: Option<u64>) -> io::Result<()> {
        if self.unified {
            let max = || "max".to_owned();
            write(&self.folder.join("memory.max"), &bytes.map_or_else(max, |bytes| bytes.to_string()))?;
            self.write_if_there("memory.swap.max", &bytes.map_or_else(max, |_| "0".to_owned()))
        } else {
            let bytes = bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
            write(&self.folder.join("memory.limit_in_bytes"), &bytes)?;
            self.write_if_there("memory.memsw.limit_in_bytes", &bytes)
        }
    }

    fn write_if_there(&self, name: &str, text: &str) -> io::Result<()> {
        let file = self.folder.join(name);
        if file.exists() { write(&file, text) } else { Ok(()) }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// How often the limit was met.
    pub fn met(&self) -> u64 {
        if self.unified {
            let events = self.read("memory.events");
            return count(&events, "max") + count(&events, "oom");
        }
        // Where both limits are the same, the kernel meets that of memory and swap first, and counts only that. From
        // Linux 6.14 on neither is counted in every group: what is known then is the most it held, and who was killed.
        let number = |name: &str| self.read(name).trim().parse::<u64>().ok();
        let failures = number("memory.failcnt").unwrap_or(0) + number("memory.memsw.failcnt").unwrap_or(0);
        let most = number("memory.max_usage_in_bytes").zip(number("memory.limit_in_bytes"));
        let was_full = most.is_some_and(|(most, limit)| most >= limit);
        failures.max(self.killed()).max(u64::from(was_full))
    }

    /// How many processes the kernel has killed in it for want of memory; before Linux 4.13 it does not say.
    pub fn killed(&self) -> u64 {
        count(&self.read(if self.unified { "memory.events" } else { "memory.oom_control" }), "oom_kill")
    }

    /// Moves all that is in the group back to where the process comes from, and removes it. What can't be moved is limited
    /// no longer.
    pub fn leave(&self) -> io::Result<()> {
        if let (true, Some(parent)) = (self.enabled, self.folder.parent()) {
            // Before, as processes can't go where the controller is handed on. Refused, and rightly, where another group
            // has come to need it.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "-memory");
        }
        let mut last = Ok(());
        for _ in 0..TRIES {
            for pid in self.read("cgroup.procs").split_whitespace() {
                if !self.home.exists() {
                    // systemd removes groups that are empty.
                    let _ = fs::create_dir(&self.home);
                }
                // One that has ended meanwhile is out of it, too.
                last = write(&self.home.join("cgroup.procs"), pid);
            }
            match fs::remove_dir(&self.folder) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => last = last.and(Err(at(&self.folder, error))),
            }
            std::thread::sleep(APART);
        }
        let _ = self.limit(None);
        last
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::write(file, text).map_err(|error| at(file, error))
}

/// The error with the file that it is about.
fn at(file: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_by_their_whole_names() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(["max", "oom", "oom_kill", "none"].map(|name| count(events, name)), [12, 3, 2, 0]);
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill"), 7);
        assert_eq!(count("oom_kill x\n", "oom_kill"), 0);
    }

    #[test]
    fn a_scope_is_left_to_its_only_process() {
        let root = tempfile::tempdir().unwrap();
        let within = |name: &str, processes: &str| {
            let home = root.path().join(name);
            fs::create_dir_all(&home).unwrap();
            fs::write(home.join("cgroup.procs"), processes).unwrap();
            is_alone_in_scope(&home, 12)
        };
        assert!(within("app-1.scope", "12\n"));
        assert!(!within("app-1.scope", "12\n13\n"));
        assert!(!within("app-1.scope", "123\n"));
        assert!(!within("redis.service", "12\n"));
    }

    #[test]
    fn a_unified_group_counts_and_is_left_by_its_files() {
        // A folder that looks like the kernel's: this machine's own may have no memory controller.
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("memtrial-1");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("memory.events"), "max 4\noom 1\noom_kill 1\n").unwrap();
        let group = Group { folder, home: root.path().to_owned(), unified: true, enabled: false };
        assert_eq!((group.met(), group.killed()), (5, 1));
    }
}

//! Programs that were executed under trace, and that the agent can't be loaded into: nothing is told of what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use memtrial_events::{Hit, Value, memory};
use memtrial_target::preflight::{self, Barrier, Unfit};

/// Most programs that are looked at: what is executed is the target's to choose.
const MOST: usize = 1000;

/// The programs, as the hits of `exec` name them.
#[derive(Debug)]
pub struct Outsiders {
    /// The number of the event `exec`.
    exec: Option<usize>,
    /// The value of PATH, where names without a slash are sought.
    search: Option<OsString>,
    looked_at: BTreeSet<PathBuf>,
    barred: BTreeMap<PathBuf, Barrier>,
}

impl Outsiders {
    /// None so far.
    #[must_use]
    pub fn new() -> Outsiders {
        Outsiders {
            exec: memory().iter().position(|event| event.name == "exec"),
            search: std::env::var_os("PATH"),
            looked_at: BTreeSet::new(),
            barred: BTreeMap::new(),
        }
    }

    /// Looks at the program that a hit says is executed.
    pub fn look(&mut self, hit: &Hit) {
        let Some(Value::Text { bytes, cut: false }) = hit.values.first() else { return };
        if Some(hit.event) != self.exec || self.looked_at.len() >= MOST {
            return;
        }
        let path = of_process(hit.pid, OsStr::from_bytes(bytes));
        if !self.looked_at.insert(path.clone()) {
            return;
        }
        // What is not there was not executed either.
        if let Err(Unfit::Closed { program, barrier }) =
            preflight::examine(path.as_os_str(), self.search.as_deref())
        {
            self.barred.insert(program, barrier);
        }
    }

    /// Those that the agent can't get into, and why.
    pub fn barred(&self) -> impl ExactSizeIterator<Item = (&Path, &Barrier)> {
        self.barred.iter().map(|(program, barrier)| (program.as_path(), barrier))
    }
}

impl Default for Outsiders {
    fn default() -> Outsiders {
        Outsiders::new()
    }
}

/// A path as this process has to name it. The other one may have ended since: then its folder is taken for ours.
fn of_process(pid: u32, path: &OsStr) -> PathBuf {
    let is_relative = path.as_bytes().contains(&b'/') && !path.as_bytes().starts_with(b"/");
    let folder = is_relative.then(|| std::fs::read_link(format!("/proc/{pid}/cwd")).ok()).flatten();
    folder.map_or_else(
        || PathBuf::from(OsString::from_vec(path.as_bytes().to_vec())),
        |folder| folder.join(path),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executed(path: &str) -> Hit {
        let event = memory().iter().position(|event| event.name == "exec").unwrap();
        let values = vec![Value::Text { bytes: path.as_bytes().to_vec(), cut: false }];
        Hit { event, time: 0, pid: std::process::id(), tid: 0, values, stack: None }
    }

    #[test]
    fn what_the_agent_gets_into_or_is_not_there_is_none() {
        let mut outsiders = Outsiders::new();
        for path in ["/bin/sh", "sh", "/nowhere", "nothing-of-that-name", "", "./nothing", "/etc/passwd"] {
            outsiders.look(&executed(path));
        }
        outsiders.look(&Hit { event: 0, ..executed("/bin/sh") });
        assert_eq!(outsiders.barred().len(), 0);
        assert_eq!(outsiders.looked_at.len(), 7);
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, script) = (folder.path().join("fifo"), folder.path().join("script"));
        assert!(
            std::process::Command::new("mkfifo").args(["-m", "755"]).arg(&fifo).status().unwrap().success()
        );
        std::fs::write(&script, format!("#!{}\n", fifo.display())).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut outsiders = Outsiders::new();
        for path in [&fifo, &script] {
            outsiders.look(&executed(&path.display().to_string()));
        }
        assert_eq!(outsiders.barred().len(), 0);
    }

    #[test]
    fn a_relative_path_is_that_of_the_process() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(of_process(std::process::id(), OsStr::new("./a")), here.join("./a"));
        assert_eq!(of_process(std::process::id(), OsStr::new("sh")), Path::new("sh"));
        assert_eq!(of_process(u32::MAX, OsStr::new("./a")), Path::new("./a"));
    }
}

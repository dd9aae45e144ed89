//! The processes of this machine.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::action;
use super::glance::Kept;
use super::place::{ActionEnd, Area, Identity, ObserveError, Place, Reading};
use super::procfs::{self, Stat};
use crate::interrupt::Interrupt;

/// This machine.
#[derive(Debug)]
pub struct Here {
    interrupt: Interrupt,
    kept: HashMap<Identity, Kept>,
    /// Processes that actions left behind and that became children of this one: theirs is to be heard of when they end.
    orphans: Vec<i32>,
}

impl Here {
    /// This machine; actions are ended when `interrupt` asks to stop. What they leave behind and becomes a child of this
    /// process (see [`crate::processes::adopt_orphans`]) is waited for once it has ended.
    #[must_use]
    pub fn new(interrupt: Interrupt) -> Here {
        Here { interrupt, kept: HashMap::new(), orphans: Vec::new() }
    }

    /// Reads something of a process, which must be the same before and after.
    fn about<T>(
        &mut self,
        process: &Identity,
        read: impl FnOnce(&mut Here, &Stat) -> io::Result<T>,
    ) -> Result<T, ObserveError> {
        check(process, stat_of(process.pid)?)?;
        let before = stat_of(process.pid)?;
        let result = read(self, &before);
        // An error of a process that ended or was replaced meanwhile is about that.
        check(process, stat_of(process.pid)?)?;
        result.map_err(|error| failure(process, error))
    }
}

impl Place for Here {
    fn host(&self) -> Option<&str> {
        None
    }

    fn identity(&mut self, pid: i32) -> Result<Identity, ObserveError> {
        identified(stat_of(pid)?)
    }

    fn named(&mut self, name: &str) -> Result<Vec<Identity>, ObserveError> {
        reap(&mut self.orphans);
        let all = processes()?;
        let ours = fs::metadata("/proc/self/exe").map(|facts| (facts.dev(), facts.ino())).ok();
        let me = std::process::id().cast_signed();
        let wanted = |stat: &&Stat| !stat.has_ended() && stat.pid != me && has_name(stat, name);
        // The keeper, and whatever else of memtrial there is, runs the same file.
        let is_ours = |stat: &Stat| {
            let file =
                fs::metadata(format!("/proc/{}/exe", stat.pid)).map(|facts| (facts.dev(), facts.ino()));
            ours.is_some() && file.ok() == ours
        };
        let found = all.iter().filter(wanted).filter(|stat| !is_ours(stat));
        found.map(|stat| identified(stat.clone())).collect()
    }

    fn tree(&mut self, pid: i32) -> Result<Vec<Identity>, ObserveError> {
        identified(stat_of(pid)?)?;
        let all = processes()?;
        let mut family: Vec<Stat> = procfs::below(&all, pid).into_iter().cloned().collect();
        family.retain(|stat| !stat.has_ended());
        family.sort_unstable_by_key(|stat| stat.pid);
        if family.is_empty() {
            return Err(ObserveError::Gone(pid));
        }
        family.into_iter().map(identified).collect()
    }

    fn reading(&mut self, process: &Identity) -> Result<Reading, ObserveError> {
        self.about(process, |_, stat| full_reading(stat))
    }

    fn glance(&mut self, process: &Identity) -> Result<Reading, ObserveError> {
        let reading = self.about(process, |here, stat| {
            let counters = procfs::counters(&fs::read(format!("/proc/{}/status", stat.pid))?);
            if let (Some(kept), Some(counters)) = (here.kept.get(process), counters)
                && !kept.is_due()
            {
                return Ok(Reading {
                    mappings: mappings(stat.pid)?,
                    threads: stat.threads,
                    descriptors: descriptors(stat.pid)?,
                    ..kept.changed_by(counters)
                });
            }
            let (reading, kept) = Kept::of(counters, || full_reading(stat))?;
            here.kept.insert(process.clone(), kept);
            Ok(reading)
        });
        if reading.is_err() {
            self.kept.remove(process);
        }
        reading
    }

    fn areas(&mut self, process: &Identity) -> Result<Vec<Area>, ObserveError> {
        self.about(process, |_, stat| Ok(procfs::areas(&fs::read(format!("/proc/{}/smaps", stat.pid))?)))
    }

    fn run(&mut self, command: &str, limit: Duration) -> Result<(ActionEnd, String), ObserveError> {
        reap(&mut self.orphans);
        let ran = action::run(command, limit, &self.interrupt);
        self.orphans.extend(ran.orphans);
        reap(&mut self.orphans);
        Ok((ran.end, ran.printed))
    }
}

fn full_reading(stat: &Stat) -> io::Result<Reading> {
    let pid = stat.pid;
    let text = match fs::read(format!("/proc/{pid}/smaps_rollup")) {
        // Before Linux 4.14 there is none.
        Err(error) if error.kind() == ErrorKind::NotFound => fs::read(format!("/proc/{pid}/smaps"))?,
        other => other?,
    };
    let figures = procfs::figures(&text).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(Reading { mappings: mappings(pid)?, threads: stat.threads, descriptors: descriptors(pid)?, ..figures })
}

fn mappings(pid: i32) -> io::Result<u64> {
    let text = fs::read(format!("/proc/{pid}/maps"))?;
    Ok(text.iter().map(|&byte| u64::from(byte == b'\n')).sum())
}

/// Counts descriptors: from Linux 6.2 on the folder's size is their number.
fn descriptors(pid: i32) -> io::Result<u64> {
    let folder = format!("/proc/{pid}/fd");
    match fs::metadata(&folder)?.len() {
        0 => Ok(fs::read_dir(&folder)?.count() as u64),
        number => Ok(number),
    }
}

/// What `/proc/PID/stat` says now.
pub(crate) fn stat_of(pid: i32) -> Result<Stat, ObserveError> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read(&path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => ObserveError::Gone(pid),
        _ => ObserveError::Io { what: format!("cannot read {path}"), error },
    })?;
    procfs::stat(&text).ok_or_else(|| ObserveError::Io {
        what: format!("cannot understand {path}"),
        error: io::Error::from(ErrorKind::InvalidData),
    })
}

/// All processes, by pid.
pub(crate) fn processes() -> Result<Vec<Stat>, ObserveError> {
    let entries = fs::read_dir("/proc")
        .map_err(|error| ObserveError::Io { what: "cannot list /proc".to_owned(), error })?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut all: Vec<Stat> = pids.filter_map(|pid| stat_of(pid).ok()).collect();
    all.sort_unstable_by_key(|stat| stat.pid);
    Ok(all)
}

/// Whether a process is called so, by the kernel, by its executable, or by itself.
fn has_name(stat: &Stat, name: &str) -> bool {
    let executable = || fs::read_link(format!("/proc/{}/exe", stat.pid)).unwrap_or_default();
    let is_executable = |path: &Path| procfs::file_name(&path.to_string_lossy()) == name;
    stat.name == name
        || is_executable(&executable())
        || fs::read(format!("/proc/{}/cmdline", stat.pid)).is_ok_and(|t| procfs::first_argument(&t) == name)
}

/// The identity of a process that has not ended.
pub(super) fn identified(stat: Stat) -> Result<Identity, ObserveError> {
    if stat.has_ended() {
        return Err(ObserveError::Gone(stat.pid));
    }
    Ok(Identity { pid: stat.pid, started: stat.started, name: stat.name })
}

/// Whether this is still the process meant. Its name it may change.
pub(super) fn check(process: &Identity, now: Stat) -> Result<(), ObserveError> {
    if now.started != process.started {
        return Err(ObserveError::Replaced(process.pid));
    }
    identified(now).map(drop)
}

/// Whether this is a thread of the kernel: all of them are children of `kthreadd`, which has pid 2.
fn is_of_kernel(pid: i32) -> bool {
    pid == 2 || crate::processes::parent_of(pid) == Some(2)
}

/// What it means that something of a process, which is there, could not be read.
pub(super) fn failure(process: &Identity, error: io::Error) -> ObserveError {
    let pid = process.pid;
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => ObserveError::Forbidden { pid, error },
        // It is there, but is giving up its memory on its way to its end; threads of the kernel never had any.
        Some(libc::ESRCH) if !is_of_kernel(pid) => ObserveError::Gone(pid),
        Some(libc::ESRCH) => ObserveError::Io {
            what: format!("cannot read what process {pid} ({}) holds", process.name),
            error: io::Error::new(
                ErrorKind::Unsupported,
                "it has no memory of its own: a thread of the kernel",
            ),
        },
        _ => ObserveError::Io { what: format!("cannot read /proc/{pid}"), error },
    }
}

/// Takes note of the end of those of `orphans` that have ended, and forgets them.
fn reap(orphans: &mut Vec<i32>) {
    orphans.retain(|&pid| {
        // SAFETY: no status is asked for. A child's pid is nobody else's until it is reaped, which only this does.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) == 0 }
    });
}

#[cfg(test)]
#[path = "here_tests.rs"]
mod tests;

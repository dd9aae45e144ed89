//! Where memory events can be sent to, and the clock that they are timed by.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::Tried;
use super::rights::in_first_namespace;
use crate::processes;

/// Where the kernel's trace buffer is to be found, in the order that it is sought.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Whether the kernel's trace buffer takes lines from this user.
#[must_use]
pub fn trace_marker() -> Tried {
    if let Some(path) =
        TRACEFS.map(|folder| Path::new(folder).join("trace_marker")).into_iter().find(|path| opens(path))
    {
        return Tried::yes(path.display().to_string());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    match mounted(&mounts) {
        Some(folder) => {
            let how = (!processes::is_root() && in_first_namespace()).then(|| {
                format!("sudo mount -o remount,mode=0755 {folder} && sudo chmod a+w {folder}/trace_marker")
            });
            Tried::no(format!("{folder}/trace_marker can't be written by this user"), how)
        }
        None => {
            let folder = TRACEFS[0];
            let how = (Path::new(folder).is_dir() && in_first_namespace()).then(|| match processes::is_root() {
                true => format!("mount -t tracefs nodev {folder}"),
                false => format!(
                    "sudo mount -t tracefs -o mode=0755 nodev {folder} && sudo chmod a+w {folder}/trace_marker"
                ),
            });
            let why = match how {
                Some(_) => "tracefs is not mounted",
                None => "this kernel has no tracefs (CONFIG_FTRACE), or it is not shown here",
            };
            Tried::no(why, how)
        }
    }
}

fn opens(path: &Path) -> bool {
    OpenOptions::new().write(true).open(path).is_ok()
}

/// Where tracefs is mounted, by the lines of `/proc/self/mounts`.
fn mounted(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let folder = words.next()?;
        (words.next() == Some("tracefs")).then(|| folder.to_owned())
    })
}

/// Whether somebody takes messages for the system's log.
#[must_use]
pub fn syslog() -> Tried {
    let path = "/dev/log";
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    match connected {
        Ok(()) => Tried::yes(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Tried::no(format!("{path} is not there: no system log runs"), None)
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Tried::no(format!("nobody listens at {path}"), None)
        }
        Err(error) => Tried::no(format!("{path}: {error}"), None),
    }
}

/// Whether LTTng's library for programs is installed.
#[must_use]
pub fn lttng() -> Tried {
    let names = ["liblttng-ust.so.1", "liblttng-ust.so.0"];
    let folders = [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
    ];
    let places =
        || folders.iter().flat_map(|folder| names.iter().map(move |name| Path::new(folder).join(name)));
    match places().find(|path| path.exists()) {
        Some(path) => Tried::yes(path.display().to_string()),
        None => Tried::no(
            "liblttng-ust is not installed",
            install(&[("apt-get", "liblttng-ust1"), ("dnf", "lttng-ust")]),
        ),
    }
}

/// The command that installs a package, by the package manager that is here.
pub(super) fn install(packages: &[(&str, &str)]) -> Option<String> {
    let (manager, package) = packages.iter().find(|(manager, _)| find(manager).is_some())?;
    Some(format!("sudo {manager} install {package}"))
}

/// A program of this name in PATH.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let runs = |path: &PathBuf| {
        // SAFETY: the text is NUL-terminated.
        let may = |text: CString| unsafe { libc::access(text.as_ptr(), libc::X_OK) } == 0;
        path.is_file() && CString::new(path.as_os_str().as_bytes()).is_ok_and(may)
    };
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(runs)
}

/// By what events are timed.
#[must_use]
pub fn clock() -> Tried {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = fs::read_to_string(path).unwrap_or_default();
    match source.trim() {
        "tsc" => Tried::yes("the processor's time stamp counter"),
        "" => {
            Tried::part(format!("{path} can't be read: the kernel is asked for the time of each event"), None)
        }
        other => Tried::part(
            format!(
                "the clock is {other}, not the processor's time stamp counter: the kernel is asked for the time of each event"
            ),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracefs_is_found_by_its_kind() {
        let mounts = "tracefs /elsewhere tmpfs rw 0 0\nnodev /sys/kernel/tracing tracefs rw 0 0\n";
        assert_eq!(mounted(mounts).as_deref(), Some("/sys/kernel/tracing"));
        assert_eq!(mounted("proc /proc proc rw 0 0\n"), None);
        assert_eq!(mounted("x"), None);
    }

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(find("sh").is_some() && find("no-such-program").is_none());
    }
}

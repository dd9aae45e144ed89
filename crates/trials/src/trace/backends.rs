//! Where the agent sends memory events besides: what the user names, and whether it is there.

use std::fs::OpenOptions;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use memtrial_wire::tracing::backend;

use crate::stress::allocators;

/// Where syslog listens.
const SYSLOG: &str = "/dev/log";
/// Where tracefs is mounted unless it is mounted elsewhere.
const TRACEFS: &str = "/sys/kernel/tracing";
/// How the file name of LTTng's library begins.
const UST: &[&str] = &["liblttng-ust.so."];

/// The backends that are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backends {
    /// Bits of [`backend`].
    pub bits: u32,
    /// File of the log; `None`: the target's stderr.
    pub log: Option<PathBuf>,
    /// The recording that is to be kept.
    pub recording: Option<PathBuf>,
    /// The kernel's file for lines in its trace buffer.
    pub marker: Option<PathBuf>,
    /// LTTng's library, to be loaded with the target.
    pub library: Option<PathBuf>,
}

/// Why a backend can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackendError {
    /// There is none of this name, or it needs another argument.
    #[error("there is no backend {0}")]
    Unknown(String),
    /// This machine lacks something.
    #[error("backend {name}: {why}")]
    Missing {
        /// The backend.
        name: &'static str,
        /// What it lacks.
        why: String,
        /// The command that helps.
        help: String,
    },
}

impl Backends {
    /// Reads the names that the user gave. Paths are made absolute, for the target may run elsewhere.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]
    pub fn parse(words: &[String]) -> Result<Backends, BackendError> {
        let mut backends = Backends::default();
        for word in words {
            let unknown = || BackendError::Unknown(word.clone());
            let (name, file) = word.split_once('=').map_or((word.as_str(), None), |(n, f)| (n, Some(f)));
            let absolute = |file: &str| std::path::absolute(file).map_err(|_| unknown());
            backends.bits |= match (name, file) {
                ("log", file) => {
                    backends.log = file.map(absolute).transpose()?;
                    backend::LOG
                }
                ("simple", Some(file)) => {
                    backends.recording = Some(absolute(file)?);
                    backend::SIMPLE
                }
                ("syslog", None) => backend::SYSLOG,
                ("ftrace", None) => backend::FTRACE,
                ("ust", None) => backend::UST,
                _ => return Err(unknown()),
            };
        }
        Ok(backends)
    }

    /// Finds what they need. A log is begun anew.
    ///
    /// # Errors
    /// [`BackendError::Missing`]
    pub fn find(&mut self) -> Result<(), BackendError> {
        if let Some(log) = &self.log {
            begin_log(log)?;
        }
        if self.bits & backend::SYSLOG != 0 {
            check_syslog(Path::new(SYSLOG))?;
        }
        if self.bits & backend::FTRACE != 0 {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            self.marker = Some(marker(&mounts)?);
        }
        if self.bits & backend::UST != 0 {
            let library = allocators::newest(&allocators::loaders_cache(), UST).ok_or_else(|| {
                BackendError::Missing {
                    name: "ust",
                    why: "LTTng's library is not installed".to_owned(),
                    help: "install it: apt-get install liblttng-ust1".to_owned(),
                }
            })?;
            self.library = Some(library);
        }
        Ok(())
    }
}

fn begin_log(log: &Path) -> Result<(), BackendError> {
    // In place, for it may be a pipe or a device.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).open(log);
    opened.map(drop).map_err(|error| BackendError::Missing {
        name: "log",
        why: format!("{}: {error}", log.display()),
        help: "name a file that can be written".to_owned(),
    })
}

fn check_syslog(socket: &Path) -> Result<(), BackendError> {
    let listens = std::fs::metadata(socket).is_ok_and(|facts| facts.file_type().is_socket());
    listens.then_some(()).ok_or_else(|| BackendError::Missing {
        name: "syslog",
        why: format!("nobody listens at {}", socket.display()),
        help: "start a syslog daemon, as rsyslogd or systemd-journald".to_owned(),
    })
}

/// The file that lines are written to, by what is mounted.
fn marker(mounts: &str) -> Result<PathBuf, BackendError> {
    let missing = |why: String, help: String| BackendError::Missing { name: "ftrace", why, help };
    let folder = tracefs(mounts).ok_or_else(|| {
        missing("tracefs is not mounted".to_owned(), format!("mount it: mount -t tracefs nodev {TRACEFS}"))
    })?;
    let marker = folder.join("trace_marker");
    match OpenOptions::new().write(true).open(&marker) {
        Ok(_) => Ok(marker),
        Err(error) => {
            let (shown, folder) = (marker.display(), folder.display());
            let help = format!("let this user write to it: chmod o+x {folder} && chmod o+w {shown}");
            Err(missing(format!("{shown}: {error}"), help))
        }
    }
}

/// Where tracefs is mounted, by `/proc/mounts` (proc(5)).
fn tracefs(mounts: &str) -> Option<PathBuf> {
    let place = |line: &str| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "tracefs").then(|| PathBuf::from(place.replace("\\040", " ")))
    };
    mounts.lines().find_map(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Backends, BackendError> {
        Backends::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn several_backends_are_named_at_once() {
        let backends = parse(&["log=/l", "simple=/s", "syslog", "ftrace", "ust"]).unwrap();
        assert_eq!(backends.bits, 31);
        assert_eq!((backends.log, backends.recording), (Some("/l".into()), Some("/s".into())));
        assert_eq!(parse(&["log"]).unwrap(), Backends { bits: backend::LOG, ..Backends::default() });
        assert!(parse(&["log=x"]).unwrap().log.unwrap().is_absolute());
        assert_eq!(parse(&[]).unwrap(), Backends::default());
    }

    #[test]
    fn what_is_no_backend_is_refused() {
        for word in ["", "simple", "simple=", "log=", "syslog=x", "dtrace", "LOG"] {
            assert_eq!(parse(&[word]), Err(BackendError::Unknown(word.to_owned())));
        }
    }

    #[test]
    fn what_a_backend_lacks_is_named_with_the_command_that_helps() {
        let error = marker("proc /proc proc rw 0 0\n").unwrap_err();
        let BackendError::Missing { help, .. } = error else { panic!("{error}") };
        assert_eq!(help, "mount it: mount -t tracefs nodev /sys/kernel/tracing");
        let error = marker("nodev /no\\040where tracefs rw 0 0\n").unwrap_err();
        assert!(error.to_string().contains("/no where/trace_marker"), "{error}");
        assert!(check_syslog(Path::new("/proc/self/exe")).is_err());
        assert!(begin_log(Path::new("/nowhere/at/all")).is_err());
    }
}

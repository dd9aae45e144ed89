//! Programs that log their events instead of having static probes for them.

use std::path::{Path, PathBuf};

/// How the file names of such programs begin, how they are told to log events, and where these are described.
const KNOWN: [(&str, &str, &str); 1] = [("qemu-", "--trace PATTERN", "/usr/share/qemu/trace-events-all")];

/// A program that logs its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// The options that make it.
    pub options: &'static str,
    /// The file with the names and formats of the events, if it is installed.
    pub described: Option<PathBuf>,
}

/// What is known of the program in the file `path`.
#[must_use]
pub fn of(path: &Path) -> Option<Logging> {
    let name = path.file_name()?.to_str()?;
    let (_, options, described) = KNOWN.iter().find(|(start, ..)| name.starts_with(start))?;
    let described = Some(PathBuf::from(described)).filter(|path| path.is_file());
    Some(Logging { options, described })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_log_does() {
        for name in ["/usr/bin/qemu-storage-daemon", "/usr/bin/qemu-system-x86_64"] {
            assert_eq!(of(Path::new(name)).map(|logging| logging.options), Some("--trace PATTERN"));
        }
        for name in ["/usr/sbin/sshd", "/", ""] {
            assert_eq!(of(Path::new(name)), None);
        }
    }
}

//! Before anything runs: finds the program, and says if the agent can't get into it.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use memtrial_symbols::elf::{self, ElfError, Machine};

/// Why a program can't be tried.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is no such program.
    #[error("{0}: no such program, neither as a path nor in PATH")]
    NotFound(String),
    /// It may not be run.
    #[error("{}: not executable", .0.display())]
    NotExecutable(PathBuf),
    /// It can't be read as an ELF file.
    #[error(transparent)]
    Unreadable(#[from] ElfError),
    /// A script whose interpreter is not there.
    #[error("{}: its interpreter {} is not there", .script.display(), .interpreter.display())]
    NoInterpreter {
        /// The script.
        script: PathBuf,
        /// What its first line names.
        interpreter: PathBuf,
    },
    /// The agent can't get in.
    #[error("{}: {}", .program.display(), .barrier)]
    Closed {
        /// The program.
        program: PathBuf,
        /// Why.
        barrier: Barrier,
    },
}

/// What keeps the agent out of a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Barrier {
    /// No dynamic loader, so nothing is preloaded.
    #[error("statically linked, so the agent can't be loaded into it")]
    Static,
    /// The loader ignores preloads in programs that change their user.
    #[error("setuid, setgid or with file capabilities, so the loader refuses the agent")]
    Privileged,
    /// Built for another machine.
    #[error("built for another architecture ({0}); the agent is for x86-64")]
    Architecture(String),
    /// It brings an allocator of its own.
    #[error("its own allocator is linked in ({0}), so the agent would not see its allocations")]
    OwnAllocator(String),
    /// A C library that the agent does not know.
    #[error("uses the loader {0}; the agent is for glibc")]
    Loader(String),
}

/// A program that the agent can get into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The file that the user named, found in PATH.
    pub program: PathBuf,
    /// The ELF file that runs: the program, or the interpreter of the script.
    pub executable: PathBuf,
}

/// Finds `name` as a shell does, and checks that the agent can get into it.
///
/// # Errors
/// The reason why not.
pub fn examine(name: &OsStr, search: Option<&OsStr>) -> Result<Fit, Unfit> {
    let program = find(name, search)?;
    let mut executable = program.clone();
    // The kernel follows this many interpreters.
    for _ in 0..5 {
        check_executable(&executable)?;
        let Some(interpreter) = interpreter_of(&executable) else { break };
        if !interpreter.exists() {
            return Err(Unfit::NoInterpreter { script: executable, interpreter });
        }
        executable = interpreter;
    }
    match barrier(&executable)? {
        Some(barrier) => Err(Unfit::Closed { program: executable, barrier }),
        None => Ok(Fit { program, executable }),
    }
}

/// Finds `name` as a shell does: as a path if there is a slash in it, else in `search`, the value of PATH.
///
/// # Errors
/// When there is no such file.
pub fn find(name: &OsStr, search: Option<&OsStr>) -> Result<PathBuf, Unfit> {
    let missing = || Unfit::NotFound(name.to_string_lossy().into_owned());
    if name.as_bytes().contains(&b'/') {
        let path = std::path::absolute(name).map_err(|_| missing())?;
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let candidates = std::env::split_paths(search.unwrap_or_default()).map(|folder| folder.join(name));
    let runnable = |path: &PathBuf| fs::metadata(path).is_ok_and(|f| f.is_file() && f.mode() & 0o111 != 0);
    let found = candidates.into_iter().find(runnable).ok_or_else(missing)?;
    std::path::absolute(found).map_err(|_| missing())
}

fn check_executable(path: &Path) -> Result<(), Unfit> {
    match fs::metadata(path) {
        // Whoever opens a FIFO waits for a writer.
        Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o111 != 0 => Ok(()),
        _ => Err(Unfit::NotExecutable(path.to_owned())),
    }
}

/// What the first line of a script names.
#[must_use]
pub fn interpreter_of(path: &Path) -> Option<PathBuf> {
    let mut start = [0u8; 256];
    let length = fs::File::open(path).ok()?.read(&mut start).ok()?;
    let line = start[..length].strip_prefix(b"#!")?.split(|&c| c == b'\n').next()?;
    let name = line.trim_ascii().split(|c| c.is_ascii_whitespace()).next().filter(|name| !name.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

fn barrier(path: &Path) -> Result<Option<Barrier>, Unfit> {
    if is_privileged(path) {
        return Ok(Some(Barrier::Privileged));
    }
    let facts = elf::inspect(path)?;
    Ok(match (&facts.machine, &facts.interpreter) {
        (Machine::Other(machine), _) => Some(Barrier::Architecture(machine.clone())),
        (Machine::X86_64, _) if !facts.class64 => Some(Barrier::Architecture("x32".to_owned())),
        (Machine::X86_64, None) => Some(Barrier::Static),
        (Machine::X86_64, Some(loader)) if loader.to_string_lossy().contains("musl") => {
            Some(Barrier::Loader(loader.display().to_string()))
        }
        _ => facts.own_allocator.map(Barrier::OwnAllocator),
    })
}

/// Whether running it changes who the process is, so that the kernel marks it as secure (`AT_SECURE`).
fn is_privileged(path: &Path) -> bool {
    let Ok(facts) = fs::metadata(path) else { return false };
    // SAFETY: no arguments.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let changes_user = facts.mode() & libc::S_ISUID != 0 && facts.uid() != user;
    let changes_group =
        facts.mode() & libc::S_ISGID != 0 && facts.mode() & 0o010 != 0 && facts.gid() != group;
    changes_user || changes_group || (user != 0 && has_capabilities(path))
}

fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    let name = c"security.capability";
    // SAFETY: NUL-terminated texts; with no buffer the call only tells the length.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examine_in_path(name: &str) -> Result<Fit, Unfit> {
        examine(OsStr::new(name), Some(OsStr::new("/usr/bin:/bin")))
    }

    #[test]
    fn a_program_is_found_in_the_path() {
        assert!(examine_in_path("true").unwrap().program.ends_with("bin/true"));
    }

    #[test]
    fn a_missing_program_is_named() {
        assert!(matches!(examine_in_path("no-such-program"), Err(Unfit::NotFound(_))));
        assert!(matches!(examine_in_path("./no-such-program"), Err(Unfit::NotFound(_))));
    }

    #[test]
    fn a_script_is_tried_by_its_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#! /bin/sh -e\ntrue\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(examine(script.as_os_str(), None).unwrap().executable, Path::new("/bin/sh"));
        fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        assert!(matches!(examine(script.as_os_str(), None), Err(Unfit::NoInterpreter { .. })));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        fs::write(&text, "hello").unwrap();
        assert!(matches!(examine(text.as_os_str(), None), Err(Unfit::NotExecutable(_))));
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(examine(text.as_os_str(), None), Err(Unfit::Unreadable(_))));
    }
}

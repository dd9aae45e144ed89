//! Loads without a target: the libraries of allocators, and a process for each of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use memtrial_symbols::allocator::{Allocators, Kind};
use memtrial_target::launch::Program;

use super::options::Options;
use super::trial::StressError;
use crate::census::AGENT_FILE;

/// Allocators by name, how the file names of their libraries begin, best first, and Debian's package.
const KNOWN: [(&str, &[&str], &str); 3] = [
    ("jemalloc", &["libjemalloc.so."], "libjemalloc2"),
    ("tcmalloc", &["libtcmalloc.so.", "libtcmalloc_minimal.so."], "libtcmalloc-minimal4"),
    ("mimalloc", &["libmimalloc.so."], "libmimalloc2.0"),
];

/// The allocator that is there without a library.
const GLIBC: &str = "glibc";

/// Where the lister of the loader's cache is, for users whose PATH does not have it.
const LDCONFIG: [&str; 3] = ["/sbin/ldconfig", "/usr/sbin/ldconfig", "ldconfig"];

/// The library of an allocator that is named, or the path of which is given; `None` for glibc's.
///
/// # Errors
/// When there is none; says which package has it.
pub fn library(allocator: &str) -> Result<Option<PathBuf>, StressError> {
    if allocator == GLIBC {
        return Ok(None);
    }
    let missing = |why: String| StressError::Allocator { name: allocator.to_owned(), why };
    let Some((_, starts, package)) = KNOWN.iter().find(|(name, ..)| *name == allocator) else {
        let path = std::path::absolute(allocator).map_err(|error| missing(error.to_string()))?;
        if !path.is_file() {
            return Err(missing("there is no such file, nor an allocator of that name".to_owned()));
        }
        // The loader takes spaces and colons in LD_PRELOAD for the ends of names.
        if path.to_string_lossy().contains([' ', ':']) {
            return Err(missing("the loader can't take a path with spaces or colons".to_owned()));
        }
        return Ok(Some(path));
    };
    let found = newest(&loaders_cache(), starts);
    found.map(Some).ok_or_else(|| missing(format!("it is not installed; Debian's package is {package}")))
}

/// What the lister of the loader's cache prints; empty if there is none.
pub(crate) fn loaders_cache() -> String {
    let list = LDCONFIG.iter().find_map(|program| Command::new(program).arg("-p").output().ok());
    list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The library with the highest version of those whose names begin so, by what `ldconfig -p` prints; of several
/// beginnings the first that has any.
pub(crate) fn newest(list: &str, starts: &[&str]) -> Option<PathBuf> {
    let entries: Vec<(&str, &str)> = list.lines().filter_map(entry).collect();
    starts.iter().find_map(|start| {
        let version = |name: &str| name.strip_prefix(start)?.split('.').next()?.parse::<u32>().ok();
        let all = entries.iter().filter_map(|(name, path)| Some((version(name)?, path)));
        all.max_by_key(|(version, _)| *version).map(|(_, path)| PathBuf::from(path))
    })
}

/// Name and path of a line as `libc.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/libc.so.6`, if it is for this
/// machine's programs.
pub(crate) fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.trim().split_once(" (")?;
    let (kind, path) = rest.split_once(") => ")?;
    let machine = if cfg!(target_arch = "x86_64") { "x86-64" } else { "AArch64" };
    let fits = kind.split(',').any(|word| word.trim() == machine);
    (fits && path.starts_with('/')).then_some((name, path))
}

/// The process that is loaded: memtrial itself, asleep, with the library in front of all others.
///
/// # Errors
/// When memtrial does not know where it is itself.
pub fn holder(options: &Options, library: Option<&Path>) -> Result<Program, StressError> {
    let myself = std::env::current_exe()
        .map_err(|error| StressError::Io { what: "cannot find memtrial itself".to_owned(), error })?;
    let theirs = options.environment.iter().filter(|(name, _)| name != "LD_PRELOAD");
    let mut environment: Vec<(OsString, OsString)> =
        theirs.map(|(name, value)| (name.into(), value.into())).collect();
    environment.extend(library.map(|path| ("LD_PRELOAD".into(), path.into())));
    let arguments = ["memtrial", "hold"].map(OsString::from).to_vec();
    Ok(Program { path: myself, arguments, environment, folder: options.folder.clone() })
}

/// Sees that the process `pid` uses the allocator that was wanted; the file name of it.
///
/// # Errors
/// When it uses another one.
pub fn in_use(pid: i32, name: &str, library: Option<&Path>) -> Result<String, StressError> {
    let wrong = |why: String| StressError::Allocator { name: name.to_owned(), why };
    let all = Allocators::of_process_behind(pid, Some(AGENT_FILE.as_ref()));
    let all = all.map_err(|error| wrong(error.to_string()))?;
    let Some(used) = all.effective.and_then(|number| all.found.get(number)) else {
        return Err(wrong("no allocator was found in the process".to_owned()));
    };
    let fits = match library {
        None => used.kind == Kind::Glibc,
        Some(path) => path.canonicalize().ok() == used.module.canonicalize().ok(),
    };
    if fits {
        return Ok(used.module.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    Err(wrong(format!("the process uses {} instead", used.module.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::testing::options;
    use proptest::prelude::*;

    const LIST: &str = "\
7 libs found in cache `/etc/ld.so.cache'
	libtcmalloc_minimal_debug.so.4 (libc6,x86-64) => /lib/debug.so.4
	libtcmalloc_minimal.so.4 (libc6,x86-64) => /lib/minimal.so.4
	libmimalloc.so.2 (libc6,x86-64) => /lib/libmimalloc.so.2
	libmimalloc.so.10 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/libmimalloc.so.10
	libmimalloc.so.11 (libc6) => /lib32/libmimalloc.so.11
	libmimalloc.so (libc6,x86-64) => /lib/libmimalloc.so
Cache generated by: ldconfig (Debian GLIBC 2.36-9) stable release version 2.36
";

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_newest_library_of_an_allocator_is_found_in_the_loaders_cache() {
        let found = |name: &str| {
            let (_, starts, _) = KNOWN.iter().find(|(known, ..)| *known == name).unwrap();
            newest(LIST, starts)
        };
        assert_eq!(found("mimalloc"), Some("/lib/libmimalloc.so.10".into()));
        assert_eq!(found("tcmalloc"), Some("/lib/minimal.so.4".into()));
        assert_eq!(found("jemalloc"), None);
    }

    #[test]
    fn what_is_no_allocator_is_said_to_be_none() {
        assert_eq!(library("glibc").unwrap(), None);
        assert!(library("no-such-allocator").unwrap_err().to_string().contains("no-such-allocator"));
        assert_eq!(library("/proc/self/exe").unwrap(), Some("/proc/self/exe".into()));
    }

    #[test]
    fn only_the_wanted_library_is_loaded_in_front() {
        let environment =
            vec![("LD_PRELOAD".to_owned(), "/x.so".to_owned()), ("A".to_owned(), "1".to_owned())];
        let options = Options { environment, ..options() };
        let preload = |library: Option<&Path>| {
            let program = holder(&options, library).unwrap();
            let all = program.environment.into_iter().filter(|(name, _)| name == "LD_PRELOAD");
            all.map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert!(preload(None).is_empty());
        assert_eq!(preload(Some(Path::new("/y.so"))), ["/y.so"]);
    }

    #[test]
    fn this_process_uses_its_own_allocator_and_no_other() {
        let me = std::process::id().cast_signed();
        assert!(in_use(me, "glibc", None).unwrap().starts_with("libc"));
        assert!(in_use(me, "x", Some(Path::new("/proc/self/exe"))).is_err());
    }

    proptest! {
        #[test]
        fn any_list_is_survived(text in "(\t?[a-z.0-9]{0,9} ?\\(?(x86-64)?,?\\)? ?(=>)? ?/?[a-z.]{0,5}\n){0,8}") {
            let _ = newest(&text, &["lib", ""]);
        }
    }
}

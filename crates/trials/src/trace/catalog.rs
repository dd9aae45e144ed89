//! The static probes that are there: those of one file, or of all files that a process has loaded.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memtrial_events::Selection;
use memtrial_symbols::elf::ElfError;
use memtrial_symbols::probes::{self, Probe};
use memtrial_symbols::remote::{Mapping, parse_maps};
use memtrial_target::preflight;

use crate::stress::allocators;

/// Why nothing could be looked up.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such program or library.
    #[error(
        "{0}: no such program or library, neither as a path, nor in PATH, nor among the loader's libraries"
    )]
    NotFound(String),
    /// It is run by another program, which may have probes.
    #[error("{} is a script, which {} runs; scripts have no static probes", .script.display(), .interpreter.display())]
    Script {
        /// The script.
        script: PathBuf,
        /// What its first line names.
        interpreter: PathBuf,
    },
    /// It can't be read as an ELF file.
    #[error(transparent)]
    Unreadable(#[from] ElfError),
    /// The process has ended, or there never was one.
    #[error("there is no process {0}")]
    Gone(i32),
    /// The process may not be looked into.
    #[error("cannot see what process {pid} has loaded: {source}")]
    Process {
        /// The process.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
}

/// The static probes of one or more files.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The files that have some, or damage where some might be.
    pub modules: Vec<Module>,
    /// Files that could not be read, and why; in words.
    pub unread: Vec<String>,
}

/// The static probes of one file.
#[derive(Debug)]
pub struct Module {
    /// The file, as the process has it that loaded it.
    pub path: PathBuf,
    /// Where it can be opened from here; the same, or beneath `/proc/PID`.
    pub file: PathBuf,
    /// Those that are selected.
    pub probes: Vec<Probe>,
    /// All, as `provider:name`.
    pub names: Vec<String>,
    /// What could not be read of it, in words.
    pub damage: Vec<String>,
}

impl Catalog {
    /// Whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.iter().all(|module| module.probes.is_empty())
    }

    /// All that there are, selected or not, as `provider:name`, by module.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().flat_map(|module| &module.names).map(String::as_str)
    }
}

/// The file that `name` means: a path if there is a slash in it; else a program in PATH; else a library of the loader's,
/// as `libvirt.so.0` or `libvirt`. Symbolic links are resolved.
///
/// # Errors
/// When there is none, or it is a script.
pub fn file(name: &Path) -> Result<PathBuf, CatalogError> {
    let search = std::env::var_os("PATH");
    let found = preflight::find(name.as_os_str(), search.as_deref()).ok().or_else(|| library(name));
    let found = found.ok_or_else(|| CatalogError::NotFound(name.display().to_string()))?;
    if let Some(interpreter) = preflight::interpreter_of(&found) {
        return Err(CatalogError::Script { script: found, interpreter });
    }
    // The links of /proc lead into other file systems than their texts say.
    if found.starts_with("/proc") {
        return Ok(found);
    }
    Ok(found.canonicalize().unwrap_or(found))
}

/// The library `name` of the loader's cache, or the newest of those called `name.so.N`.
fn library(name: &Path) -> Option<PathBuf> {
    let name = name.to_str().filter(|name| !name.contains('/'))?;
    let cache = allocators::loaders_cache();
    let exact = cache.lines().filter_map(allocators::entry).find(|(known, _)| *known == name);
    let exact = exact.map(|(_, path)| PathBuf::from(path));
    exact.or_else(|| allocators::newest(&cache, &[&format!("{name}."), &format!("{name}.so.")]))
}

/// The static probes of the file at `path`.
///
/// # Errors
/// When it can't be read as an ELF file.
pub fn of_file(path: &Path, selection: &Selection) -> Result<Catalog, CatalogError> {
    let module = module(path.to_owned(), path.to_owned(), selection)?;
    Ok(Catalog { modules: vec![module], unread: Vec::new() })
}

/// The static probes of all files that the process `pid` has loaded as code.
///
/// # Errors
/// When the process is gone, or may not be looked into. Files that can't be read are told in [`Catalog::unread`].
pub fn of_process(pid: i32, selection: &Selection) -> Result<Catalog, CatalogError> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let text = fs::read(proc.join("maps")).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CatalogError::Gone(pid),
        // A process that is ending still has a folder.
        _ if source.raw_os_error() == Some(ESRCH) => CatalogError::Gone(pid),
        _ => CatalogError::Process { pid, source },
    })?;
    let (mut catalog, mut seen) = (Catalog::default(), HashSet::new());
    for mapping in parse_maps(&String::from_utf8_lossy(&text)) {
        if !mapping.executable || !mapping.path.is_absolute() || !seen.insert(mapping.path.clone()) {
            continue;
        }
        match module(mapping.path.clone(), openable(&proc, &mapping), selection) {
            Ok(module) if module.names.is_empty() && module.damage.is_empty() => {}
            Ok(module) => catalog.modules.push(module),
            // Code that is made at run time is in files, too.
            Err(ElfError::NotElf { .. }) => {}
            Err(error) => catalog.unread.push(error.to_string()),
        }
    }
    Ok(catalog)
}

/// No such process.
const ESRCH: i32 = 3;

fn module(path: PathBuf, file: PathBuf, selection: &Selection) -> Result<Module, ElfError> {
    let found = probes::read(&file)?;
    let names = found.probes.iter().map(|probe| format!("{}:{}", probe.provider, probe.name)).collect();
    let mut probes = found.probes;
    probes.retain(|probe| selection.selects(&probe.provider, &probe.name));
    Ok(Module { path, file, probes, names, damage: found.damage })
}

/// Where the file of a mapping can be opened from here: by its name in the process's file system, unless another file has
/// that name by now; then by the mapping itself, for which the kernel wants `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE`.
fn openable(proc: &Path, mapping: &Mapping) -> PathBuf {
    let name = mapping.path.as_os_str().as_bytes();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let named = proc.join("root").join(OsStr::from_bytes(name.strip_prefix(b"/").unwrap_or(name)));
    let mapped = proc.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end));
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    match (identity(&named), identity(&mapped)) {
        (Some(named_file), Some(mapped_file)) if named_file == mapped_file => named,
        (_, Some(_)) => mapped,
        // Its program can be opened by who may not open mappings.
        (_, None) if fs::read_link(proc.join("exe")).is_ok_and(|exe| exe == mapping.path) => proc.join("exe"),
        (_, None) if mapping.is_deleted() => mapped,
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_libraries_are_found_by_name() {
        assert_eq!(file(Path::new("sh")).unwrap(), Path::new("/bin/sh").canonicalize().unwrap());
        for name in ["libc.so.6", "libc"] {
            let found = file(Path::new(name)).unwrap();
            assert!(found.is_absolute() && found.to_string_lossy().contains("libc"), "{}", found.display());
        }
        assert_eq!(file(Path::new("/proc/self/exe")).unwrap(), Path::new("/proc/self/exe"));
        for name in ["", "no-such-program", "./sh", "/nonexistent/sh", "/"] {
            assert!(matches!(file(Path::new(name)), Err(CatalogError::NotFound(_))), "{name}");
        }
    }

    #[test]
    fn a_process_has_the_probes_of_its_libraries() {
        let own = std::process::id().cast_signed();
        let catalog = of_process(own, &Selection::default()).unwrap();
        assert!(catalog.unread.is_empty(), "{:?}", catalog.unread);
        assert!(matches!(of_process(i32::MAX, &Selection::default()), Err(CatalogError::Gone(_))));
    }
}

//! Calls of the allocator redirected to the agent in a running process, and put back.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use memtrial_symbols::allocator::Kind;
use memtrial_symbols::remote::{Mapping, parse_maps};
use memtrial_target::attach::{AttachError, Slots};
use memtrial_wire::layout::{ANNOUNCED, REAL_FUNCTIONS};

use crate::census::AGENT_FILE;

/// How the files in the scratch folder begin in which redirected calls are kept, for whoever has to put them back.
const KEPT_SLOTS: &str = "slots-";

/// The functions that calls are redirected from, and those of the agent's that they go to.
const CALLS: [(&str, &str); 15] = [
    ("malloc", "malloc"),
    ("calloc", "calloc"),
    ("realloc", "realloc"),
    ("reallocarray", "reallocarray"),
    ("free", "free"),
    ("posix_memalign", "posix_memalign"),
    ("aligned_alloc", "aligned_alloc"),
    ("memalign", "memalign"),
    ("valloc", "valloc"),
    ("pvalloc", "pvalloc"),
    ("mmap", "mmap"),
    ("mmap64", "mmap64"),
    ("munmap", "munmap"),
    ("mremap", "mremap"),
    ("dlclose", "dlclose"),
];

/// C++'s operators, where an allocator brings its own, which call no `malloc`.
const OPERATORS: [(&str, &str); 8] = [
    ("_Znwm", "memtrial_operator_new"),
    ("_Znam", "memtrial_operator_new"),
    ("_ZnwmRKSt9nothrow_t", "malloc"),
    ("_ZnamRKSt9nothrow_t", "malloc"),
    ("_ZdlPv", "free"),
    ("_ZdaPv", "free"),
    ("_ZdlPvm", "free"),
    ("_ZdaPvm", "free"),
];

/// Redirects all calls of the allocator to the agent, the library that was loaded at `base`. They are kept in the scratch
/// folder.
///
/// # Errors
/// When the process can't be stopped, or its slots can't be written.
pub fn all(pid: i32, agent: &Path, base: u64, kind: Kind, scratch: &Path) -> Result<Slots, AttachError> {
    install(pid, agent, base, kind, scratch, CALLS.to_vec())
}

/// The same, with calls that make processes and threads, execute programs and load libraries.
///
/// # Errors
/// As for [`all`].
pub fn announced(
    pid: i32,
    agent: &Path,
    base: u64,
    kind: Kind,
    scratch: &Path,
) -> Result<Slots, AttachError> {
    let announced = REAL_FUNCTIONS.into_iter().skip(ANNOUNCED).map(|name| (name, name));
    install(pid, agent, base, kind, scratch, CALLS.into_iter().chain(announced).collect())
}

fn install(
    pid: i32,
    agent: &Path,
    base: u64,
    kind: Kind,
    scratch: &Path,
    mut calls: Vec<(&'static str, &'static str)>,
) -> Result<Slots, AttachError> {
    if kind != Kind::Glibc {
        calls.extend(OPERATORS);
    }
    let slots = Slots::install(pid, agent, base, &calls)?;
    keep(&slots, pid, scratch);
    Ok(slots)
}

/// Redirects C++'s operators in a process that the agent was loaded with; `None` if the agent is not there.
///
/// # Errors
/// As for [`all`].
pub fn operators(pid: i32, agent: &Path) -> Result<Option<Slots>, AttachError> {
    let Some(base) = base_of(pid, agent) else { return Ok(None) };
    Slots::install(pid, agent, base, &OPERATORS).map(Some)
}

/// Where the agent's library is loaded in a process: it is linked at address 0.
#[must_use]
pub fn base_of(pid: i32, agent: &Path) -> Option<u64> {
    first_mapping(pid, |mapping| mapping.path == agent)
}

/// Whether the agent's library is loaded at `base` in a process.
#[must_use]
pub fn is_at(pid: i32, base: u64) -> bool {
    let name = Some(OsStr::new(AGENT_FILE));
    first_mapping(pid, |mapping| mapping.start == base && mapping.file_name() == name).is_some()
}

fn first_mapping(pid: i32, is_it: impl Fn(&Mapping) -> bool) -> Option<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let first = parse_maps(&maps).into_iter().find(|mapping| mapping.offset == 0 && is_it(mapping));
    first.map(|mapping| mapping.start)
}

/// Keeps what was redirected, so that it can be put back should this process be killed.
pub fn keep(slots: &Slots, pid: i32, scratch: &Path) {
    // Without it the calls go on through the agent, which is a pity, but no harm.
    let _ = slots.keep(&kept(pid, scratch));
}

/// Forgets what was kept.
pub fn forget(pid: i32, scratch: &Path) {
    let _ = std::fs::remove_file(kept(pid, scratch));
}

fn kept(pid: i32, scratch: &Path) -> PathBuf {
    scratch.join(format!("{KEPT_SLOTS}{pid}"))
}

/// Puts back all calls that are kept in the scratch folder of a run that was killed; returns in which processes, and the
/// agent's library there, with what the loader added to its addresses.
pub fn put_back(scratch: &Path) -> Vec<(i32, PathBuf, u64)> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(KEPT_SLOTS)
            && let Some(slots) = Slots::kept(&entry.path())
        {
            let (library, base) = slots.library();
            processes.push((slots.pid(), library.to_path_buf(), base));
            let _ = slots.remove();
        }
    }
    processes
}

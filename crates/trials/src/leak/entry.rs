//! Ways to the blocks of a process: the agent loaded into it, calls redirected to the agent, and probes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use memtrial_symbols::allocator::{Allocator, Allocators, Kind};
use memtrial_symbols::remote::parse_maps;
use memtrial_target::attach::{self, Slots};
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::Identity;
use memtrial_target::uprobes::Uprobes;
use memtrial_wire::layout::{REAL_FUNCTIONS, refusal};

use super::trial::Lab;

/// How long is waited for a moment in which the agent can get in.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How the files in the scratch folder begin in which redirected calls are kept, for whoever has to put them back.
pub const KEPT_SLOTS: &str = "slots-";

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

/// Redirects C++'s operators in a process that the agent was loaded with.
pub fn operators(pid: i32, lab: &Lab, notes: &mut Vec<String>) -> Option<Slots> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let first =
        parse_maps(&maps).into_iter().find(|mapping| mapping.path == lab.agent && mapping.offset == 0);
    // The agent's library is linked at address 0.
    let installed = Slots::install(pid, &lab.agent, first?.start, &OPERATORS);
    installed.map_err(|error| notes.push(format!("operator new could not be followed: {error}"))).ok()
}

/// Loads the agent into a running process.
///
/// # Errors
/// Why there is no way in, as a sentence.
pub fn attach(
    identity: &Identity,
    lab: &Lab,
    sample: u64,
    allocator: &Allocator,
) -> Result<(SharedMemory, Slots, Duration), String> {
    let pid = identity.pid;
    if allocator.linked_in || !allocator.exported || !allocator.plain {
        return Err(format!("the allocator is linked into {}", allocator.module.display()));
    }
    let mut memory =
        super::locate::memory(lab, &format!("pid-{pid}"), sample).map_err(|error| error.to_string())?;
    let real = attach::definitions(pid, &lab.agent, REAL_FUNCTIONS).map_err(|error| error.to_string())?;
    memory.set_real(real.map(Option::unwrap_or_default));
    give_access(pid, lab, memory.path()).map_err(|error| error.to_string())?;
    let path = memory.path().to_string_lossy().into_owned();
    let entered = attach::enter(pid, &lab.agent, "memtrial_follow", &path, PATIENCE)
        .map_err(|error| format!("the agent could not get into {} (pid {pid}): {error}", identity.name))?;
    if entered.value != 0 {
        return Err(format!(
            "the agent can't work in {} (pid {pid}): {}",
            identity.name,
            refused(entered.value)
        ));
    }
    let mut calls = CALLS.to_vec();
    if allocator.kind != Kind::Glibc {
        calls.extend(OPERATORS);
    }
    let slots = Slots::install(pid, &lab.agent, entered.base, &calls)
        .map_err(|error| format!("calls of {} (pid {pid}) can't be redirected: {error}", identity.name))?;
    keep(&slots, pid, lab);
    let stopped = entered.stopped.max(slots.stopped());
    Ok((memory, slots, stopped))
}

/// Keeps what was redirected, so that it can be put back should this process be killed.
pub fn keep(slots: &Slots, pid: i32, lab: &Lab) {
    // Without it the calls go on through the agent, which is a pity, but no harm.
    let _ = slots.keep(&lab.scratch.path().join(format!("{KEPT_SLOTS}{pid}")));
}

fn refused(value: u64) -> &'static str {
    match value {
        refusal::NO_CONTROL => "it can't open its memory there",
        refusal::NO_UNWINDER => "the C library is older than glibc 2.35",
        refusal::NO_MEMORY => "there is no room for its table",
        refusal::NO_ALLOCATOR => "it finds no allocator",
        _ => "for a reason it does not tell",
    }
}

/// Lets the target's user at the agent and its memory, if that is another user.
fn give_access(pid: i32, lab: &Lab, control: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let theirs = std::fs::metadata(format!("/proc/{pid}"))?;
    let ours = std::fs::metadata(lab.scratch.path())?;
    if theirs.uid() != ours.uid() {
        std::os::unix::fs::chown(control, Some(theirs.uid()), Some(theirs.gid()))?;
        std::fs::set_permissions(lab.scratch.path(), std::fs::Permissions::from_mode(0o711))?;
        std::fs::set_permissions(&lab.agent, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Probes in the functions of the allocator in use, and of those that are linked in beside it.
///
/// # Errors
/// Why there are none, as a sentence.
pub fn probes(identity: &Identity, allocators: &Allocators) -> Result<Uprobes, String> {
    let in_use =
        |number: usize, allocator: &Allocator| Some(number) == allocators.effective || allocator.linked_in;
    let functions: Vec<_> = (0..)
        .zip(&allocators.found)
        .filter(|(number, allocator)| in_use(*number, allocator))
        .flat_map(|(_, allocator)| {
            allocator.functions.iter().map(|function| (allocator.file.clone(), function.clone()))
        })
        .collect();
    Uprobes::begin(identity.pid, &functions).map_err(|error| error.to_string())
}

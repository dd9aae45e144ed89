//! Ways to the blocks of a process: the agent loaded into it, and probes.

use std::time::Duration;

use memtrial_symbols::allocator::{Allocator, Allocators};
use memtrial_target::attach::{self, Slots};
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::Identity;
use memtrial_target::uprobes::Uprobes;
use memtrial_wire::layout::REAL_FUNCTIONS;

use super::trial::Lab;
use crate::redirect;

/// How long is waited for a moment in which the agent can get in.
pub const PATIENCE: Duration = Duration::from_secs(20);
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
    attach::give_access(pid, lab.scratch.path(), &lab.agent, &[memory.path()])
        .map_err(|error| error.to_string())?;
    let path = memory.path().to_string_lossy().into_owned();
    let entered = attach::enter(pid, &lab.agent, "memtrial_follow", &path, PATIENCE)
        .map_err(|error| format!("the agent could not get into {} (pid {pid}): {error}", identity.name))?;
    if entered.value != 0 {
        return Err(format!(
            "the agent can't work in {} (pid {pid}): {}",
            identity.name,
            attach::refused(entered.value)
        ));
    }
    let (library, base) = (&entered.library, entered.base);
    let slots = redirect::all(pid, library, base, allocator.kind, lab.scratch.path()).map_err(|error| {
        let _ = attach::call(pid, library, base, "memtrial_leave", "", PATIENCE);
        format!("calls of {} (pid {pid}) can't be redirected: {error}", identity.name)
    })?;
    let stopped = entered.stopped.max(slots.stopped());
    Ok((memory, slots, stopped))
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

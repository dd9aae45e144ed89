//! The target's own blocks, watched while it is loaded: who may have written to a chunk of the load.

use std::sync::atomic::Ordering;

use memtrial_symbols::allocator::{Allocators, Kind};
use memtrial_target::attach::Slots;
use memtrial_target::control::Session;
use memtrial_wire::live::ALIVE;

use super::trial::Lab;
use crate::census::AGENT_FILE;
use crate::redirect;

/// The target's calls of its allocator, which pass the agent for as long as this is kept.
#[derive(Debug)]
pub struct Suspects {
    pid: i32,
    slots: Option<Slots>,
}

impl Suspects {
    /// Has the agent keep what the process allocates and frees from now on. `preloaded`: its calls pass the agent already.
    ///
    /// # Errors
    /// Why they can't be seen, as a sentence.
    pub fn watch(pid: i32, session: &Session, lab: &Lab, preloaded: bool) -> Result<Suspects, String> {
        let allocators = Allocators::of_process_behind(pid, Some(AGENT_FILE.as_ref()))
            .map_err(|error| error.to_string())?;
        let allocator = allocators.effective.and_then(|number| allocators.found.get(number));
        let allocator = allocator.ok_or("no allocator is found in the process")?;
        if allocator.linked_in {
            return Err(format!("the allocator is linked into {}", allocator.module.display()));
        }
        let kind = allocator.kind;
        let slots = if !preloaded {
            let entered = session.entered().ok_or("the agent is not found in the process")?;
            let all = redirect::all(pid, &entered.library, entered.base, kind, lab.scratch.path());
            Some(all.map_err(|error| format!("its calls can't be redirected: {error}"))?)
        } else if kind == Kind::Glibc {
            None
        } else {
            let operators = redirect::operators(pid, &lab.agent);
            operators.map_err(|error| format!("its operators can't be redirected: {error}"))?
        };
        session.memory().control().round.store(ALIVE, Ordering::Release);
        Ok(Suspects { pid, slots })
    }

    /// Puts the calls back, of a process that lives.
    ///
    /// # Errors
    /// Why some could not be, as a sentence.
    pub fn let_go(self, session: &Session, lab: &Lab) -> Result<(), String> {
        session.memory().control().round.store(0, Ordering::Release);
        if let Some(slots) = self.slots {
            slots.remove().map_err(|error| format!("its calls still pass the agent: {error}"))?;
            redirect::forget(self.pid, lab.scratch.path());
        }
        Ok(())
    }
}

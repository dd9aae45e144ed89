//! The agent in a process that runs, for as long as it is traced.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memtrial_events::Hit;
use memtrial_symbols::allocator::Allocators;
use memtrial_target::attach::{self, AttachError, Slots};
use memtrial_target::observe::Identity;
use memtrial_target::scratch::Scratch;
use memtrial_wire::layout::REAL_FUNCTIONS;

use super::live::Source;
use super::memory_events::MemoryEvents;
use crate::census::AGENT_FILE;
use crate::redirect;

/// How long is waited for a moment in which the agent can get in.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks for libraries that were loaded since.
const LOOK: Duration = Duration::from_secs(1);

/// A process whose calls pass the agent, as a source of hits.
pub struct Attached<'a> {
    pid: i32,
    events: MemoryEvents,
    slots: Option<Slots>,
    /// The agent's library in the process, and what the loader added to its addresses.
    library: (PathBuf, u64),
    scratch: &'a Scratch,
    stopped: Duration,
    next_look: Instant,
}

/// Why a process can't be traced.
#[derive(Debug, thiserror::Error)]
pub enum AttachedError {
    /// There is no way in.
    #[error("the agent could not get into {} (pid {}): {error}", identity.name, identity.pid)]
    Attach {
        /// The process.
        identity: Identity,
        /// Why.
        error: AttachError,
    },
    /// It got in, or would, and can't work there.
    #[error("the agent can't work in {} (pid {}): {why}", identity.name, identity.pid)]
    Refused {
        /// The process.
        identity: Identity,
        /// Why.
        why: String,
    },
    /// The process may not read the agent's files.
    #[error("cannot let process {pid} at the agent: {error}")]
    Access {
        /// The process.
        pid: i32,
        /// Why.
        error: io::Error,
    },
}

impl<'a> Attached<'a> {
    /// Loads the agent into the process, has it join `events`, and has the process's calls pass it.
    ///
    /// # Errors
    /// When there is no way in. The process is as it was then.
    pub fn begin(
        identity: &Identity,
        mut events: MemoryEvents,
        agent: &Path,
        scratch: &'a Scratch,
    ) -> Result<Attached<'a>, AttachedError> {
        let pid = identity.pid;
        let refused = |why: String| AttachedError::Refused { identity: identity.clone(), why };
        let no_way = |error| AttachedError::Attach { identity: identity.clone(), error };
        let all = Allocators::of_process_behind(pid, Some(AGENT_FILE.as_ref()));
        let all = all.map_err(|error| refused(error.to_string()))?;
        let allocator = all.effective.and_then(|number| all.found.get(number));
        let allocator = allocator.ok_or_else(|| refused("no allocator is found in it".to_owned()))?;
        if allocator.linked_in || !allocator.exported || !allocator.plain {
            return Err(refused(format!("its allocator is linked into {}", allocator.module.display())));
        }
        let real = attach::definitions(pid, agent, REAL_FUNCTIONS).map_err(no_way)?;
        events.memory_mut().set_real(real.map(Option::unwrap_or_default));
        let memory = events.memory().path().to_owned();
        attach::give_access(pid, scratch.path(), agent, &[&memory, events.recording()])
            .map_err(|error| AttachedError::Access { pid, error })?;
        let path = memory.to_string_lossy().into_owned();
        let entered = attach::enter(pid, agent, "memtrial_follow", &path, PATIENCE).map_err(no_way)?;
        if entered.value != 0 {
            return Err(refused(attach::refused(entered.value).to_owned()));
        }
        let (library, base) = (entered.library, entered.base);
        let slots = redirect::announced(pid, &library, base, allocator.kind, scratch.path());
        let slots = match slots {
            Ok(slots) => slots,
            Err(error) => {
                let _ = attach::call(pid, &library, base, "memtrial_leave", "", PATIENCE);
                return Err(no_way(error));
            }
        };
        let stopped = entered.stopped.max(slots.stopped());
        let next_look = Instant::now() + LOOK;
        let library = (library, base);
        Ok(Attached { pid, events, slots: Some(slots), library, scratch, stopped, next_look })
    }

    /// The memory events.
    #[must_use]
    pub fn events(&self) -> &MemoryEvents {
        &self.events
    }

    /// What the loader of the process added to the addresses of the agent's library.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.library.1
    }

    /// How long a thread of the process stood still at most.
    #[must_use]
    pub fn stopped(&self) -> Duration {
        self.stopped
    }

    /// Puts the process's calls back, and has the agent leave; what the user should know, a sentence each.
    ///
    /// `lives`: whether the process does.
    #[must_use]
    pub fn leave(mut self, lives: bool) -> Vec<String> {
        let mut notes = Vec::new();
        self.events.stop();
        if let Some(slots) = self.slots.take().filter(|_| lives)
            && let Err(error) = slots.remove()
            && !matches!(error, AttachError::Gone(_))
        {
            notes.push(format!("calls still pass through the agent, which does nothing any more: {error}"));
        }
        redirect::forget(self.pid, self.scratch.path());
        if lives
            && let (library, base) = &self.library
            && let Err(error) = attach::call(self.pid, library, *base, "memtrial_leave", "", PATIENCE)
            && !matches!(error, AttachError::Gone(_) | AttachError::NotLoaded { .. })
        {
            notes
                .push(format!("the agent, which does nothing any more, could not be told to leave: {error}"));
        }
        notes
    }

    /// Has calls of libraries that were loaded since pass the agent, too.
    fn look(&mut self) {
        self.next_look = Instant::now() + LOOK;
        let Some(slots) = &mut self.slots else { return };
        // Where that fails, the process is about to end, or is another program by now: its end is seen elsewhere.
        if slots.refresh().is_ok_and(|redirected| redirected > 0) {
            redirect::keep(slots, self.pid, self.scratch.path());
        }
    }
}

impl Source for Attached<'_> {
    fn poll(&mut self, take: &mut dyn FnMut(Hit)) -> io::Result<bool> {
        if Instant::now() >= self.next_look {
            self.look();
        }
        self.events.poll(take)
    }

    fn complete_until(&self) -> Option<u64> {
        self.events.complete_until()
    }

    fn lost(&self) -> u64 {
        self.events.lost()
    }

    fn stop(&mut self) {
        self.events.stop();
    }
}

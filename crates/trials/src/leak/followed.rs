//! One process whose blocks are followed: how the agent, or the probes, got at them, and what they have seen.

use std::ffi::OsStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memtrial_report::leak::{Fragmentation, LocateWay, Located};
use memtrial_symbols::allocator::{Allocator, Allocators, Kind};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::attach::{self, Slots};
use memtrial_target::live::LiveTable;
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::{Area, Identity, Place};
use memtrial_target::uprobes::Uprobes;

use crate::census::AGENT_FILE;
use crate::redirect;

use super::entry::{PATIENCE, attach, probes};
use super::seen::{own_areas, own_ranges, seen_by_agent, seen_by_probes};
use super::trial::Lab;

/// A process under the eyes of the agent, or of probes.
pub struct Followed {
    identity: Identity,
    allocator: String,
    notes: Vec<String>,
    eyes: Eyes,
    stopped: Option<Duration>,
    /// Private memory when following began.
    private: u64,
}

enum Eyes {
    /// The agent was loaded with the program.
    Preloaded(SharedMemory, Option<Slots>),
    /// The agent was loaded into the running process.
    Attached(SharedMemory, Slots),
    /// Probes in the allocator's functions.
    Probes(Uprobes),
}

impl Followed {
    /// Gets into `identity`; `preloaded` is what an agent that was loaded with it shares.
    ///
    /// # Errors
    /// Why there is no way in, as a sentence.
    pub fn begin(
        identity: &Identity,
        preloaded: Option<SharedMemory>,
        lab: &Lab,
        sample: u64,
        place: &mut dyn Place,
    ) -> Result<Followed, String> {
        let pid = identity.pid;
        let agent = Some(OsStr::new(AGENT_FILE));
        let allocators = Allocators::of_process_behind(pid, agent).map_err(|error| error.to_string())?;
        let allocator = allocators.effective.and_then(|index| allocators.found.get(index));
        let Some(allocator) = allocator else {
            return Err(format!("no allocator is found in {} (pid {pid})", identity.name));
        };
        let mut notes = what_is_not_seen(&allocators, allocator);
        // Of an allocator in the executable itself, calls from there are direct: they pass nobody.
        let passes =
            |memory: &SharedMemory| !allocator.linked_in && matches!(LiveTable::of(pid, memory), Ok(Some(_)));
        let active = preloaded.filter(passes);
        let (eyes, stopped) = match active {
            Some(memory) => {
                let own_operators = allocator.kind != Kind::Glibc;
                let slots = if own_operators { redirect::operators(pid, &lab.agent) } else { Ok(None) };
                let slots = slots.unwrap_or_else(|error| {
                    notes.push(format!("operator new could not be followed: {error}"));
                    None
                });
                (Eyes::Preloaded(memory, slots), None)
            }
            None => match attach(identity, lab, sample, allocator) {
                Ok((memory, slots, stopped)) => (Eyes::Attached(memory, slots), Some(stopped)),
                Err(why) => {
                    let probes = probes(identity, &allocators).map_err(|also| format!("{why}; {also}"))?;
                    notes.push(format!("{why}: the kernel's probes were used instead"));
                    if sample > 0 {
                        notes.push("probes see every allocation: nothing was sampled".to_owned());
                    }
                    (Eyes::Probes(probes), None)
                }
            },
        };
        let mut followed = Followed {
            identity: identity.clone(),
            allocator: file_name(allocator),
            notes,
            eyes,
            stopped,
            private: 0,
        };
        followed.private = followed.private_without_agent(place).unwrap_or(0);
        Ok(followed)
    }

    /// The process.
    pub fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// A round begins, from 1.
    pub fn begin_round(&mut self, round: u32, lab: &Lab) {
        match &mut self.eyes {
            Eyes::Preloaded(memory, slots) => {
                if let Some(slots) = slots {
                    let _ = slots.refresh();
                }
                memory.control().round.store(round, Ordering::Release);
            }
            Eyes::Attached(memory, slots) => {
                match slots.refresh() {
                    Ok(0) => {}
                    Ok(_) => redirect::keep(slots, self.identity.pid, lab.scratch.path()),
                    Err(error) => {
                        let note =
                            format!("calls of libraries loaded since could not be redirected: {error}");
                        if !self.notes.contains(&note) {
                            self.notes.push(note);
                        }
                    }
                }
                memory.control().round.store(round, Ordering::Release);
            }
            Eyes::Probes(probes) => probes.set_round(round),
        }
    }

    /// Looks at what lives after so many rounds, and leaves the process as it was.
    pub fn end(
        mut self,
        rounds: u32,
        sample: u64,
        lab: &Lab,
        place: &mut dyn Place,
        symbolizer: &mut Symbolizer,
    ) -> Located {
        let private = self.private_without_agent(place);
        let pid = self.identity.pid;
        let seen = match &self.eyes {
            Eyes::Preloaded(memory, _) | Eyes::Attached(memory, _) => {
                seen_by_agent(pid, memory, rounds, sample, &mut self.notes, symbolizer)
            }
            Eyes::Probes(probes) => seen_by_probes(probes, rounds, &mut self.notes, symbolizer),
        };
        let way = match &self.eyes {
            Eyes::Preloaded(..) => LocateWay::Preload,
            Eyes::Attached(..) => LocateWay::Attach,
            Eyes::Probes(_) => LocateWay::Uprobes,
        };
        let growth =
            |now: u64| i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(self.private).unwrap_or(0);
        let fragmentation =
            private.filter(|_| sample == 0 && way != LocateWay::Uprobes).map(|now| Fragmentation {
                private_growth: growth(now),
                live_growth: i64::try_from(seen.bytes).unwrap_or(i64::MAX)
                    - i64::try_from(seen.freed_from_before[1]).unwrap_or(0),
            });
        if sample > 0 && way != LocateWay::Uprobes {
            self.notes.push(format!(
                "one block for {} was followed on average: blocks and bytes are those of the sample",
                memtrial_report::wording::bytes(sample)
            ));
        }
        let Followed { identity, allocator, mut notes, eyes, stopped, .. } = self;
        leave(pid, eyes, lab, &mut notes);
        Located {
            pid,
            name: identity.name,
            way,
            allocator,
            rounds,
            sampled: (sample > 0 && way != LocateWay::Uprobes).then_some(sample),
            stopped_ms: stopped.map(|time| time.as_secs_f64() * 1e3),
            sites: seen.sites,
            fragmentation,
            freed_from_before: seen.freed_from_before,
            dropped: seen.dropped,
            notes,
        }
    }

    /// Private memory without what the agent has added to it.
    fn private_without_agent(&self, place: &mut dyn Place) -> Option<u64> {
        let areas = place.areas(&self.identity).ok()?;
        let own = match &self.eyes {
            Eyes::Preloaded(memory, _) | Eyes::Attached(memory, _) => own_ranges(self.identity.pid, memory),
            Eyes::Probes(_) => Vec::new(),
        };
        let own = own_areas(&areas, &own);
        let counts = |area: &&Area| !own.contains(&(area.start, area.end));
        let held = |area: &Area| (area.anonymous + area.swap).saturating_sub(area.lazy_free);
        Some(areas.iter().filter(counts).map(held).sum())
    }
}

/// What can't be seen whichever way is used.
fn what_is_not_seen(all: &Allocators, effective: &Allocator) -> Vec<String> {
    let mut notes = Vec::new();
    let others = all.found.iter().filter(|other| other.module != effective.module && !other.plain);
    for other in others {
        notes.push(format!(
            "{} has another allocator linked in, which was not looked at",
            other.module.display()
        ));
    }
    if all.executable_stripped && effective.kind == Kind::Glibc {
        notes.push("an allocator linked into the executable could not be told: it has no symbols".to_owned());
    }
    notes
}

/// The file name of the allocator that a process uses; empty if none is found.
pub fn allocator_of(pid: i32) -> String {
    let allocators = Allocators::of_process_behind(pid, Some(OsStr::new(AGENT_FILE))).unwrap_or_default();
    let effective = allocators.effective.and_then(|index| allocators.found.get(index));
    effective.map_or_else(String::new, file_name)
}

fn file_name(allocator: &Allocator) -> String {
    allocator.module.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Takes everything out of the way again.
fn leave(pid: i32, eyes: Eyes, lab: &Lab, notes: &mut Vec<String>) {
    let (memory, slots, preloaded) = match eyes {
        // Closing them is all that probes need.
        Eyes::Probes(_) => return,
        Eyes::Preloaded(memory, slots) => (memory, slots, redirect::base_of(pid, &lab.agent)),
        Eyes::Attached(memory, slots) => (memory, Some(slots), None),
    };
    memory.control().round.store(0, Ordering::Release);
    let attached = slots.as_ref().map(Slots::library).map(|(library, base)| (library.to_path_buf(), base));
    let agent = attached.or_else(|| preloaded.map(|base| (lab.agent.clone(), base)));
    if let Some(slots) = slots
        && let Err(error) = slots.remove()
    {
        notes.push(format!("calls still pass through the agent, which does nothing any more: {error}"));
    }
    redirect::forget(pid, lab.scratch.path());
    let Some((library, base)) = agent else { return };
    match attach::call(pid, &library, base, "memtrial_leave", "", PATIENCE) {
        Ok(_) => {
            notes.push("the agent's code stays mapped in the process, and does nothing any more".to_owned())
        }
        Err(error) => notes.push(format!("the agent's table stays in the process's memory: {error}")),
    }
}

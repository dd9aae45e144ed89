//! Sending a process's calls of some functions to a library in it, by the slots that its modules call through.
//!
//! The loader puts the addresses of imported functions into slots, on demand or when a module is loaded. Writing other
//! addresses there redirects the calls of all modules, and nothing of it is done by code in the target. Calls that do not
//! go through a slot are not seen: those inside a module that defines the function itself, and those through an address
//! that the program has asked for (`dlsym`) or keeps in a variable of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::AttachError;
use super::modules::{Module, Modules, is_copy};
use super::stopped::Held;
use super::tracee;
use crate::memory_of::{self, Pen};

/// One redirected slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    address: u64,
    /// What was there, and what is there now.
    old: u64,
    new: u64,
    /// The module it belongs to.
    module: (PathBuf, u64),
}

/// The redirected slots of a process. They stay redirected until [`Slots::remove`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Slots {
    pid: i32,
    library: PathBuf,
    /// What the loader added to the addresses in the library's file.
    base: u64,
    /// Imported names, with the addresses of the functions to be called instead.
    table: Vec<(String, u64)>,
    slots: Vec<Slot>,
    left_alone: usize,
    stopped: Duration,
}

/// Where a process's modules define these functions: for each name the first in the order in which the loader looks.
/// Copies of `library` are left out.
///
/// # Errors
/// As for any process that cannot be traced.
pub fn definitions<const N: usize>(
    pid: i32,
    library: &Path,
    names: [&str; N],
) -> Result<[Option<u64>; N], AttachError> {
    let modules = Modules::of(pid, library)?;
    let order = modules.search_order();
    let theirs = |module: &&&Module| !is_copy(&module.path, library);
    Ok(names.map(|name| order.iter().filter(theirs).find_map(|module| module.image.function(name))))
}

/// A slot that is to be redirected.
#[derive(Debug)]
struct Candidate {
    address: u64,
    new: u64,
    /// Addresses that it may hold now: the function that the program calls, or the stub that calls it.
    genuine: Vec<u64>,
    /// The module, in which it may point at the loader's stub for calls that were not made yet.
    module: (PathBuf, u64),
    range: (u64, u64),
}

/// What is to be done with a slot, by what it holds now.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// It is redirected already.
    Ours,
    /// It leads where calls of that name lead.
    Genuine,
    /// It is empty, as of a weak symbol that nobody defines, or leads to another function of that name.
    Other,
}

impl Candidate {
    fn content(&self, value: u64) -> Content {
        if value == self.new {
            Content::Ours
        } else if self.genuine.contains(&value) || (self.range.0..self.range.1).contains(&value) {
            Content::Genuine
        } else {
            Content::Other
        }
    }
}

impl Slots {
    /// Redirects calls in all modules but the library itself: of each pair in `table`, calls of the first name go to the
    /// function that the library, loaded at `base`, exports by the second. All threads stand still while the slots are
    /// written.
    ///
    /// A slot that leads to another function than the first one of that name in the loader's search order is left alone
    /// ([`Slots::left_alone`]): its blocks belong to another allocator.
    ///
    /// # Errors
    /// [`AttachError::NotLoaded`] or [`AttachError::NoFunction`] if the library is not there or does not have the
    /// functions, and as for any process that cannot be traced. Nothing is redirected then.
    pub fn install(
        pid: i32,
        library: &Path,
        base: u64,
        table: &[(&str, &str)],
    ) -> Result<Slots, AttachError> {
        let library = library.to_path_buf();
        let modules = Modules::of(pid, &library)?;
        let loaded = modules.list.iter().find(|module| module.image.bias == base);
        let loaded = loaded.ok_or_else(|| AttachError::NotLoaded { pid, library: library.clone() })?;
        let address = |(imported, exported): &(&str, &str)| match loaded.image.function(exported) {
            Some(address) => Ok(((*imported).to_owned(), address)),
            None => {
                Err(AttachError::NoFunction { library: library.clone(), function: (*exported).to_owned() })
            }
        };
        let table: Result<Vec<(String, u64)>, AttachError> = table.iter().map(address).collect();
        let mut slots = Slots {
            pid,
            library,
            base,
            table: table?,
            slots: Vec::new(),
            left_alone: 0,
            stopped: Duration::ZERO,
        };
        slots.refresh()?;
        Ok(slots)
    }

    /// Redirects what was loaded since, and what the loader has bound anew. Does not stop the process if there is nothing
    /// to be done. Returns how many slots were redirected.
    ///
    /// A call that is being bound for the first time in the very moment of an installation keeps going to the old function
    /// until the next refresh.
    ///
    /// # Errors
    /// As for [`Slots::install`].
    pub fn refresh(&mut self) -> Result<usize, AttachError> {
        let modules = Modules::of(self.pid, &self.library)?;
        let candidates = self.candidates(&modules);
        self.slots.retain(|slot| is_there(&modules, &slot.module));
        let content = |candidate: &Candidate| {
            memory_of::read_u64(modules.reach, candidate.address)
                .map_or(Content::Other, |value| candidate.content(value))
        };
        let contents: Vec<Content> = candidates.iter().map(content).collect();
        self.left_alone = contents.iter().filter(|content| **content == Content::Other).count();
        if !contents.contains(&Content::Genuine) {
            return Ok(0);
        }
        let (written, stopped) = tracee::apart(|| write_all(self.pid, &modules, &candidates))?;
        let count = written.len();
        let mut known: HashMap<u64, Slot> = self.slots.drain(..).map(|slot| (slot.address, slot)).collect();
        known.extend(written.into_iter().map(|slot| (slot.address, slot)));
        self.slots = known.into_values().collect();
        self.slots.sort_by_key(|slot| slot.address);
        self.stopped = stopped;
        Ok(count)
    }

    /// Puts back what was there before, where a module is still loaded and nobody has written to its slot since. Returns
    /// how long the process stood still. The library stays: a thread may be in it.
    ///
    /// # Errors
    /// [`AttachError::Gone`] if the process has ended, and as for any process that cannot be traced.
    pub fn remove(self) -> Result<Duration, AttachError> {
        if self.slots.is_empty() {
            return Ok(Duration::ZERO);
        }
        tracee::apart(|| {
            let since = Instant::now();
            let held = Held::all(self.pid)?;
            let (tid, pen) = pen(self.pid, &held)?;
            // With all threads stopped, modules can't come or go.
            let modules = mapped(tid);
            for slot in self.slots.iter().filter(|slot| modules.contains(&slot.module)) {
                if memory_of::read_u64(tid, slot.address) == Some(slot.new) {
                    write(&pen, slot.address, slot.old)?;
                }
            }
            drop(held);
            Ok(since.elapsed())
        })
    }

    /// Keeps what was redirected in a file, for a process that has to put it back in the stead of this one.
    ///
    /// # Errors
    /// Those of writing.
    pub fn keep(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?)
    }

    /// What [`Slots::keep`] has kept in a file.
    #[must_use]
    pub fn kept(path: &Path) -> Option<Slots> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The library that calls go to, as the process's memory map names it, and what the loader added to its addresses.
    #[must_use]
    pub fn library(&self) -> (&Path, u64) {
        (&self.library, self.base)
    }

    /// How many slots are redirected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// How many modules have such slots.
    #[must_use]
    pub fn modules(&self) -> usize {
        let mut modules: Vec<u64> = self.slots.iter().map(|slot| slot.module.1).collect();
        modules.sort_unstable();
        modules.dedup();
        modules.len()
    }

    /// How many slots of the names wanted lead elsewhere, and were not touched.
    #[must_use]
    pub fn left_alone(&self) -> usize {
        self.left_alone
    }

    /// How long the process stood still when slots were last redirected.
    #[must_use]
    pub fn stopped(&self) -> Duration {
        self.stopped
    }

    fn candidates(&self, modules: &Modules) -> Vec<Candidate> {
        let order = modules.search_order();
        let genuine: Vec<Vec<u64>> = self
            .table
            .iter()
            .map(|(name, _)| {
                let definition = order.iter().find_map(|module| module.image.function(name));
                let stub = order.first().and_then(|executable| executable.image.stub(name));
                definition.into_iter().chain(stub).collect()
            })
            .collect();
        let mut candidates = Vec::new();
        for module in order.iter().filter(|module| module.image.bias != self.base) {
            for (address, name) in module.image.slots() {
                let Some(wanted) = self.table.iter().position(|(imported, _)| imported == name) else {
                    continue;
                };
                candidates.push(Candidate {
                    address,
                    new: self.table[wanted].1,
                    genuine: genuine[wanted].clone(),
                    module: (module.path.clone(), module.image.base),
                    range: (module.image.base, module.image.end),
                });
            }
        }
        candidates
    }
}

/// Redirects slots with all threads stopped; returns those written, and how long the process stood still.
fn write_all(
    pid: i32,
    modules: &Modules,
    candidates: &[Candidate],
) -> Result<(Vec<Slot>, Duration), AttachError> {
    let since = Instant::now();
    let held = Held::all(pid)?;
    if !modules.still() {
        return Err(AttachError::Gone(pid));
    }
    let (tid, pen) = pen(pid, &held)?;
    let now = mapped(tid);
    let mut written: Vec<Slot> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| now.contains(&candidate.module)) {
        let Some(old) = memory_of::read_u64(tid, candidate.address) else { continue };
        if candidate.content(old) != Content::Genuine {
            continue;
        }
        if let Err(error) = write(&pen, candidate.address, candidate.new) {
            for slot in &written {
                write(&pen, slot.address, slot.old)?;
            }
            return Err(error);
        }
        let (address, new, module) = (candidate.address, candidate.new, candidate.module.clone());
        written.push(Slot { address, old, new, module });
    }
    drop(held);
    Ok((written, since.elapsed()))
}

/// A stopped thread, and a pen for its memory.
fn pen(pid: i32, held: &Held) -> Result<(i32, Pen), AttachError> {
    let tid = held.first().ok_or(AttachError::Gone(pid))?.tid;
    let pen = Pen::new(tid).map_err(AttachError::io(format!("open the memory of process {pid}")))?;
    Ok((tid, pen))
}

fn write(pen: &Pen, address: u64, value: u64) -> Result<(), AttachError> {
    pen.write_u64(address, value).map_err(AttachError::io(format!("write a slot at {address:#x}")))
}

fn is_there(modules: &Modules, module: &(PathBuf, u64)) -> bool {
    modules.list.iter().any(|known| known.image.base == module.1 && known.path == module.0)
}

/// The first mapping of each file of the process of a thread.
fn mapped(tid: i32) -> Vec<(PathBuf, u64)> {
    let text = std::fs::read(format!("/proc/{tid}/maps")).unwrap_or_default();
    let maps = memtrial_symbols::remote::parse_maps(&String::from_utf8_lossy(&text));
    maps.into_iter()
        .filter(|mapping| mapping.offset == 0)
        .map(|mapping| (mapping.path, mapping.start))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slots_that_lead_to_the_function_are_redirected() {
        let slot = Candidate {
            address: 0x1010,
            new: 0x9000,
            genuine: vec![0x5000, 0x4000],
            module: (PathBuf::from("/lib/a"), 0x1000),
            range: (0x1000, 0x3000),
        };
        assert_eq!(slot.content(0x9000), Content::Ours);
        assert_eq!(slot.content(0x5000), Content::Genuine);
        assert_eq!(slot.content(0x4000), Content::Genuine);
        assert_eq!(slot.content(0x1036), Content::Genuine, "a call that was not made yet");
        assert_eq!(slot.content(0), Content::Other, "a weak symbol that nobody defines");
        assert_eq!(slot.content(0x6000), Content::Other, "another allocator");
    }
}

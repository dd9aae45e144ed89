//! The chunks that commands allocate, and what else the heap thread alone has.

use core::ptr::NonNull;

use crate::command::Fault;
use crate::counters::{Counters, Sum};
use crate::host::Host;
use crate::load::Load;
use crate::owner::{Holding, Owner};
use crate::random::Random;
use crate::sizes::Distribution;

/// Of so many in a hundred at most a chunk is resized, so that a total is reached.
pub const MOST_REALLOCS: u8 = 90;

/// What the heap thread has. There is one for each load.
#[derive(Debug)]
pub struct Manual {
    holding: Holding,
    /// What commands have done.
    pub(crate) counters: Counters,
    /// By which choices are made, and seeds.
    pub(crate) random: Random,
    /// The number of the command that is carried out, from 1.
    serial: u64,
    last_id: u64,
    /// Overwritten chunks of tests that are destroyed.
    retired: Sum,
    /// How many chunks those tests had looked at.
    retired_checked: u64,
}

/// What `mt.mem_rnd_alloc` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// Allocations, those that resized a chunk among them.
    pub allocations: u64,
    /// Those that did.
    pub reallocs: u64,
    /// Bytes that are held more than before.
    pub bytes: u64,
    /// Chunks found overwritten.
    pub overwritten: u64,
}

impl Manual {
    /// The heap thread's part of a load; `None`: another has it.
    pub fn new<H: Host>(load: &Load<H>) -> Option<Manual> {
        let random = Random::new(load.host().now() ^ core::ptr::from_ref(load).addr() as u64);
        load.claim().then(|| Manual {
            holding: Holding::by_size(),
            counters: Counters::default(),
            random,
            serial: 0,
            last_id: 0,
            retired: Sum::default(),
            retired_checked: 0,
        })
    }

    /// Counts a command that begins.
    pub(crate) fn begin(&mut self) {
        self.serial += 1;
    }

    /// The number of the command that is carried out.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// An id for a new test.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Adds the figures of a test that is destroyed: what it leaves, and how many chunks it had looked at.
    pub(crate) fn retire(&mut self, left: Sum, checked: u64) {
        self.retired += left;
        self.retired_checked += checked;
    }

    /// Chunks of commands, and those overwritten of tests that are destroyed.
    pub(crate) fn present(&self) -> Sum {
        let mut present = self.counters.present();
        present += self.retired;
        present
    }

    /// Chunks looked at by commands, and by tests that are destroyed.
    pub(crate) fn checked(&self) -> u64 {
        self.counters.checked.get() + self.retired_checked
    }

    fn owner<'m, H: Host>(&'m mut self, load: &'m Load<H>) -> Owner<'m, H> {
        if self.holding.origin.stack == 0 {
            self.holding.origin.stack = load.host().stack();
        }
        Owner { load, holding: &mut self.holding, counters: &self.counters, finder: self.serial }
    }

    /// `mt.mem_alloc`
    pub(crate) fn allocate<H: Host>(&mut self, load: &Load<H>, bytes: u64) -> Result<NonNull<u8>, Fault> {
        let fill = load.settings().check_content();
        let mut owner = self.owner(load);
        let made = owner.allocate(bytes, fill);
        owner.settle();
        made
    }

    /// `mt.mem_free` of at least so many bytes: first of chunks not larger than what is wanted, then of the smallest
    /// larger one.
    pub(crate) fn free<H: Host>(&mut self, load: &Load<H>, bytes: u64) -> Sum {
        let mut owner = self.owner(load);
        let mut freed = Sum::default();
        while freed.bytes < bytes {
            let Some(index) = owner.holding.chunks.to_free(bytes - freed.bytes) else { break };
            match owner.dismiss(index) {
                Some(bytes) => freed += Sum { chunks: 1, bytes, overwritten: 0 },
                None => freed.overwritten += 1,
            }
        }
        owner.settle();
        if owner.holding.chunks.len() == 0 {
            owner.end();
        }
        freed
    }

    /// `mt.mem_free` of everything.
    pub(crate) fn free_all<H: Host>(&mut self, load: &Load<H>) -> Sum {
        let mut owner = self.owner(load);
        let freed = owner.dismiss_all(|| true);
        owner.end();
        freed
    }

    /// `mt.mem_realloc` of a random chunk; returns by how much it has grown, and how many chunks were found overwritten
    /// on the way.
    pub(crate) fn resize<H: Host>(&mut self, load: &Load<H>, bytes: u64) -> Result<(i64, u64), Fault> {
        if self.holding.chunks.len() == 0 {
            return Err(Fault::NoChunk);
        }
        let fill = load.settings().check_content();
        let mut overwritten = 0;
        let mut done = Ok((0, 0));
        while self.holding.chunks.len() > 0 {
            let index = self.random.below(u64::from(self.holding.chunks.len())) as u32;
            match self.owner(load).resize(index, bytes, fill) {
                Ok(None) => overwritten += 1,
                Ok(Some(sizes)) => {
                    done = Ok(sizes);
                    break;
                }
                Err(fault) => {
                    done = Err(fault);
                    break;
                }
            }
        }
        self.owner(load).settle();
        // No chunk is as large as 2^63 bytes.
        done.map(|(old, new)| ((new as i64).wrapping_sub(old as i64), overwritten))
    }

    /// `mt.mem_rnd_alloc`: chunks of `min` to `max` bytes until there are `total` more, or nobody waits for it any more. Those that
    /// it resizes are its own.
    pub(crate) fn fill<H: Host>(
        &mut self,
        load: &Load<H>,
        min: u64,
        max: u64,
        total: u64,
    ) -> Result<Filled, Fault> {
        let fill = load.settings().check_content();
        let percent = load.settings().realloc_percent().min(MOST_REALLOCS);
        let sizes = Distribution::uniform(min, max);
        let mut random = self.random.clone();
        let mut owner = self.owner(load);
        let first = owner.holding.chunks.len();
        let mut filled = Filled::default();
        let mut fault = None;
        while filled.bytes < total && fault.is_none() && !load.host().is_abandoned() {
            let bytes = sizes.choose(total - filled.bytes, &mut random);
            let own = owner.holding.chunks.len().saturating_sub(first);
            let done = if own > 0 && random.percent(percent) {
                let index = first + random.below(u64::from(own)) as u32;
                match owner.resize(index, bytes, fill) {
                    Ok(Some((old, new))) => {
                        filled.reallocs += 1;
                        Ok((old, new))
                    }
                    Ok(None) => {
                        // It stays, so its bytes still count.
                        filled.overwritten += 1;
                        continue;
                    }
                    Err(fault) => Err(fault),
                }
            } else {
                owner.allocate(bytes, fill).map(|_| (0, bytes))
            };
            match done {
                Ok((old, new)) => {
                    filled.allocations += 1;
                    filled.bytes = (filled.bytes + new).saturating_sub(old);
                }
                Err(refused) => fault = Some(refused),
            }
        }
        owner.settle();
        self.random = random;
        fault.map_or(Ok(filled), Err)
    }

    /// Looks at the chunks of commands; returns how many.
    pub(crate) fn check<H: Host>(&mut self, load: &Load<H>) -> u64 {
        self.owner(load).check()
    }
}

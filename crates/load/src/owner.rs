//! An owner of chunks, and what it does with them: allocating, resizing, looking at them, freeing.

use core::ptr::NonNull;

use crate::budget::{Purse, cost};
use crate::chunks::{Chunk, Chunks};
use crate::command::Fault;
use crate::counters::{Counters, Sum};
use crate::host::Host;
use crate::load::Load;
use crate::overwritten::Origin;
use crate::pattern::{self, Difference};

/// The bookkeeping of one chunk never takes more at once.
const MOST_BOOKKEEPING: u64 = 16 << 10;

/// What an owner holds. It must come to its end by [`Owner::end`], else its bookkeeping stays.
#[derive(Debug, Default)]
pub struct Holding {
    /// Chunks that are as they should be, as far as is known. Those found overwritten are no longer among them: they are
    /// never resized nor freed, for that could make the allocator end the target.
    pub chunks: Chunks,
    /// What it may spend.
    purse: Purse,
    /// Who it is.
    pub origin: Origin,
}

impl Holding {
    /// What holds the chunks of commands, which are found by size.
    #[must_use]
    pub fn by_size() -> Holding {
        Holding { chunks: Chunks::by_size(), ..Holding::default() }
    }
}

/// An owner at work: only one thread at a time has it.
pub struct Owner<'l, H> {
    /// What it is part of.
    pub load: &'l Load<H>,
    /// What it holds.
    pub holding: &'l mut Holding,
    /// What it has done.
    pub counters: &'l Counters,
    /// The number of the command that it carries out; 0 for a test.
    pub finder: u64,
}

impl<H: Host> Owner<'_, H> {
    /// Allocates a chunk and writes to it: the whole pattern, or just a byte in each page.
    ///
    /// # Errors
    /// That there is no memory, or that it would be too much.
    #[inline]
    pub fn allocate(&mut self, bytes: u64, fill: bool) -> Result<NonNull<u8>, Fault> {
        let number = self.number();
        let size = self.reserve(bytes)?;
        let Some(address) = NonNull::new(self.load.host().allocate(size)) else {
            return Err(self.no_memory(bytes));
        };
        // SAFETY: the chunk has just been allocated with this size, and is this owner's.
        unsafe {
            match fill {
                true => pattern::fill(address, size),
                false => pattern::touch(address, 0, size),
            }
        }
        self.holding.chunks.push(Chunk { address, bytes, number, filled: fill });
        self.counters.allocated.add(bytes);
        self.publish();
        Ok(address)
    }

    /// Resizes a chunk, after a look at it, and writes to it as [`Owner::allocate`] does. Returns what it was before and
    /// what it is now; `None`: it was found overwritten, and left as it is.
    ///
    /// # Errors
    /// That there is no such chunk or no memory, or that it would be too much.
    pub fn resize(&mut self, index: u32, bytes: u64, fill: bool) -> Result<Option<(u64, u64)>, Fault> {
        let old = self.holding.chunks.get(index).ok_or(Fault::NoChunk)?;
        if let Some(difference) = self.look(&old) {
            self.keep(index, &old, difference);
            return Ok(None);
        }
        let number = self.number();
        self.counters.reallocs.add(1);
        // While it is resized, both sizes may be held.
        let size = self.reserve(bytes)?;
        // SAFETY: a chunk of this owner's that is not freed; no size is 0, for `reserve` refuses it.
        let address = unsafe { self.load.host().reallocate(old.address, size) };
        let Some(address) = NonNull::new(address) else { return Err(self.no_memory(bytes)) };
        // SAFETY: the chunk has this size now, and is this owner's.
        unsafe {
            match fill {
                true => pattern::fill(address, size),
                false => pattern::touch(address, size.min(old.bytes as usize), size),
            }
        }
        self.holding.chunks.replace(index, Chunk { address, bytes, number, filled: fill });
        self.holding.purse.put_back(cost(old.bytes), self.load.budget());
        self.counters.allocated.add(bytes);
        self.publish();
        Ok(Some((old.bytes, bytes)))
    }

    /// The number of an allocation that is tried now.
    fn number(&self) -> u64 {
        self.counters.allocations.add(1);
        self.counters.allocations.get()
    }

    /// Takes what a chunk of this size costs, and makes room for it in the bookkeeping.
    #[inline]
    fn reserve(&mut self, bytes: u64) -> Result<usize, Fault> {
        let (host, budget) = (self.load.host(), self.load.budget());
        let size = usize::try_from(bytes).ok().filter(|&size| size > 0);
        let Some(size) = size.filter(|_| self.holding.purse.spend(cost(bytes), budget)) else {
            self.counters.errors.add(1);
            return Err(budget.fault());
        };
        if !self.holding.chunks.prepare(bytes, host, budget) {
            let fault = budget.refused(MOST_BOOKKEEPING);
            self.holding.purse.put_back(cost(bytes), budget);
            self.counters.errors.add(1);
            return Err(fault);
        }
        Ok(size)
    }

    #[cold]
    fn no_memory(&mut self, bytes: u64) -> Fault {
        self.holding.purse.put_back(cost(bytes), self.load.budget());
        self.counters.errors.add(1);
        Fault::NoMemory { failed: 1 }
    }

    /// Frees a chunk after a look at it; returns its size. `None`: it was found overwritten, and is kept.
    pub fn dismiss(&mut self, index: u32) -> Option<u64> {
        let chunk = self.holding.chunks.get(index)?;
        if let Some(difference) = self.look(&chunk) {
            self.keep(index, &chunk, difference);
            return None;
        }
        let (host, budget) = (self.load.host(), self.load.budget());
        self.holding.chunks.remove(index, host, budget);
        // SAFETY: a chunk of this owner's, that it has just forgotten.
        unsafe { host.free(chunk.address) };
        self.holding.purse.put_back(cost(chunk.bytes), budget);
        self.publish();
        Some(chunk.bytes)
    }

    /// Frees chunks, the youngest first, as long as there are any and `goes_on` says so.
    pub fn dismiss_all(&mut self, mut goes_on: impl FnMut() -> bool) -> Sum {
        let mut freed = Sum::default();
        while let Some(last) = self.holding.chunks.len().checked_sub(1) {
            if !goes_on() {
                break;
            }
            match self.dismiss(last) {
                Some(bytes) => freed += Sum { chunks: 1, bytes, overwritten: 0 },
                None => freed.overwritten += 1,
            }
        }
        freed
    }

    /// Looks at all chunks that are filled; returns how many.
    pub fn check(&mut self) -> u64 {
        let before = self.counters.checked.get();
        for index in (0..self.holding.chunks.len()).rev() {
            let Some(chunk) = self.holding.chunks.get(index) else { continue };
            if let Some(difference) = self.look(&chunk) {
                self.keep(index, &chunk, difference);
            }
        }
        self.counters.checked.get() - before
    }

    fn look(&self, chunk: &Chunk) -> Option<Difference> {
        if !chunk.filled {
            return None;
        }
        self.counters.checked.add(1);
        // SAFETY: a chunk of this owner's that is not freed.
        unsafe { pattern::check(chunk.address, chunk.bytes as usize) }
    }

    /// Records a chunk as overwritten and keeps it for ever, with what it costs.
    #[cold]
    fn keep(&mut self, index: u32, chunk: &Chunk, difference: Difference) {
        let load = self.load;
        load.overwritten().add(load.host(), chunk, difference, self.holding.origin, self.finder);
        self.holding.chunks.remove(index, self.load.host(), self.load.budget());
        self.counters.overwritten_bytes.add(chunk.bytes);
        self.counters.overwritten.add(1);
        self.publish();
    }

    #[inline]
    fn publish(&self) {
        self.counters.live.set(self.holding.chunks.bytes());
        self.counters.chunks.set(u64::from(self.holding.chunks.len()));
    }

    /// Gives back what it has taken and not spent.
    pub fn settle(&mut self) {
        self.holding.purse.empty(self.load.budget());
    }

    /// Gives back all memory of its bookkeeping, once all its chunks are freed.
    pub fn end(&mut self) {
        self.holding.chunks.clear(self.load.host(), self.load.budget());
        self.settle();
    }
}

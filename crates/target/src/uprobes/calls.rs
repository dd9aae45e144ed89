//! Making blocks of the hits of probes: which return belongs to which call, and what both mean.

use std::collections::HashMap;

use memtrial_symbols::allocator::Role;

use super::live::{LiveBlock, StackCounts};
use super::stacks::Known;

/// Threads remembered at most, before those that are in no allocator's function are forgotten.
const MANY_THREADS: usize = 1 << 14;

/// A call of an allocator's function, at its entry.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The thread.
    pub tid: u32,
    /// Which function.
    pub function: usize,
    /// What it does.
    pub role: Role,
    /// The first three arguments.
    pub arguments: [u64; 3],
    /// The stack pointer, which points at the return address.
    pub sp: u64,
}

/// A return from an allocator's function.
#[derive(Debug, Clone, Copy)]
pub struct Return {
    /// The thread.
    pub tid: u32,
    /// Which function.
    pub function: usize,
    /// What it returned.
    pub value: u64,
    /// The stack pointer behind the return address.
    pub sp: u64,
}

/// The blocks of a process, and the calls that its threads are in.
#[derive(Debug, Default)]
pub struct Calls {
    threads: HashMap<u32, Thread>,
    blocks: HashMap<u64, Block>,
    /// By number of the stack.
    pub counts: Vec<StackCounts>,
    /// See [`super::LiveBlocks`].
    pub freed_unknown: u64,
    /// See [`super::LiveBlocks`].
    pub unfinished: u64,
    /// See [`super::LiveBlocks`].
    pub cut_off: u64,
    /// See [`super::LiveBlocks`].
    pub untold: u64,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    bytes: u64,
    round: u32,
    stack: u32,
}

#[derive(Debug, Default)]
struct Thread {
    /// The outermost first; more than one where an allocator calls itself.
    pending: Vec<Pending>,
    /// What it has freed last: `operator delete` calls `free` with the same block.
    freed: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    call: Call,
    stack: u32,
    round: u32,
    /// The block that is to be moved. It is no longer live from the call on: another thread may get its address
    /// before the call returns.
    old: Option<(u64, Block)>,
}

impl Call {
    /// How many bytes are asked for.
    fn bytes(&self) -> u64 {
        let [first, second, third] = self.arguments;
        match self.role {
            Role::Malloc | Role::OperatorNew | Role::Valloc | Role::Pvalloc => first,
            Role::Calloc => first.saturating_mul(second),
            Role::Realloc | Role::AlignedAlloc | Role::Memalign => second,
            Role::Reallocarray => second.saturating_mul(third),
            Role::PosixMemalign => third,
            Role::Free | Role::OperatorDelete => 0,
        }
    }

    fn moves(&self) -> bool {
        matches!(self.role, Role::Realloc | Role::Reallocarray)
    }
}

impl Calls {
    /// Takes note of a call; `know` unwinds its stack, which the calls of an allocator to itself do not need.
    pub fn enter(&mut self, call: Call, round: u32, know: impl FnOnce() -> Known) {
        self.leave_before(call.tid, call.sp);
        let thread = self.threads.entry(call.tid).or_default();
        thread.freed = None;
        if let Some(last) = thread.pending.last()
            && last.call.sp == call.sp
            && last.call.function == call.function
        {
            // Seen twice, by probes of a thread and of the one that started it; or its return was lost.
            if last.call.arguments == call.arguments {
                return;
            }
            thread.pending.pop();
            self.unfinished += 1;
        }
        let outermost = thread.pending.is_empty();
        let (mut stack, mut old) = (0, None);
        if outermost {
            let known = know();
            stack = known.id;
            self.cut_off += u64::from(known.cut_off);
            let address = call.arguments[0];
            old = call.moves().then(|| self.blocks.remove(&address).map(|block| (address, block))).flatten();
            if call.moves() && address != 0 && old.is_none() {
                self.freed_unknown += 1;
            }
        }
        self.threads.entry(call.tid).or_default().pending.push(Pending { call, stack, round, old });
    }

    /// Takes note of a return; `result` tells what is at an address where the function has stored its result.
    pub fn leave(&mut self, back: Return, result: impl FnOnce(u64) -> Option<u64>) {
        // A `ret` takes the return address off the stack.
        let sp = back.sp.wrapping_sub(8);
        self.leave_before(back.tid, sp);
        let Some(thread) = self.threads.get_mut(&back.tid) else { return };
        let is_it = |pending: &Pending| pending.call.sp == sp && pending.call.function == back.function;
        // Not there: called before the beginning, or lost, or seen twice.
        let Some(at) = thread.pending.iter().rposition(is_it) else { return };
        let left: Vec<Pending> = thread.pending.drain(at..).collect();
        if at > 0 {
            return;
        }
        if let Some(outermost) = left.into_iter().next() {
            self.done(outermost, back.value, result);
        }
    }

    fn done(&mut self, pending: Pending, value: u64, result: impl FnOnce(u64) -> Option<u64>) {
        let Pending { call, stack, round, old } = pending;
        let (bytes, kept) = (call.bytes(), value == 0 && call.moves() && call.bytes() > 0);
        if let Some((address, block)) = old {
            match kept {
                true => self.blocks.insert(address, block).map(|_| ()),
                false => self.count(block.stack).map(|counts| counts.freed += 1),
            };
        } else if kept && call.arguments[0] != 0 {
            self.freed_unknown = self.freed_unknown.saturating_sub(1);
        }
        let address = match call.role {
            Role::PosixMemalign if value as u32 != 0 => return,
            Role::PosixMemalign => {
                let stored = result(call.arguments[0]);
                let aligned =
                    |address: &u64| *address != 0 && address.is_multiple_of(call.arguments[1].max(1));
                let Some(address) = stored.filter(aligned) else {
                    self.untold += 1;
                    return;
                };
                address
            }
            _ if value == 0 => return,
            _ => value,
        };
        if let Some(counts) = self.count(stack) {
            counts.allocated += 1;
            counts.bytes = counts.bytes.saturating_add(bytes);
        }
        // What was there before was freed without our seeing it.
        if let Some(lost) = self.blocks.insert(address, Block { bytes, round, stack })
            && let Some(counts) = self.count(lost.stack)
        {
            counts.freed += 1;
        }
    }

    /// Takes note of a block given back.
    pub fn free(&mut self, tid: u32, address: u64, sp: u64) {
        self.leave_before(tid, sp);
        if self.threads.len() > MANY_THREADS {
            self.threads.retain(|_, thread| !thread.pending.is_empty());
        }
        let thread = self.threads.entry(tid).or_default();
        // Of the calls of an allocator to itself, only `realloc` as `free` is a jump, with the same stack pointer.
        if let Some(last) = thread.pending.last() {
            if last.call.sp != sp || last.call.moves() {
                return;
            }
            self.unfinished += thread.pending.len() as u64;
            thread.pending.clear();
        }
        if address == 0 {
            return;
        }
        let again = thread.freed.replace(address) == Some(address);
        match self.blocks.remove(&address) {
            Some(block) => {
                if let Some(counts) = self.count(block.stack) {
                    counts.freed += 1;
                }
            }
            None => self.freed_unknown += u64::from(!again),
        }
    }

    /// Forgets calls that must have returned: the stack has shrunk beyond their return address.
    fn leave_before(&mut self, tid: u32, sp: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        while thread.pending.last().is_some_and(|last| last.call.sp < sp) {
            let left = thread.pending.pop();
            self.unfinished += u64::from(thread.pending.is_empty());
            // Whether the block was moved or not: it is not claimed to live.
            if let Some(block) = left.and_then(|left| left.old).map(|(_, block)| block)
                && let Some(counts) = self.counts.get_mut(block.stack as usize)
            {
                counts.freed += 1;
            }
        }
    }

    fn count(&mut self, stack: u32) -> Option<&mut StackCounts> {
        let at = stack as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, StackCounts::default());
        }
        self.counts.get_mut(at)
    }

    /// All blocks that live, by address. One that is being moved is among them.
    pub fn live(&self) -> Vec<LiveBlock> {
        let moving =
            self.threads.values().flat_map(|thread| &thread.pending).filter_map(|pending| pending.old);
        let all = self.blocks.iter().map(|(address, block)| (*address, *block)).chain(moving);
        let told =
            all.map(|(address, Block { bytes, round, stack })| LiveBlock { address, bytes, round, stack });
        let mut live: Vec<LiveBlock> = told.collect();
        live.sort_unstable();
        live.dedup_by_key(|block| block.address);
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u32) -> Known {
        Known { id, cut_off: false }
    }

    fn call(function: usize, role: Role, arguments: [u64; 3], sp: u64) -> Call {
        Call { tid: 1, function, role, arguments, sp }
    }

    fn back(calls: &mut Calls, function: usize, value: u64, sp: u64) {
        calls.leave(Return { tid: 1, function, value, sp: sp + 8 }, |_| None);
    }

    fn addresses(calls: &Calls) -> Vec<(u64, u64, u32)> {
        calls.live().iter().map(|block| (block.address, block.bytes, block.round)).collect()
    }

    #[test]
    fn what_an_allocator_calls_itself_is_not_counted() {
        let mut calls = Calls::default();
        calls.enter(call(0, Role::Calloc, [3, 5, 0], 0x1000), 7, || known(0));
        calls.enter(call(1, Role::Malloc, [99, 0, 0], 0xf00), 7, || panic!("not the outermost"));
        calls.free(1, 0xdead0, 0xe00);
        back(&mut calls, 1, 0xa0, 0xf00);
        back(&mut calls, 0, 0xa0, 0x1000);
        assert_eq!(addresses(&calls), [(0xa0, 15, 7)]);
        // By a jump: both return at once.
        calls.enter(call(0, Role::Malloc, [8, 0, 0], 0x1000), 8, || known(1));
        calls.enter(call(1, Role::Malloc, [8, 0, 0], 0x1000), 8, || panic!("not the outermost"));
        back(&mut calls, 1, 0xb0, 0x1000);
        back(&mut calls, 0, 0xb0, 0x1000);
        assert_eq!(addresses(&calls), [(0xa0, 15, 7), (0xb0, 8, 8)]);
        assert_eq!((calls.freed_unknown, calls.unfinished), (0, 0));
    }

    #[test]
    fn a_block_is_moved_kept_or_freed_by_realloc() {
        let mut calls = Calls::default();
        let realloc = |calls: &mut Calls, from, bytes, to| {
            calls.enter(call(2, Role::Realloc, [from, bytes, 0], 0x1000), 2, || known(1));
            back(calls, 2, to, 0x1000);
        };
        realloc(&mut calls, 0, 10, 0xa0);
        realloc(&mut calls, 0xa0, 20, 0xb0);
        assert_eq!(addresses(&calls), [(0xb0, 20, 2)]);
        realloc(&mut calls, 0xb0, 1 << 60, 0);
        assert_eq!(addresses(&calls), [(0xb0, 20, 2)]);
        realloc(&mut calls, 0xb0, 0, 0);
        assert_eq!(addresses(&calls), []);
        assert_eq!(calls.counts, [StackCounts::default(), StackCounts { allocated: 2, freed: 2, bytes: 30 }]);
        realloc(&mut calls, 0xc0, 1 << 60, 0);
        assert_eq!(calls.freed_unknown, 0);
        realloc(&mut calls, 0xc0, 8, 0xd0);
        assert_eq!(calls.freed_unknown, 1);
    }

    #[test]
    fn another_thread_may_get_the_address_before_realloc_returns() {
        let mut calls = Calls::default();
        calls.enter(call(0, Role::Malloc, [8, 0, 0], 0x1000), 1, || known(0));
        back(&mut calls, 0, 0xa0, 0x1000);
        calls.enter(call(2, Role::Realloc, [0xa0, 64, 0], 0x1000), 1, || known(0));
        let other = Call { tid: 2, ..call(0, Role::Malloc, [9, 0, 0], 0x9000) };
        calls.enter(other, 1, || known(0));
        calls.leave(Return { tid: 2, function: 0, value: 0xa0, sp: 0x9008 }, |_| None);
        back(&mut calls, 2, 0xc0, 0x1000);
        assert_eq!(addresses(&calls), [(0xa0, 9, 1), (0xc0, 64, 1)]);
    }

    #[test]
    fn a_lost_return_does_not_hide_what_comes_next() {
        let mut calls = Calls::default();
        calls.enter(call(0, Role::Malloc, [1, 0, 0], 0x1000), 1, || known(0));
        calls.enter(call(0, Role::Malloc, [2, 0, 0], 0x1000), 1, || known(0));
        back(&mut calls, 0, 0xa0, 0x1000);
        calls.enter(call(0, Role::Malloc, [3, 0, 0], 0x1000), 1, || known(0));
        calls.free(1, 0xa0, 0x1010);
        calls.enter(call(0, Role::Malloc, [4, 0, 0], 0x1020), 1, || known(0));
        back(&mut calls, 0, 0xb0, 0x1020);
        assert_eq!((addresses(&calls), calls.unfinished), (vec![(0xb0, 4, 1)], 2));
    }

    #[test]
    fn failed_and_stored_results_are_told_apart() {
        let mut calls = Calls::default();
        let posix = |calls: &mut Calls, value, stored| {
            calls.enter(call(3, Role::PosixMemalign, [0x77, 64, 100], 0x1000), 1, || known(0));
            calls.leave(Return { tid: 1, function: 3, value, sp: 0x1008 }, |_| stored);
        };
        posix(&mut calls, 12, Some(0x40));
        posix(&mut calls, 0, Some(0x41));
        posix(&mut calls, 0, None);
        assert_eq!((addresses(&calls), calls.untold), (vec![], 2));
        posix(&mut calls, 0, Some(0x80));
        assert_eq!(addresses(&calls), [(0x80, 100, 1)]);
        // `operator delete` calls `free`.
        calls.free(1, 0x80, 0x1000);
        calls.free(1, 0x80, 0xff0);
        calls.free(1, 0, 0xff0);
        assert_eq!((addresses(&calls), calls.freed_unknown), (vec![], 0));
    }
}

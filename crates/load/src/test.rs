//! A test: a thread that allocates chunks at intervals until its time is over.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::command::{Fault, Plan};
use crate::counters::Counters;
use crate::host::Host;
use crate::load::Load;
use crate::owner::{Holding, Owner};
use crate::random::Random;
use crate::sizes::Distribution;

/// The clock is read after so many allocations, where a test does not need it for its intervals.
const UNTIMED: u64 = 64;
/// How long a test waits that finds no memory, so that it does not do nothing but fail.
const BREATH: u64 = 1_000_000;
/// So much of what a test is late by, it catches up.
const BACKLOG: u64 = 1_000_000_000;

/// Bits of the word by which the heap thread and a test's thread understand each other.
pub mod bit {
    /// The test's thread has not ended. It clears this as the last thing.
    pub const RUNNING: u32 = 1;
    /// The thread has begun.
    pub const BEGUN: u32 = 2;
    /// It shall end, keeping its chunks.
    pub const STOP: u32 = 4;
    /// It shall look at its chunks; it clears this when it has.
    pub const CHECK: u32 = 8;
}

/// The word of a test of which nothing is asked.
const IDLE: u32 = bit::RUNNING | bit::BEGUN;

/// A place for a test.
#[derive(Debug)]
pub struct Place {
    /// See [`bit`].
    pub word: AtomicU32,
    /// The test; null: there is none. Only the heap thread changes it.
    pub test: AtomicPtr<Test>,
}

impl Place {
    /// One that is free.
    #[must_use]
    pub const fn new() -> Place {
        Place { word: AtomicU32::new(0), test: AtomicPtr::new(core::ptr::null_mut()) }
    }
}

/// A test. All but what is inside may be read by any thread.
#[derive(Debug)]
pub struct Test {
    /// Its id, from 1.
    pub id: u64,
    /// Smallest chunk.
    pub min: u64,
    /// Largest chunk.
    pub max: u64,
    /// When so much is held, all is freed.
    pub total: u64,
    interval: (u64, u64),
    check_content: Option<bool>,
    realloc_percent: Option<u8>,
    /// When it began.
    pub start: u64,
    /// When its time is over.
    pub end: u64,
    /// When it ended.
    pub ended: AtomicU64,
    /// What it has done.
    pub counters: Counters,
    /// How many chunks it looked at when it was last asked to.
    pub looked_at: AtomicU64,
    /// The thread's while it runs, then the heap thread's.
    pub inside: UnsafeCell<Inside>,
}

/// What only one thread may touch.
#[derive(Debug)]
pub struct Inside {
    /// Its chunks.
    pub holding: Holding,
    random: Random,
    sizes: Distribution,
}

impl Test {
    /// A test that begins now.
    pub fn new(id: u64, plan: &Plan<'_>, sizes: Distribution, seed: u64, now: u64) -> Test {
        let mut holding = Holding::default();
        holding.origin.test = id;
        Test {
            id,
            min: plan.min,
            max: plan.max,
            total: plan.total,
            interval: plan.interval,
            check_content: plan.check_content,
            realloc_percent: plan.realloc_percent,
            start: now,
            end: now.saturating_add(plan.time),
            ended: AtomicU64::new(0),
            counters: Counters::default(),
            looked_at: AtomicU64::new(0),
            inside: UnsafeCell::new(Inside { holding, random: Random::new(seed), sizes }),
        }
    }
}

impl Inside {
    /// Gives back the memory of its sizes.
    pub fn end<H: Host>(self, load: &Load<H>) {
        self.sizes.end(load.host(), load.budget());
    }
}

/// A test's thread at work.
struct Run<'l, H> {
    load: &'l Load<H>,
    word: &'l AtomicU32,
    test: &'l Test,
    inside: &'l mut Inside,
}

impl<H: Host> Load<H> {
    /// The body of the thread of the test in this place: returns when the test is over. For the thread alone that
    /// [`Host::start_thread`] starts; without a test that waits for its thread it returns at once.
    pub fn run_test(&self, place: usize) {
        let Some(place) = self.places().get(place) else { return };
        let before = place.word.fetch_or(bit::BEGUN, Ordering::AcqRel);
        let test = place.test.load(Ordering::Acquire);
        if before & (bit::RUNNING | bit::BEGUN) != bit::RUNNING || test.is_null() {
            return;
        }
        // SAFETY: a test stays until the heap thread has seen that RUNNING is cleared, which this thread does after
        // its last use of it.
        let test = unsafe { &*test };
        // SAFETY: BEGUN lets only one thread in, and the heap thread keeps off while RUNNING is set.
        let inside = unsafe { &mut *test.inside.get() };
        inside.holding.origin.stack = self.host().stack();
        Run { load: self, word: &place.word, test, inside }.until_its_end();
        test.ended.store(self.host().now(), Ordering::Relaxed);
        place.word.fetch_and(!bit::RUNNING, Ordering::Release);
        self.host().wake(&place.word);
    }
}

impl<H: Host> Run<'_, H> {
    fn owner(&mut self) -> Owner<'_, H> {
        let Run { load, test, .. } = *self;
        Owner { load, holding: &mut self.inside.holding, counters: &test.counters, finder: 0 }
    }

    /// Allocates until it is told to stop, and then keeps its chunks; or until its time is over, and then frees them.
    fn until_its_end(&mut self) {
        let Run { load, word, test, .. } = *self;
        let host = load.host();
        let paced = test.interval.1 > 0;
        let mut due = test.start.saturating_add(self.interval());
        let mut now = host.now();
        let mut untimed = 0;
        loop {
            let asked = word.load(Ordering::Acquire);
            if asked & bit::STOP != 0 {
                break;
            }
            if asked & bit::CHECK != 0 {
                let checked = self.owner().check();
                test.looked_at.store(checked, Ordering::Relaxed);
                word.fetch_and(!bit::CHECK, Ordering::Release);
                host.wake(word);
                continue;
            }
            if paced || untimed >= UNTIMED {
                now = host.now();
                untimed = 0;
            }
            if now >= test.end {
                self.free();
                if self.inside.holding.chunks.len() == 0 {
                    self.owner().end();
                    break;
                }
                continue;
            }
            if paced && now < due {
                host.wait(word, IDLE, due.min(test.end));
                continue;
            }
            let (done, work) = self.step();
            untimed += work;
            if paced {
                due = due.saturating_add(self.interval()).max(now.saturating_sub(BACKLOG));
            } else if done.is_err() {
                host.wait(word, IDLE, host.now().saturating_add(BREATH));
                untimed = UNTIMED;
            }
        }
        self.owner().settle();
    }

    fn interval(&mut self) -> u64 {
        let (shortest, longest) = self.test.interval;
        self.inside.random.between(shortest, longest)
    }

    /// Frees all chunks, but goes no further when it is told to stop. Returns how many it freed.
    fn free(&mut self) -> u64 {
        let word = self.word;
        self.owner().dismiss_all(|| word.load(Ordering::Relaxed) & bit::STOP == 0).chunks
    }

    /// One allocation, and before it freeing everything where the total is reached. Returns, too, how much work it was,
    /// counted in small allocations.
    fn step(&mut self) -> (Result<(), Fault>, u64) {
        let (load, test) = (self.load, self.test);
        let mut work = 1;
        if self.inside.holding.chunks.bytes() >= test.total {
            work += self.free();
            if self.inside.holding.chunks.len() > 0 {
                return (Ok(()), work);
            }
            test.counters.overflows.add(1);
        }
        let fill = test.check_content.unwrap_or(load.settings().check_content());
        let percent = test.realloc_percent.unwrap_or(load.settings().realloc_percent());
        let room = test.total.saturating_sub(self.inside.holding.chunks.bytes());
        let bytes = self.inside.sizes.choose(room, &mut self.inside.random);
        work += bytes / 4096;
        if self.inside.random.percent(percent) {
            loop {
                let chunks = self.inside.holding.chunks.len();
                if chunks == 0 {
                    break;
                }
                let index = self.inside.random.below(u64::from(chunks)) as u32;
                match self.owner().resize(index, bytes, fill) {
                    Ok(None) => {}
                    Ok(Some(_)) => return (Ok(()), work),
                    Err(fault) => return (Err(fault), work),
                }
            }
        }
        (self.owner().allocate(bytes, fill).map(drop), work)
    }
}

//! All tests, as the heap thread sees them: starting, stopping, looking, destroying.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::command::{Fault, Plan};
use crate::counters::Sum;
use crate::host::Host;
use crate::load::Load;
use crate::manual::Manual;
use crate::mapped::PAGE;
use crate::owner::Owner;
use crate::sizes::Distribution;
use crate::test::{Place, Test, bit};

/// Tests at most.
pub const TESTS: usize = 64;
/// What a test takes.
const TEST_BYTES: usize = size_of::<Test>().next_multiple_of(PAGE);

// All of this is for the heap thread alone, which has the only `Manual`.
impl<H: Host> Load<H> {
    /// The test in a place.
    fn test_in<'m>(&self, _: &'m Manual, place: &Place) -> Option<&'m Test> {
        // SAFETY: null or what `start` put there, which stays until `forget`. That needs the `Manual` for itself.
        unsafe { place.test.load(Ordering::Relaxed).as_ref() }
    }

    /// All tests with their places, in no order.
    pub(crate) fn tests<'m>(&'m self, manual: &'m Manual) -> impl Iterator<Item = (&'m Place, &'m Test)> {
        self.places().iter().filter_map(|place| Some((place, self.test_in(manual, place)?)))
    }

    fn place_of(&self, manual: &Manual, id: u64) -> Result<&Place, Fault> {
        let found =
            self.places().iter().find(|place| self.test_in(manual, place).is_some_and(|test| test.id == id));
        found.ok_or(Fault::NoTest { id })
    }

    /// Starts a test; returns its id.
    pub(crate) fn start(&self, manual: &mut Manual, plan: &Plan<'_>) -> Result<u64, Fault> {
        let free = |place: &Place| place.test.load(Ordering::Relaxed).is_null();
        let index = self.places().iter().position(free).ok_or(Fault::TooManyTests { most: TESTS as u64 })?;
        let place = &self.places()[index];
        let (host, budget) = (self.host(), self.budget());
        let sizes = Distribution::new(plan.sizes, plan.min, plan.max, host, budget)?;
        if !budget.take_bookkeeping(TEST_BYTES as u64) {
            let fault = budget.fault();
            sizes.end(host, budget);
            return Err(fault);
        }
        let Some(memory) = host.map(TEST_BYTES) else {
            budget.give_back_bookkeeping(TEST_BYTES as u64);
            sizes.end(host, budget);
            return Err(Fault::NoMemory { failed: 1 });
        };
        let id = manual.next_id();
        let seed = plan.seed.unwrap_or_else(|| manual.random.next());
        let test = memory.cast::<Test>();
        // SAFETY: the mapping is as large as a test and nobody else's, and pages are aligned.
        unsafe { test.write(Test::new(id, plan, sizes, seed, host.now())) };
        place.test.store(test.as_ptr(), Ordering::Release);
        place.word.store(bit::RUNNING, Ordering::Release);
        if host.start_thread(index) {
            return Ok(id);
        }
        place.word.store(0, Ordering::Release);
        self.forget(manual, place);
        Err(Fault::NoThread)
    }

    /// Stops a test, and waits until its thread has ended.
    fn halt(&self, place: &Place) {
        place.word.fetch_or(bit::STOP, Ordering::AcqRel);
        self.host().wake(&place.word);
        self.wait_for(&place.word, |word| word & bit::RUNNING == 0);
    }

    fn wait_for(&self, word: &AtomicU32, is_so: impl Fn(u32) -> bool) {
        loop {
            let now = word.load(Ordering::Acquire);
            if is_so(now) {
                break;
            }
            self.host().wait(word, now, u64::MAX);
        }
    }

    /// `mt.mem_test_stop`: its chunks stay.
    pub(crate) fn stop(&self, manual: &Manual, id: u64) -> Result<(), Fault> {
        self.halt(self.place_of(manual, id)?);
        Ok(())
    }

    /// `mt.mem_test_destroy`: stops a test and frees its chunks.
    pub(crate) fn destroy(&self, manual: &mut Manual, id: u64) -> Result<Sum, Fault> {
        let place = self.place_of(manual, id)?;
        Ok(self.destroy_in(manual, place))
    }

    /// `mt.mem_test_destroy_all`. Returns how many tests, too.
    pub(crate) fn destroy_all(&self, manual: &mut Manual) -> (u64, Sum) {
        let (mut tests, mut freed) = (0, Sum::default());
        // All are told at once, so that none goes on while others are freed.
        for (place, _) in self.tests(manual) {
            place.word.fetch_or(bit::STOP, Ordering::AcqRel);
            self.host().wake(&place.word);
        }
        for place in self.places() {
            if self.test_in(manual, place).is_some() {
                freed += self.destroy_in(manual, place);
                tests += 1;
            }
        }
        (tests, freed)
    }

    fn destroy_in(&self, manual: &mut Manual, place: &Place) -> Sum {
        self.halt(place);
        let freed = self.as_owner(manual, place, |owner| {
            let freed = owner.dismiss_all(|| true);
            owner.end();
            freed
        });
        if let Some(test) = self.test_in(manual, place) {
            let present = test.counters.present();
            let checked = test.counters.checked.get();
            manual.retire(present, checked);
        }
        self.forget(manual, place);
        freed.unwrap_or_default()
    }

    /// Does something with the chunks of a test whose thread has ended.
    fn as_owner<T>(
        &self,
        manual: &mut Manual,
        place: &Place,
        work: impl FnOnce(&mut Owner<'_, H>) -> T,
    ) -> Option<T> {
        let finder = manual.serial();
        let test = self.test_in(manual, place)?;
        if place.word.load(Ordering::Acquire) & bit::RUNNING != 0 {
            return None;
        }
        // SAFETY: the thread that had it before has ended, and there is one heap thread, which borrows it only here.
        let inside = unsafe { &mut *test.inside.get() };
        let mut owner = Owner { load: self, holding: &mut inside.holding, counters: &test.counters, finder };
        Some(work(&mut owner))
    }

    /// Takes a test without a thread and without chunks out of its place, and gives its memory back.
    fn forget(&self, _: &mut Manual, place: &Place) {
        let Some(test) = NonNull::new(place.test.swap(null_mut(), Ordering::AcqRel)) else { return };
        // SAFETY: nobody else has it: the thread has ended or never began, and the heap thread holds no reference, for
        // this needs the `Manual` for itself. It is not used after being read.
        let inside = unsafe { test.read() }.inside.into_inner();
        inside.end(self);
        // SAFETY: mapped by `start` with this length, and not used any more.
        unsafe { self.host().unmap(test.cast(), TEST_BYTES) };
        self.budget().give_back_bookkeeping(TEST_BYTES as u64);
    }

    /// Has the chunks of all tests looked at, by the threads of those that run; returns how many were.
    pub(crate) fn check_tests(&self, manual: &mut Manual) -> u64 {
        for (place, _) in self.tests(manual) {
            place.word.fetch_or(bit::CHECK, Ordering::AcqRel);
            self.host().wake(&place.word);
        }
        let mut checked = 0;
        for place in self.places() {
            if self.test_in(manual, place).is_none() {
                continue;
            }
            self.wait_for(&place.word, |word| word & bit::CHECK == 0 || word & bit::RUNNING == 0);
            // One whose thread had ended before leaves it to this one.
            let left = place.word.fetch_and(!bit::CHECK, Ordering::AcqRel) & bit::CHECK != 0;
            checked += if left {
                self.as_owner(manual, place, |owner| owner.check()).unwrap_or(0)
            } else {
                self.test_in(manual, place).map_or(0, |test| test.looked_at.load(Ordering::Relaxed))
            };
        }
        checked
    }
}

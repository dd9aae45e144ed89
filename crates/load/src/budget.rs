//! How much the load may hold in all, and how much it holds.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::command::Fault;

/// What all owners hold together, chunks and bookkeeping. It is taken before memory is, and never more than the most.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    held: AtomicU64,
    bookkeeping: AtomicU64,
}

impl Budget {
    /// Nothing held yet, of at most so many bytes.
    #[must_use]
    pub const fn new(most: u64) -> Budget {
        Budget { most, held: AtomicU64::new(0), bookkeeping: AtomicU64::new(0) }
    }

    /// Takes so many bytes; says whether they are to be had.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let more = |held: u64| held.checked_add(bytes).filter(|&sum| sum <= self.most);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives bytes back that were taken.
    pub fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes so many bytes for bookkeeping; says whether they are to be had.
    #[must_use]
    pub fn take_bookkeeping(&self, bytes: u64) -> bool {
        let taken = self.take(bytes);
        if taken {
            self.bookkeeping.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Gives bytes of the bookkeeping back.
    pub fn give_back_bookkeeping(&self, bytes: u64) {
        self.bookkeeping.fetch_sub(bytes, Ordering::Relaxed);
        self.give_back(bytes);
    }

    /// The most, in bytes.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Bytes taken.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Those of them that are bookkeeping.
    #[must_use]
    pub fn bookkeeping(&self) -> u64 {
        self.bookkeeping.load(Ordering::Relaxed)
    }

    /// That more was wanted.
    #[must_use]
    pub fn fault(&self) -> Fault {
        Fault::TooMuch { held: self.held(), most: self.most }
    }

    /// Why so many bytes could not be had: it would be too much, or else the kernel gave none.
    #[must_use]
    pub fn refused(&self, bytes: u64) -> Fault {
        if self.take(bytes) {
            self.give_back(bytes);
            return Fault::NoMemory { failed: 1 };
        }
        self.fault()
    }
}

/// What a chunk of this size counts for: no allocator of the usual ones takes more for it, but for rounding up to a
/// class of sizes.
#[must_use]
#[inline]
pub fn cost(bytes: u64) -> u64 {
    let rounded = bytes.checked_next_multiple_of(16).unwrap_or(u64::MAX);
    rounded.max(24).saturating_add(16)
}

/// What one owner has taken and not spent yet, so that threads do not all write to one word at each allocation.
#[derive(Debug, Default)]
pub struct Purse {
    left: u64,
}

impl Purse {
    /// How much is taken at once: little beside the most, even by as many tests as there can be.
    fn portion(budget: &Budget) -> u64 {
        (budget.most / 4096).min(64 << 10)
    }

    /// Spends so many bytes; says whether they are to be had.
    #[must_use]
    #[inline]
    pub fn spend(&mut self, bytes: u64, budget: &Budget) -> bool {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return true;
        }
        self.fetch(bytes, budget)
    }

    #[cold]
    fn fetch(&mut self, bytes: u64, budget: &Budget) -> bool {
        let missing = bytes - self.left;
        let portion = Self::portion(budget);
        if missing < portion && budget.take(portion) {
            self.left = self.left + portion - bytes;
            return true;
        }
        let taken = budget.take(missing);
        if taken {
            self.left = 0;
        }
        taken
    }

    /// Takes back bytes that were spent.
    #[inline]
    pub fn put_back(&mut self, bytes: u64, budget: &Budget) {
        self.left += bytes;
        let portion = Self::portion(budget);
        if self.left > 2 * portion {
            budget.give_back(self.left - portion);
            self.left = portion;
        }
    }

    /// Gives back all that is not spent.
    pub fn empty(&mut self, budget: &Budget) {
        budget.give_back(core::mem::take(&mut self.left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_most_is_given() {
        let budget = Budget::new(100);
        assert!(budget.take(60));
        assert!(!budget.take(41));
        assert!(!budget.take(u64::MAX));
        assert!(budget.take_bookkeeping(40));
        assert_eq!((budget.held(), budget.bookkeeping()), (100, 40));
        assert_eq!(budget.fault(), Fault::TooMuch { held: 100, most: 100 });
        budget.give_back_bookkeeping(40);
        budget.give_back(60);
        assert_eq!((budget.held(), budget.bookkeeping()), (0, 0));
    }

    #[test]
    fn a_purse_can_spend_all_that_there_is_and_gives_the_rest_back() {
        const MOST: u64 = 1 << 30;
        let budget = Budget::new(MOST);
        let mut purse = Purse::default();
        assert!(purse.spend(100, &budget));
        assert_eq!(budget.held(), 64 << 10, "it takes a portion");
        assert!(purse.spend(90_000, &budget), "more than a portion, less than that and what is left");
        purse.put_back(90_000, &budget);
        assert!(purse.spend(MOST - 100, &budget));
        assert!(!purse.spend(1, &budget));
        purse.put_back(MOST - 100, &budget);
        assert!(budget.held() <= 100 + (64 << 10));
        purse.empty(&budget);
        assert_eq!(budget.held(), 100);
        assert!(!purse.spend(u64::MAX, &budget));
    }

    #[test]
    fn a_chunk_costs_what_an_allocator_takes_for_it() {
        assert_eq!([1, 24, 25, 64, 65].map(cost), [40, 48, 48, 80, 96]);
        assert_eq!(cost(u64::MAX), u64::MAX);
    }
}

//! Hits of several sources, put into the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter;

use crate::hit::Hit;

/// How long hits are held back while they come in live, in nanoseconds: longer than any source is left unread.
pub const HOLD: u64 = 40_000_000;

/// Takes hits in any order, and gives them back in the order of their times; those of one time in the order they came.
#[derive(Debug, Default)]
pub struct Merger {
    waiting: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
}

impl Merger {
    /// One with nothing in it.
    #[must_use]
    pub fn new() -> Merger {
        Merger::default()
    }

    /// Takes a hit.
    pub fn push(&mut self, hit: Hit) {
        self.waiting.push(Reverse(Entry { order: (hit.time, self.pushed), hit }));
        self.pushed += 1;
    }

    /// Gives the hits back that happened before `until`, in nanoseconds of CLOCK_MONOTONIC. While hits come in, that is
    /// the present less [`HOLD`]; what comes in later than that is given back late, but not lost.
    pub fn release(&mut self, until: u64) -> impl Iterator<Item = Hit> + '_ {
        iter::from_fn(move || {
            if self.waiting.peek()?.0.hit.time >= until {
                return None;
            }
            self.waiting.pop().map(|Reverse(entry)| entry.hit)
        })
    }

    /// Gives all of the rest back.
    pub fn finish(&mut self) -> impl Iterator<Item = Hit> + '_ {
        iter::from_fn(|| self.waiting.pop().map(|Reverse(entry)| entry.hit))
    }
}

/// A hit with its place in the order.
#[derive(Debug)]
struct Entry {
    order: (u64, u64),
    hit: Hit,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(time: u64, pid: u32) -> Hit {
        Hit { event: 0, time, pid, tid: pid, values: Vec::new(), stack: None }
    }

    #[test]
    fn what_is_recent_is_held_back() {
        let mut merger = Merger::new();
        for time in [30, 10, 20] {
            merger.push(hit(time, 1));
        }
        assert_eq!(merger.release(20).map(|hit| hit.time).collect::<Vec<_>>(), [10]);
        merger.push(hit(15, 1));
        assert_eq!(merger.release(30).map(|hit| hit.time).collect::<Vec<_>>(), [15, 20]);
        assert_eq!(merger.finish().map(|hit| hit.time).collect::<Vec<_>>(), [30]);
    }

    proptest! {
        #[test]
        fn all_come_back_in_order(times in proptest::collection::vec(0u64..50, 0..200)) {
            let mut merger = Merger::new();
            for (index, time) in times.iter().enumerate() {
                merger.push(hit(*time, index as u32));
            }
            let mut expected: Vec<(u64, u32)> = times.iter().copied().zip(0..).collect();
            expected.sort_unstable();
            let released: Vec<Hit> = merger.release(25).collect();
            let rest: Vec<Hit> = merger.finish().collect();
            prop_assert!(released.iter().all(|hit| hit.time < 25) && rest.iter().all(|hit| hit.time >= 25));
            let found: Vec<(u64, u32)> =
                released.iter().chain(&rest).map(|hit| (hit.time, hit.pid)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

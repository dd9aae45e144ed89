//! An index of chunks by their size: the largest that is not larger than so many bytes, and the smallest larger one, are
//! found without looking at the others.

use crate::budget::Budget;
use crate::host::Host;
use crate::mapped::{Mapped, PAGE, Zeroable};
use crate::segments::Segments;

/// Below this size each size has a list of its own; above, each 4096th part of a power of two.
const EXACT: u64 = 1 << 20;
/// Lists, of which the last is for sizes just below 2^64.
const LISTS: usize = (1 << 20) + (44 << 12);
/// The levels of the map of lists that are not empty: a bit in one stands for a word of the one before.
const LEVELS: [usize; 4] = {
    let first = LISTS.div_ceil(64);
    let second = first.div_ceil(64);
    let third = second.div_ceil(64);
    [first, second, third, third.div_ceil(64)]
};
/// Where each level begins among all words.
const STARTS: [usize; 4] = [0, LEVELS[0], LEVELS[0] + LEVELS[1], LEVELS[0] + LEVELS[1] + LEVELS[2]];
const WORDS: usize = STARTS[3] + LEVELS[3];
/// Lists whose heads lie in one page.
const IN_PAGE: usize = PAGE / size_of::<u32>();
const HEAD_PAGES: usize = LISTS.div_ceil(IN_PAGE);
/// Lists whose bits of the first level lie in one page.
const IN_BIT_PAGE: usize = PAGE * 8;

/// The neighbours of a chunk in its list, as index and 1; 0: none.
#[derive(Debug, Clone, Copy, Default)]
struct Links {
    before: u32,
    after: u32,
}

// SAFETY: two numbers.
unsafe impl Zeroable for Links {}

/// The index. It knows chunks by their place in an array that it follows step by step.
#[derive(Debug, Default)]
pub struct BySize {
    lists: Option<Lists>,
    links: Segments<Links>,
    /// Which pages of heads are paid for.
    paid: [u64; HEAD_PAGES.div_ceil(64)],
    /// Which pages of bits are.
    bits_paid: u64,
}

#[derive(Debug)]
struct Lists {
    /// The first chunk of each list, as index and 1.
    heads: Mapped<u32>,
    words: Mapped<u64>,
}

/// The list for chunks of this size.
#[inline]
fn list_of(bytes: u64) -> usize {
    if bytes < EXACT {
        return bytes as usize;
    }
    let exponent = bytes.ilog2();
    let part = (bytes >> (exponent - 12)) & 0xfff;
    EXACT as usize + ((exponent as usize - 20) << 12) + part as usize
}

impl BySize {
    /// Makes sure that there is room for one more chunk, and for one of this size; says whether there is.
    #[must_use]
    #[inline]
    pub fn prepare<H: Host>(&mut self, bytes: u64, host: &H, budget: &Budget) -> bool {
        let page = list_of(bytes) / IN_PAGE;
        let paid = self.paid[page / 64] & (1 << (page % 64)) != 0;
        self.links.prepare(host, budget) && (paid || self.pay(page, host, budget))
    }

    #[cold]
    fn pay<H: Host>(&mut self, page: usize, host: &H, budget: &Budget) -> bool {
        const { assert!(LISTS.div_ceil(IN_BIT_PAGE) <= 64) };
        let bits = 1 << (page * IN_PAGE / IN_BIT_PAGE);
        // The upper levels lie together in one page, which is paid for with the first.
        let pages = 1 + u64::from(self.bits_paid & bits == 0) + u64::from(self.bits_paid == 0);
        if !budget.take_bookkeeping(pages * PAGE as u64) {
            return false;
        }
        if self.lists.is_none() {
            self.lists = Lists::new(host);
        }
        if self.lists.is_none() {
            budget.give_back_bookkeeping(pages * PAGE as u64);
            return false;
        }
        self.paid[page / 64] |= 1 << (page % 64);
        self.bits_paid |= bits;
        true
    }

    /// A chunk of this size was appended; [`BySize::prepare`] made room for it.
    #[inline]
    pub fn appended(&mut self, bytes: u64) {
        let index = self.links.len();
        self.links.push(Links::default());
        self.link(index, bytes);
    }

    /// The chunk at `index` has another size now, for which [`BySize::prepare`] made room.
    pub fn resized(&mut self, index: u32, old: u64, new: u64) {
        self.unlink(index, old);
        self.link(index, new);
    }

    /// The chunk at `index` was taken away, and the last one, of size `last`, put in its place.
    pub fn removed<H: Host>(&mut self, index: u32, bytes: u64, last: u64, host: &H, budget: &Budget) {
        self.unlink(index, bytes);
        let Some(links) = self.links.pop(host, budget) else { return };
        let moved = self.links.len();
        if index == moved {
            return;
        }
        self.links.set(index, links);
        self.point(links.before, last, |of| of.after = index + 1, index + 1);
        if let Some(after) = links.after.checked_sub(1) {
            let of = self.links.get(after);
            self.links.set(after, Links { before: index + 1, ..of });
        }
    }

    /// Changes what points at a chunk: the neighbour before it, or the head of its list.
    #[inline]
    fn point(&mut self, before: u32, bytes: u64, change: impl FnOnce(&mut Links), head: u32) {
        if let Some(before) = before.checked_sub(1) {
            let mut of = self.links.get(before);
            change(&mut of);
            self.links.set(before, of);
        } else if let Some(lists) = &mut self.lists {
            lists.set_head(list_of(bytes), head);
        }
    }

    #[inline]
    fn link(&mut self, index: u32, bytes: u64) {
        let Some(lists) = &mut self.lists else { return };
        let list = list_of(bytes);
        let after = lists.heads[list];
        lists.set_head(list, index + 1);
        self.links.set(index, Links { before: 0, after });
        if let Some(after) = after.checked_sub(1) {
            let of = self.links.get(after);
            self.links.set(after, Links { before: index + 1, ..of });
        }
    }

    fn unlink(&mut self, index: u32, bytes: u64) {
        let links = self.links.get(index);
        self.point(links.before, bytes, |of| of.after = links.after, links.after);
        if let Some(after) = links.after.checked_sub(1) {
            let of = self.links.get(after);
            self.links.set(after, Links { before: links.before, ..of });
        }
    }

    /// A chunk that is not larger than so many bytes, and of those the largest, or one that is smaller by less than a
    /// 4096th part. `size` tells the size of a chunk.
    pub fn at_most(&self, bytes: u64, size: impl Fn(u32) -> u64) -> Option<u32> {
        let lists = self.lists.as_ref()?;
        let list = list_of(bytes);
        // Only the first list can hold both smaller and larger ones.
        let near = self.chunks(list).filter(|&index| size(index) <= bytes).max_by_key(|&index| size(index));
        near.or_else(|| self.chunks(lists.before(list.checked_sub(1)?)?).next())
    }

    /// The smallest chunk that is larger than so many bytes.
    pub fn larger(&self, bytes: u64, size: impl Fn(u32) -> u64) -> Option<u32> {
        let lists = self.lists.as_ref()?;
        let list = list_of(bytes);
        let smallest = |list| self.chunks(list).filter(|&i| size(i) > bytes).min_by_key(|&i| size(i));
        let near = if bytes < EXACT { None } else { smallest(list) };
        near.or_else(|| {
            let list = lists.after(list + 1)?;
            if list < EXACT as usize { self.chunks(list).next() } else { smallest(list) }
        })
    }

    /// The chunks of a list. Of an exact one, all are alike: the first will do.
    fn chunks(&self, list: usize) -> impl Iterator<Item = u32> {
        let head = self.lists.as_ref().and_then(|lists| lists.heads.get(list).copied()).unwrap_or(0);
        let first = head.checked_sub(1);
        let more = move |&index: &u32| {
            if list < EXACT as usize { None } else { self.links.get(index).after.checked_sub(1) }
        };
        core::iter::successors(first, more)
    }

    /// Forgets everything and gives all memory back.
    pub fn clear<H: Host>(&mut self, host: &H, budget: &Budget) {
        self.links.clear(host, budget);
        if let Some(lists) = self.lists.take() {
            lists.heads.unmap(host);
            lists.words.unmap(host);
        }
        let heads: u32 = self.paid.iter().map(|word| word.count_ones()).sum();
        let bits = self.bits_paid.count_ones() + u32::from(self.bits_paid != 0);
        self.paid = Default::default();
        self.bits_paid = 0;
        budget.give_back_bookkeeping(u64::from(heads + bits) * PAGE as u64);
    }
}

impl Lists {
    fn new<H: Host>(host: &H) -> Option<Lists> {
        let heads = Mapped::new(LISTS, host)?;
        match Mapped::new(WORDS, host) {
            Some(words) => Some(Lists { heads, words }),
            None => {
                heads.unmap(host);
                None
            }
        }
    }

    #[inline]
    fn set_head(&mut self, list: usize, head: u32) {
        let before = core::mem::replace(&mut self.heads[list], head);
        match (before, head) {
            (0, 1..) => self.mark(list),
            (1.., 0) => self.unmark(list),
            _ => {}
        }
    }

    fn mark(&mut self, list: usize) {
        let mut place = list;
        for start in STARTS {
            self.words[start + place / 64] |= 1 << (place % 64);
            place /= 64;
        }
    }

    fn unmark(&mut self, list: usize) {
        let mut place = list;
        for start in STARTS {
            let word = &mut self.words[start + place / 64];
            *word &= !(1 << (place % 64));
            if *word != 0 {
                break;
            }
            place /= 64;
        }
    }

    /// The last list up to this one that is not empty.
    fn before(&self, list: usize) -> Option<usize> {
        let mut place = list;
        for (level, start) in STARTS.into_iter().enumerate() {
            let word = self.words[start + place / 64] & (u64::MAX >> (63 - place % 64));
            if word != 0 {
                let last = |word: u64| 63 - word.leading_zeros() as usize;
                return Some(self.down(level, place / 64 * 64 + last(word), last));
            }
            place = (place / 64).checked_sub(1)?;
        }
        None
    }

    /// The first list from this one on that is not empty.
    fn after(&self, list: usize) -> Option<usize> {
        let mut place = list;
        for (level, start) in STARTS.into_iter().enumerate() {
            if place / 64 >= LEVELS[level] {
                return None;
            }
            let word = self.words[start + place / 64] & (u64::MAX << (place % 64));
            if word != 0 {
                let first = |word: u64| word.trailing_zeros() as usize;
                return Some(self.down(level, place / 64 * 64 + first(word), first));
            }
            place = place / 64 + 1;
        }
        None
    }

    /// From a bit of a level down to a list, in each word the bit that `choose` names.
    fn down(&self, level: usize, mut place: usize, choose: impl Fn(u64) -> usize) -> usize {
        for start in STARTS[..level].iter().rev() {
            place = place * 64 + choose(self.words[start + place]);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use proptest::prelude::*;

    #[test]
    fn each_size_has_a_list_and_larger_ones_no_lower_list() {
        assert_eq!(list_of(u64::MAX), LISTS - 1);
        assert_eq!(list_of(EXACT - 1) + 1, list_of(EXACT));
        let mut last = 0;
        for exponent in 0..64 {
            for size in [1 << exponent, (1 << exponent) + (1 << exponent >> 1)] {
                assert!(list_of(size) >= last, "{size}");
                last = list_of(size);
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(u64),
        Remove(prop::sample::Index),
        Resize(prop::sample::Index, u64),
        Find(u64),
    }

    fn size() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0_u64..40, 2 => 0_u64..EXACT + 5, 2 => EXACT..EXACT + 2000,
            1 => (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => size().prop_map(Step::Append),
            2 => any::<prop::sample::Index>().prop_map(Step::Remove),
            2 => (any::<prop::sample::Index>(), size()).prop_map(|(index, size)| Step::Resize(index, size)),
            3 => size().prop_map(Step::Find),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_finds_what_a_search_through_all_finds(steps in prop::collection::vec(step(), 1..120)) {
            let (host, budget) = (Fake::default(), Budget::new(u64::MAX));
            let mut index = BySize::default();
            let mut sizes: Vec<u64> = Vec::new();
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        prop_assert!(index.prepare(bytes, &host, &budget));
                        index.appended(bytes);
                        sizes.push(bytes);
                    }
                    Step::Remove(place) if !sizes.is_empty() => {
                        let place = place.index(sizes.len());
                        let last = sizes[sizes.len() - 1];
                        index.removed(place as u32, sizes[place], last, &host, &budget);
                        sizes.swap_remove(place);
                    }
                    Step::Resize(place, bytes) if !sizes.is_empty() => {
                        let place = place.index(sizes.len());
                        prop_assert!(index.prepare(bytes, &host, &budget));
                        index.resized(place as u32, sizes[place], bytes);
                        sizes[place] = bytes;
                    }
                    Step::Find(bytes) => {
                        let at = |place: u32| sizes[place as usize];
                        let found = index.at_most(bytes, at).map(at);
                        let best = sizes.iter().copied().filter(|&size| size <= bytes).max();
                        prop_assert_eq!(found.is_some(), best.is_some());
                        if let (Some(found), Some(best)) = (found, best) {
                            prop_assert!(found <= best && best - found <= best >> 12);
                            prop_assert!(best >= EXACT || best == found);
                        }
                        let best = sizes.iter().copied().filter(|&size| size > bytes).min();
                        prop_assert_eq!(index.larger(bytes, at).map(at), best);
                    }
                    _ => {}
                }
            }
            index.clear(&host, &budget);
            prop_assert_eq!((budget.held(), budget.bookkeeping(), host.mapped()), (0, 0, 0));
        }
    }
}

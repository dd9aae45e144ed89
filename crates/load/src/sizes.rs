//! How the sizes of chunks are chosen.

use crate::budget::Budget;
use crate::command::{Fault, Sizes};
use crate::host::Host;
use crate::mapped::{Mapped, Zeroable};
use crate::random::Random;
use crate::table;
use crate::value::Value;

/// What a table's memory takes.
const TABLE_BYTES: u64 = (table::MOST * size_of::<Entry>()) as u64;

/// An entry of a table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    size: u64,
    /// The weights of all entries up to this one together.
    weights: u64,
}

// SAFETY: two numbers.
unsafe impl Zeroable for Entry {}

/// A distribution of sizes from `min` to `max`.
#[derive(Debug)]
pub struct Distribution {
    min: u64,
    max: u64,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Uniform,
    Log,
    Table { entries: Mapped<Entry>, length: usize },
}

impl Distribution {
    /// Each size from `min` to `max` alike.
    #[must_use]
    pub fn uniform(min: u64, max: u64) -> Distribution {
        Distribution { min, max, shape: Shape::Uniform }
    }

    /// Sizes from `min` to `max`, chosen as asked.
    ///
    /// # Errors
    /// [`Fault::BadTable`]; where there is no room for a table's copy, that there is no memory, or that it is too much.
    pub fn new<H: Host>(
        sizes: Sizes<'_>,
        min: u64,
        max: u64,
        host: &H,
        budget: &Budget,
    ) -> Result<Distribution, Fault> {
        let shape = match sizes {
            Sizes::Uniform => Shape::Uniform,
            Sizes::Log => Shape::Log,
            Sizes::Table(json) => {
                if !budget.take_bookkeeping(TABLE_BYTES) {
                    return Err(budget.fault());
                }
                let Some(mut entries) = Mapped::new(table::MOST, host) else {
                    budget.give_back_bookkeeping(TABLE_BYTES);
                    return Err(Fault::NoMemory { failed: 1 });
                };
                match read_table(json, min, max, &mut entries) {
                    Some(length) if length > 0 => Shape::Table { entries, length },
                    _ => {
                        entries.unmap(host);
                        budget.give_back_bookkeeping(TABLE_BYTES);
                        return Err(Fault::BadTable);
                    }
                }
            }
        };
        Ok(Distribution { min, max, shape })
    }

    /// A size, of at most `room` bytes, so that the last chunk makes a total full. Never 0.
    #[inline]
    pub fn choose(&self, room: u64, random: &mut Random) -> u64 {
        let (least, most) = (self.min.min(room).max(1), self.max.min(room).max(1));
        match &self.shape {
            Shape::Uniform => random.between(least, most),
            Shape::Log => log(least, most, random),
            Shape::Table { entries, length } => {
                let entries = &entries[..*length];
                let place = random.below(entries.last().map_or(0, |last| last.weights));
                let index = entries.partition_point(|entry| entry.weights <= place);
                entries.get(index).map_or(least, |entry| entry.size.min(most))
            }
        }
    }

    /// Gives a table's memory back.
    pub fn end<H: Host>(self, host: &H, budget: &Budget) {
        if let Shape::Table { entries, .. } = self.shape {
            entries.unmap(host);
            budget.give_back_bookkeeping(TABLE_BYTES);
        }
    }
}

/// A number from `least`, which is not 0, to `most`: each power of two as likely as the others, one that the ends cut as
/// its part that is left; and within it all numbers alike.
fn log(least: u64, most: u64, random: &mut Random) -> u64 {
    if most <= least {
        return least;
    }
    let (low, high) = (least.ilog2(), most.ilog2());
    if low == high {
        return random.between(least, most);
    }
    // Weights are parts of 2^32 of a whole power.
    let part = |numbers: u64, exponent: u32| ((u128::from(numbers) << 32) >> exponent) as u64;
    let first_end = 1 << (low + 1);
    let last_start = 1_u64 << high;
    let first = part(first_end - least, low).max(1);
    let last = part(most - last_start + 1, high).max(1);
    let whole = u64::from(high - low - 1);
    let place = random.below(first + (whole << 32) + last);
    if place < first {
        random.between(least, first_end - 1)
    } else if place - first < whole << 32 {
        let start = first_end << ((place - first) >> 32);
        random.between(start, start + (start - 1))
    } else {
        random.between(last_start, most)
    }
}

/// Takes the rows of a table whose sizes are from `min` to `max`. Returns how many they are; `None` if it is no table, or weighs
/// too much.
fn read_table(json: &[u8], min: u64, max: u64, to: &mut [Entry]) -> Option<usize> {
    if !table::is_table(Value::parse(json).ok()?) {
        return None;
    }
    let (mut length, mut weights) = (0, 0_u64);
    for (size, weight) in table::rows(json).filter(|(size, _)| (min..=max).contains(size)) {
        weights = weights.checked_add(weight)?;
        *to.get_mut(length)? = Entry { size, weights };
        length += 1;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use proptest::prelude::*;

    fn chosen(sizes: Sizes<'_>, min: u64, max: u64, count: usize) -> Vec<u64> {
        let (host, budget) = (Fake::default(), Budget::new(1 << 20));
        let distribution = Distribution::new(sizes, min, max, &host, &budget).expect("a distribution");
        let mut random = Random::new(1);
        let sizes = (0..count).map(|_| distribution.choose(u64::MAX, &mut random)).collect();
        distribution.end(&host, &budget);
        assert_eq!((budget.held(), host.mapped()), (0, 0));
        sizes
    }

    #[test]
    fn logarithmic_sizes_come_alike_from_each_power_of_two() {
        let sizes = chosen(Sizes::Log, 16, 65_535, 12_000);
        for exponent in 4..16 {
            let count = sizes.iter().filter(|size| size.ilog2() == exponent).count();
            assert!((800..1200).contains(&count), "2^{exponent}: {count} of 1000");
        }
        // Of 2^6 a quarter is left, of 2^7 an eighth.
        let sizes = chosen(Sizes::Log, 112, 143, 12_000);
        let low = sizes.iter().filter(|&&size| size < 128).count();
        assert!((7600..8400).contains(&low), "{low} of 8000");
    }

    #[test]
    fn a_table_is_chosen_from_by_weight() {
        let sizes = chosen(Sizes::Table(b" [[16, 1] , [64,3],[5000,10]]\n"), 1, 100, 4000);
        let small = sizes.iter().filter(|&&size| size == 16).count();
        assert!(sizes.iter().all(|&size| size == 16 || size == 64));
        assert!((850..1150).contains(&small), "{small} of 1000");
    }

    #[test]
    fn the_room_limits_what_is_chosen() {
        let (host, budget) = (Fake::default(), Budget::new(1 << 20));
        let mut random = Random::new(1);
        for sizes in [Sizes::Uniform, Sizes::Log, Sizes::Table(b"[[50,1]]")] {
            let distribution = Distribution::new(sizes, 50, 100, &host, &budget).expect("a distribution");
            assert_eq!(distribution.choose(3, &mut random), 3);
            assert_eq!(distribution.choose(0, &mut random), 1);
            distribution.end(&host, &budget);
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let (host, budget) = (Fake::default(), Budget::new(1 << 20));
        let long = format!("[{}]", ["[1,1]"; 1025].join(","));
        for json in [
            "",
            "[",
            "[]",
            "[[]]",
            "[[1,1]",
            "[[1,1]]x",
            "[[1,1],]",
            "[[1]]",
            "[[-1,1]]",
            "[[1,1.5]]",
            "[[1,0]]",
            "[[200,1]]",
            "[[1,18446744073709551615],[2,1]]",
            "[[99999999999999999999,1]]",
            &long,
        ] {
            let made = Distribution::new(Sizes::Table(json.as_bytes()), 1, 100, &host, &budget);
            assert_eq!(made.err(), Some(Fault::BadTable), "{json}");
        }
        assert_eq!((budget.held(), host.mapped()), (0, 0));
        let full = Budget::new(100);
        let made = Distribution::new(Sizes::Table(b"[[1,1]]"), 1, 100, &host, &full);
        assert_eq!(made.err(), Some(Fault::TooMuch { held: 0, most: 100 }));
    }

    proptest! {
        #[test]
        fn sizes_lie_between_their_bounds(one in 1_u64.., other in 1_u64.., room: u64, seed: u64) {
            let (min, max) = (one.min(other), one.max(other));
            let mut random = Random::new(seed);
            for shape in [Shape::Uniform, Shape::Log] {
                let size = Distribution { min, max, shape }.choose(room, &mut random);
                prop_assert!((min.min(room).max(1)..=max.min(room).max(1)).contains(&size));
            }
        }

        #[test]
        fn any_text_as_a_table_is_taken_or_refused(json in "[\\[\\], 0-9]{0,40}") {
            let mut entries = [Entry { size: 0, weights: 0 }; 4];
            let _ = read_table(json.as_bytes(), 1, 100, &mut entries);
        }
    }
}

//! A table of sizes, as `memtrial stress --sizes FILE` reads it.

use crate::arguments::quantities::some_bytes;

/// Most sizes of a table: it must fit into one request.
const MOST: usize = 1000;

/// Why a table can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A line is wrong.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// There is no size.
    #[error("there is no size in it")]
    Empty,
    /// There are too many.
    #[error("there are more than {MOST} sizes in it")]
    TooLong,
}

/// Sizes in bytes and their weights, from lines `SIZE WEIGHT`. A weight is 1 where none is given; what follows
/// `#` is a comment.
pub fn parse(text: &str) -> Result<Vec<(u64, u64)>, TableError> {
    let mut sizes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(size) = words.next() else { continue };
        let wrong = |why: String| TableError::Line { line: index + 1, why };
        let size = some_bytes(size).map_err(|why| wrong(format!("{size}: {why}")))?;
        let weight = match words.next() {
            // Their sum must fit into 64 bits.
            Some(word) => word.parse::<u32>().ok().filter(|weight| *weight > 0).ok_or_else(|| {
                wrong(format!("{word}: expected a weight, a whole number from 1 to {}", u32::MAX))
            })?,
            None => 1,
        };
        if let Some(word) = words.next() {
            return Err(wrong(format!("{word}: expected SIZE WEIGHT, and nothing behind it")));
        }
        sizes.push((size, weight.into()));
    }
    match sizes.len() {
        0 => Err(TableError::Empty),
        count if count > MOST => Err(TableError::TooLong),
        _ => Ok(sizes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrong_in(text: &str) -> usize {
        match parse(text) {
            Err(TableError::Line { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_have_a_size_and_may_have_a_weight() {
        let text = "# sizes of a web server\n16 100\n\n  4k\t7 # pages\r\n1m\n";
        assert_eq!(parse(text), Ok(vec![(16, 100), (4096, 7), (1 << 20, 1)]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(wrong_in("16\n0 1\n"), 2);
        assert_eq!(wrong_in("16 0"), 1);
        assert_eq!(wrong_in("\n\n16 1 1"), 3);
        assert_eq!(wrong_in("16 -1"), 1);
        assert_eq!(wrong_in("16 4294967296"), 1);
        assert_eq!(parse("# nothing\n"), Err(TableError::Empty));
        assert_eq!(parse(&"1\n".repeat(MOST + 1)), Err(TableError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_more_than_it_says(text in "([0-9kmg# \\-]{0,12}\n){0,8}") {
            if let Ok(sizes) = parse(&text) {
                prop_assert!(sizes.len() <= text.lines().count());
                prop_assert!(sizes.iter().all(|&(size, weight)| size > 0 && weight > 0));
            }
        }
    }
}

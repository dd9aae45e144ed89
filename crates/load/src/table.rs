//! A table of sizes: `[[SIZE, WEIGHT], …]`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::json::Token;
use crate::value::{Elements, Value};

/// Most rows.
pub const MOST: usize = 1024;

/// Whether `value` is a table of 1 to [`MOST`] rows, each of two whole numbers from 1 to 2⁶⁴ - 1, written in digits.
#[must_use]
pub fn is_table(value: Value<'_>) -> bool {
    let rows = value.elements();
    (1..=MOST).contains(&rows.clone().count()) && rows.clone().all(|found| row(found).is_some())
}

/// The sizes and weights of a table that [`is_table`] has found to be one.
pub fn rows(json: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    rows_of(json).into_iter().flatten().map_while(row)
}

fn rows_of(json: &[u8]) -> Option<Elements<'_>> {
    Value::parse(json).ok().map(Value::elements)
}

fn row(value: Value<'_>) -> Option<(u64, u64)> {
    let mut numbers = value.elements();
    let pair = (number(numbers.next()?)?, number(numbers.next()?)?);
    numbers.next().is_none().then_some(pair)
}

fn number(value: Value<'_>) -> Option<u64> {
    let Token::Number(digits) = value.first() else { return None };
    digits.parse().ok().filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> bool {
        is_table(Value::parse(json.as_bytes()).expect("right"))
    }

    #[test]
    fn a_table_has_pairs_of_positive_numbers() {
        assert!(table("[[16,1],[18446744073709551615, 2]]"));
        for no in [
            "[]",
            "{}",
            "1",
            "[1]",
            "[[]]",
            "[[1]]",
            "[[1,2,3]]",
            "[[0,1]]",
            "[[1,0]]",
            "[[1,-1]]",
            "[[1,1.5]]",
        ] {
            assert!(!table(no), "{no}");
        }
    }

    #[test]
    fn a_table_has_a_limited_length() {
        let long = |rows: usize| format!("[{}]", vec!["[1,1]"; rows].join(","));
        assert!(table(&long(MOST)));
        assert!(!table(&long(MOST + 1)));
    }

    #[test]
    fn rows_come_in_the_order_of_the_text() {
        assert_eq!(rows(b"[[16,1], [64,3]]").collect::<Vec<_>>(), [(16, 1), (64, 3)]);
    }
}

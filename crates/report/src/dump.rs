//! Bytes as people read them: in hexadecimal, what should be there beside what is, and as text.

/// Bytes in a line.
const WIDE: usize = 8;

/// A line of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Place of its first byte in the chunk.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// The same as text: what is no printable ASCII is a dot.
    pub text: String,
}

/// Lines of so many bytes from this place on, expected and found given in hexadecimal. What is no hexadecimal ends
/// them: it comes from the target.
pub fn lines(offset: u64, expected: &str, found: &str) -> Vec<Line> {
    let (expected, found) = (bytes(expected), bytes(found));
    let starts = (0..expected.len().max(found.len())).step_by(WIDE);
    let part =
        |bytes: &[u8], start: usize| -> Vec<u8> { bytes.iter().skip(start).take(WIDE).copied().collect() };
    starts
        .map(|start| {
            let found = part(&found, start);
            Line {
                offset: offset.saturating_add(start as u64),
                expected: spaced(&part(&expected, start)),
                text: found.iter().map(|&byte| shown(byte)).collect(),
                found: spaced(&found),
            }
        })
        .collect()
}

/// Digits of a line of hexadecimal.
pub const DIGITS: usize = WIDE * 3 - 1;

fn bytes(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map_while(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn shown(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_found_is_text_where_it_can_be() {
        let lines = lines(16, "e9ffe9ffe9ffe9ffe9", "414243001b20fffe5a");
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].expected, "e9 ff e9 ff e9 ff e9 ff");
        assert_eq!((&*lines[0].found, &*lines[0].text), ("41 42 43 00 1b 20 ff fe", "ABC.. .."));
        assert_eq!((lines[1].offset, &*lines[1].found, &*lines[1].text), (24, "5a", "Z"));
        assert!(lines[0].found.len() == DIGITS);
    }

    proptest! {
        #[test]
        fn whatever_the_target_says_is_shown_without_control_characters(
            offset: u64, expected in "\\PC{0,80}|[0-9a-f]{0,80}", found in ".{0,80}|[0-9a-fA-F]{0,80}",
        ) {
            for line in lines(offset, &expected, &found) {
                let all = format!("{}{}{}", line.expected, line.found, line.text);
                prop_assert!(all.chars().all(|c| c.is_ascii() && !c.is_ascii_control()));
            }
        }
    }
}

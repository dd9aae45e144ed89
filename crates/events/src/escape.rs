//! Texts of a target, written so that a line stays a line.

/// Appends `bytes`. What is not UTF-8 and what could end a line or do something to a terminal is written as C does,
/// `\n` or `\x1b`.
pub fn escape(line: &mut String, bytes: &[u8]) {
    // Most texts are such, and there may be a million a second.
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        line.push_str(text);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(line, character);
        }
        hexadecimal(line, chunk.invalid());
    }
}

/// Appends `bytes` in quotes; a quote or backslash in them is escaped too.
pub fn quote(line: &mut String, bytes: &[u8]) {
    line.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if matches!(character, '"' | '\\') {
                line.push('\\');
            }
            push(line, character);
        }
        hexadecimal(line, chunk.invalid());
    }
    line.push('"');
}

fn push(line: &mut String, character: char) {
    match character {
        '\n' => line.push_str("\\n"),
        '\t' => line.push_str("\\t"),
        '\r' => line.push_str("\\r"),
        // Line ends of Unicode, and what turns the direction of writing.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => hexadecimal_character(line, character),
        character if character.is_control() => hexadecimal_character(line, character),
        character => line.push(character),
    }
}

fn hexadecimal_character(line: &mut String, character: char) {
    hexadecimal(line, character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn hexadecimal(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        line.push_str("\\x");
        for digit in [byte >> 4, byte & 15] {
            line.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut line = String::new();
        escape(&mut line, b"a\n\t\r\x1b[1m\x00\xff\"\\ \xc3\xa4 \xe2\x80\xae \xc2\x85");
        assert_eq!(line, "a\\n\\t\\r\\x1b[1m\\x00\\xff\"\\ ä \\xe2\\x80\\xae \\xc2\\x85");
        line.clear();
        quote(&mut line, b"a\"\\\n");
        assert_eq!(line, r#""a\"\\\n""#);
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_line(bytes: Vec<u8>) {
            let mut line = String::new();
            escape(&mut line, &bytes);
            quote(&mut line, &bytes);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}

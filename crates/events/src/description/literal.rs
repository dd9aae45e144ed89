//! Formats as C has them: literals with escapes, and the macros of `<inttypes.h>` between them.

use super::types;

/// Parses what follows the parameters: literals and macros of `<inttypes.h>`. Two formats, of an event of translated
/// code, are told apart by a comma; the second is for when the code runs.
pub(super) fn parse(text: &str) -> Result<Option<String>, String> {
    let mut format = String::new();
    let mut rest = text.trim_start();
    let mut found = false;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = quoted(&rest[1..], &mut format)?;
            found = true;
        } else if first == ',' && found {
            format.clear();
            rest = &rest[1..];
        } else {
            let end = rest.find(|character| !types::is_word(character)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            format.push_str(conversion(word).ok_or_else(|| match word {
                "" => format!("{first:?} can't stand in a format"),
                _ => format!("{word} is no macro that is known"),
            })?);
            found = true;
            rest = behind;
        }
        rest = rest.trim_start();
    }
    Ok(found.then_some(format))
}

/// Appends the rest of a literal, and returns what is behind it.
fn quoted<'t>(text: &'t str, format: &mut String) -> Result<&'t str, String> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok(&text[at + 1..]),
            '\\' => format.push(escaped(&mut characters)?),
            character => format.push(character),
        }
    }
    Err("a literal has no end".to_owned())
}

/// What an escape sequence stands for, the backslash being read.
fn escaped(characters: &mut std::str::CharIndices<'_>) -> Result<char, String> {
    let (_, first) = characters.next().ok_or("a literal has no end")?;
    let mut digits = |most: usize, base: u32, mut value: u32| {
        for _ in 0..most {
            let Some(digit) = characters.clone().next().and_then(|(_, digit)| digit.to_digit(base)) else {
                break;
            };
            characters.next();
            value = value * base + digit;
        }
        // A byte beyond ASCII could be half a letter.
        char::from_u32(value)
            .filter(char::is_ascii)
            .ok_or_else(|| "an escape is no character of ASCII".to_owned())
    };
    Ok(match first {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        'e' => '\x1b',
        'x' => digits(2, 16, 0)?,
        '0'..='7' => digits(2, 8, first.to_digit(8).unwrap_or(0))?,
        other => other,
    })
}

/// What a macro of `<inttypes.h>` stands for in glibc on x86-64, where the short ones have no modifier.
fn conversion(name: &str) -> Option<&'static str> {
    let rest = name.strip_prefix("PRI").or_else(|| name.strip_prefix("HWADDR_PRI"))?;
    let (letter, size) = rest.split_at_checked(1)?;
    let size = if name.starts_with("HWADDR") && size.is_empty() { "64" } else { size };
    let long = match size {
        "8" | "16" | "32" | "LEAST8" | "LEAST16" | "LEAST32" | "FAST8" => false,
        "64" | "LEAST64" | "FAST16" | "FAST32" | "FAST64" | "MAX" | "PTR" => true,
        _ => return None,
    };
    Some(match (letter, long) {
        ("d", false) => "d",
        ("d", true) => "ld",
        ("i", false) => "i",
        ("i", true) => "li",
        ("u", false) => "u",
        ("u", true) => "lu",
        ("o", false) => "o",
        ("o", true) => "lo",
        ("x", false) => "x",
        ("x", true) => "lx",
        ("X", false) => "X",
        ("X", true) => "lX",
        _ => return None,
    })
}

//! Words, literals and signs of a file in a language like C.

use super::{DescriptionError, types};

/// A part of a file, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) line: usize,
    pub(super) what: What<'t>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'t> {
    /// A word or number; `$arg1` and `@cast` too.
    Word(&'t str),
    /// What stands between two quotes, escapes as they are.
    Literal(&'t str),
    /// Any other character.
    Sign(char),
    /// What follows `#define`.
    Define(&'t str),
}

/// What `#` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    /// Something for the preprocessor, to the end of the line.
    Directive,
    /// A comment to the end of the line.
    Comment,
}

/// Takes a file apart. Comments are left out, as is C in a tapset, `%{ … %}`.
pub(super) fn tokens(text: &str, hash: Hash) -> Result<Vec<Token<'_>>, DescriptionError> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, what) = match first {
            _ if rest.starts_with("//") => (to_line_end(rest), None),
            '#' => {
                let end = to_line_end(rest);
                let define =
                    (hash == Hash::Directive).then(|| rest[1..end].trim_start().strip_prefix("define"));
                (end, define.flatten().map(What::Define))
            }
            _ if rest.starts_with("/*") => (end(rest, 2, "*/").ok_or_else(|| open(line, "a comment"))?, None),
            '%' if rest.starts_with("%{") => (end(rest, 2, "%}").ok_or_else(|| open(line, "%{"))?, None),
            '"' => {
                let length = literal(rest).ok_or_else(|| open(line, "a literal"))?;
                (length, Some(What::Literal(&rest[1..length - 1])))
            }
            _ if first.is_whitespace() => (first.len_utf8(), None),
            _ if types::is_word(first) || matches!(first, '$' | '@') => {
                let behind = &rest[first.len_utf8()..];
                let more = behind.find(|character| !types::is_word(character)).unwrap_or(behind.len());
                let word = &rest[..first.len_utf8() + more];
                (word.len(), Some(What::Word(word)))
            }
            _ => (first.len_utf8(), Some(What::Sign(first))),
        };
        tokens.extend(what.map(|what| Token { line, what }));
        let (passed, behind) = rest.split_at(length);
        line += passed.matches('\n').count();
        rest = behind;
    }
    Ok(tokens)
}

fn open(line: usize, what: &str) -> DescriptionError {
    DescriptionError { line, why: format!("{what} has no end") }
}

fn to_line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Where `what` ends, looked for from `start`.
fn end(text: &str, start: usize, what: &str) -> Option<usize> {
    text[start..].find(what).map(|at| start + at + what.len())
}

/// The length of the literal that `text` begins with, with its quotes.
fn literal(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The place of the sign that closes what `tokens[at]` opens.
pub(super) fn closing(tokens: &[Token<'_>], at: usize) -> Result<usize, DescriptionError> {
    let mut depth = 0usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.what {
            What::Sign('(' | '{' | '[') => depth += 1,
            What::Sign(')' | '}' | ']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(place);
                }
            }
            _ => {}
        }
    }
    let Some(Token { line, what: What::Sign(sign) }) = tokens.get(at) else {
        return Err(DescriptionError { line: 0, why: "something has no end".to_owned() });
    };
    Err(open(*line, &sign.to_string()))
}

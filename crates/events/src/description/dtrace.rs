//! Provider files of DTrace: `provider postgresql { probe query__start(const char *); };`
//! (<https://illumos.org/books/dtrace/chp-usdt.html>), with typedefs and, as PostgreSQL has them, types that are
//! `#define`d. Parameters need no names.

use std::collections::HashMap;

use super::source::{Hash, Token, What, closing, tokens};
use super::{DescriptionError, types};
use crate::event::{Class, Event, Parameter};

/// Most words that a type may become when its names are replaced.
const MOST_WORDS: usize = 32;

/// Names of types, and what they stand for.
type Aliases<'t> = HashMap<&'t str, Vec<&'t str>>;

/// Parses a provider file.
///
/// # Errors
/// When something in it is no provider, and nothing that may stand beside one.
pub fn parse(text: &str) -> Result<Vec<Event>, DescriptionError> {
    let tokens = tokens(text, Hash::Directive)?;
    let mut aliases = Aliases::new();
    let mut events = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.what {
            What::Define(text) => {
                define(&mut aliases, text);
                at += 1;
            }
            What::Word("typedef") => at = typedef(&mut aliases, &tokens, at)?,
            What::Word("provider") => at = provider(&mut events, &aliases, &tokens, at + 1)?,
            // Declarations for the compiler.
            What::Word("struct" | "union" | "enum" | "translator" | "inline" | "extern") => {
                at = semicolon(&tokens, at)?;
            }
            What::Sign(';') => at += 1,
            _ => return Err(unexpected(token)),
        }
    }
    Ok(events)
}

/// `#define Oid unsigned int`
fn define<'t>(aliases: &mut Aliases<'t>, text: &'t str) {
    let mut words = text.split_whitespace();
    let Some(name) = words.next() else { return };
    let meaning: Vec<&str> = words.collect();
    // A macro with parameters is no type.
    if !meaning.is_empty() && name.chars().all(types::is_word) {
        aliases.insert(name, meaning);
    }
}

/// `typedef unsigned int Oid;` Those of structures and functions are passed over: nobody needs them.
fn typedef<'t>(
    aliases: &mut Aliases<'t>,
    tokens: &[Token<'t>],
    at: usize,
) -> Result<usize, DescriptionError> {
    let next = semicolon(tokens, at)?;
    let words: Option<Vec<&str>> =
        tokens[at + 1..next - 1].iter().map(|token| word_or_star(token.what)).collect();
    if let Some((name, meaning)) = words.as_deref().and_then(<[&str]>::split_last)
        && !meaning.is_empty()
        && *name != "*"
    {
        aliases.insert(name, meaning.to_vec());
    }
    Ok(next)
}

fn word_or_star(what: What<'_>) -> Option<&str> {
    match what {
        What::Word(word) => Some(word),
        What::Sign('*') => Some("*"),
        _ => None,
    }
}

/// Parses a provider from its name on, and returns where it ends.
fn provider(
    events: &mut Vec<Event>,
    aliases: &Aliases<'_>,
    tokens: &[Token<'_>],
    at: usize,
) -> Result<usize, DescriptionError> {
    let line = tokens.get(at.saturating_sub(1)).map_or(0, |token| token.line);
    let (Some(What::Word(provider)), Some(What::Sign('{'))) = (what(tokens, at), what(tokens, at + 1)) else {
        return Err(DescriptionError { line, why: "no name and { follow provider".to_owned() });
    };
    let end = closing(tokens, at + 1)?;
    let mut at = at + 2;
    while at < end {
        let token = &tokens[at];
        match token.what {
            What::Word("probe") => {
                let (event, next) = probe(provider, aliases, tokens, at + 1)?;
                events.push(event);
                at = next;
            }
            What::Sign(';') | What::Define(_) => at += 1,
            _ => return Err(unexpected(token)),
        }
    }
    Ok(end + 1)
}

/// Parses a probe from its name on, and returns where it ends.
fn probe(
    provider: &str,
    aliases: &Aliases<'_>,
    tokens: &[Token<'_>],
    mut at: usize,
) -> Result<(Event, usize), DescriptionError> {
    let line = tokens[at - 1].line;
    let mut name = String::new();
    loop {
        match what(tokens, at) {
            Some(What::Word(word)) => name.push_str(word),
            Some(What::Sign('-')) => name.push('-'),
            Some(What::Sign('(')) if !name.is_empty() => break,
            _ => return Err(DescriptionError { line, why: "no name and ( follow probe".to_owned() }),
        }
        at += 1;
    }
    let end = closing(tokens, at)?;
    let mut parameters = Vec::new();
    for declaration in split(&tokens[at + 1..end]) {
        let Some(parameter) = parameter(aliases, declaration, parameters.len() + 1) else {
            let why = format!("a parameter of {name} has no type");
            return Err(DescriptionError { line: tokens[at].line, why });
        };
        parameters.push(parameter);
    }
    if matches!(parameters.as_slice(), [only] if only.text == "void") {
        parameters.clear();
    }
    // What may follow is how a consumer sees them: `: (info_t *)`. Notes have them as they are.
    let next = semicolon(tokens, end + 1)?;
    Ok((Event { provider: provider.to_owned(), name, parameters, format: None }, next))
}

/// Cuts at commas that are in no brackets; nothing has no parts.
fn split<'a, 't>(tokens: &'a [Token<'t>]) -> Vec<&'a [Token<'t>]> {
    if tokens.is_empty() {
        return Vec::new();
    }
    let mut depth = 0i32;
    tokens
        .split(|token| {
            match token.what {
                What::Sign('(' | '[') => depth += 1,
                What::Sign(')' | ']') => depth -= 1,
                _ => {}
            }
            depth == 0 && token.what == What::Sign(',')
        })
        .collect()
}

fn parameter(aliases: &Aliases<'_>, declaration: &[Token<'_>], number: usize) -> Option<Parameter> {
    let array = declaration.iter().position(|token| token.what == What::Sign('['));
    let plain = &declaration[..array.unwrap_or(declaration.len())];
    let Some(words) = plain.iter().map(|token| word_or_star(token.what)).collect::<Option<Vec<&str>>>()
    else {
        // A pointer to a function.
        return types::parameter("void *", number);
    };
    let mut text = words.join(" ").replace("* *", "**").replace("* *", "**");
    if array.is_some() {
        text.push_str("[]");
    }
    let mut parameter = types::parameter(&text, number)?;
    let meaning = meaning(aliases, &parameter.text);
    if meaning != parameter.text {
        parameter.class = types::class(&meaning).unwrap_or(Class::Unsigned(8));
    }
    Some(parameter)
}

/// A type in which names that the file explains are replaced.
fn meaning(aliases: &Aliases<'_>, text: &str) -> String {
    let spaced = text.replace('*', " * ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    // As often as there are names, if each stands for the next: one that stands for itself must end.
    for _ in 0..=aliases.len().min(MOST_WORDS) {
        let replaced: Vec<&str> = words
            .iter()
            .flat_map(|word| aliases.get(word).map_or(std::slice::from_ref(word), Vec::as_slice))
            .take(MOST_WORDS)
            .copied()
            .collect();
        if replaced == words {
            return if spaced.split_whitespace().eq(words.iter().copied()) {
                text.to_owned()
            } else {
                words.join(" ")
            };
        }
        words = replaced;
    }
    words.join(" ")
}

/// The place behind the next semicolon that is in no brackets.
fn semicolon(tokens: &[Token<'_>], start: usize) -> Result<usize, DescriptionError> {
    let mut depth = 0i32;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.what {
            What::Sign('(' | '{') => depth += 1,
            What::Sign(')' | '}') if depth == 0 => break,
            What::Sign(')' | '}') => depth -= 1,
            What::Sign(';') if depth == 0 => return Ok(at + 1),
            _ => {}
        }
    }
    let line = tokens.get(start.saturating_sub(1)).map_or(0, |token| token.line);
    Err(DescriptionError { line, why: "no ; follows".to_owned() })
}

fn what<'t>(tokens: &[Token<'t>], at: usize) -> Option<What<'t>> {
    tokens.get(at).map(|token| token.what)
}

fn unexpected(token: &Token<'_>) -> DescriptionError {
    let found = match token.what {
        What::Word(text) | What::Literal(text) => text.to_owned(),
        What::Sign(sign) => sign.to_string(),
        What::Define(_) => "#define".to_owned(),
    };
    DescriptionError { line: token.line, why: format!("{found:?} is not expected here") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parameters(event: &Event) -> Vec<(&str, &str, Class)> {
        event.parameters.iter().map(|found| (found.name.as_str(), found.text.as_str(), found.class)).collect()
    }

    #[test]
    fn a_provider_is_read() {
        let text = "/* Types.\n */\n#define Oid unsigned int\n#define bool char\n#pragma D whatever\n\
            typedef unsigned short port;\ntypedef struct { int a; } info_t;\ntypedef Oid Relation;\n\
            struct other { int x; };\n\
            provider postgresql {\n  // one\n  probe query__start(const char *);\n\tprobe plan();\n\
            probe none(void);\n\
            probe read(Relation, bool found, port p, struct x *list,\n int **list2) : (info_t *a);\n\
            probe odd(int (*f)(int, int), char name[8], info_t, long long unsigned n);\n};\n\
            #pragma D attributes Evolving/Evolving/Common provider postgresql args\nprovider b { };";
        let events = parse(text).expect(text);
        assert_eq!(
            events.iter().map(Event::full_name).collect::<Vec<_>>(),
            [
                "postgresql:query__start",
                "postgresql:plan",
                "postgresql:none",
                "postgresql:read",
                "postgresql:odd"
            ]
        );
        assert_eq!(parameters(&events[0]), [("arg1", "const char *", Class::Text)]);
        assert!(events[1].parameters.is_empty() && events[2].parameters.is_empty());
        assert_eq!(
            parameters(&events[3]),
            [
                ("arg1", "Relation", Class::Unsigned(4)),
                ("found", "bool", Class::Signed(1)),
                ("p", "port", Class::Unsigned(2)),
                ("list", "struct x *", Class::Pointer),
                ("list2", "int **", Class::Pointer),
            ]
        );
        assert_eq!(
            parameters(&events[4]),
            [
                ("arg1", "void *", Class::Pointer),
                ("name", "char *", Class::Text),
                ("arg3", "info_t", Class::Unsigned(8)),
                ("n", "long long unsigned", Class::Unsigned(8)),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, why) in [
            ("\nprovider {", 2, "no name"),
            ("provider a {\nprobe b(int);", 1, "{ has no end"),
            ("provider a {\nprobe b(int)\n};", 2, "no ;"),
            ("provider a {\nprobe b(int,);\n};", 2, "no type"),
            ("provider a {\nprobe (int);\n};", 2, "no name"),
            ("provider a {\nint x;\n};", 2, "not expected"),
            ("dtrace:::BEGIN { }", 1, "\"dtrace\""),
            ("/* ", 1, "comment"),
            ("\n\n\"", 3, "literal"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.line == line && error.why.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn types_that_stand_for_each_other_have_an_end() {
        let text = "#define a b b\n#define b c c\n#define c a a\nprovider p { probe x(a); probe y(a *); };";
        assert_eq!(parse(text).expect(text)[0].parameters[0].class, Class::Unsigned(8));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(provider |probe |typedef |#define |[a-c]{1,2}|[(){}\\[\\];,*\"/ \n-]){0,40}|.*") {
            let _ = parse(&text);
        }
    }
}

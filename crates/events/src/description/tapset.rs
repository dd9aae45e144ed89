//! Tapsets of SystemTap: `probe qemu.x = process("…").mark("x") { size = $arg1; name = user_string($arg2) }`
//! (<https://sourceware.org/systemtap/langref/>). A variable that an argument is assigned to is its name; what else stands
//! there is passed over.

use super::source::{Hash, Token, What, closing, tokens};
use super::{DescriptionError, types};
use crate::event::{Class, Event, Parameter};

/// Most arguments of a probe, so that `$arg4000000000` has no effect.
const MOST: usize = 128;

/// Parses a tapset.
///
/// # Errors
/// When a probe has no body, or something that was opened is not closed.
pub fn parse(text: &str) -> Result<Vec<Event>, DescriptionError> {
    let tokens = tokens(text, Hash::Comment)?;
    let mut events = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at = match token.what {
            What::Word("probe") => {
                let open = tokens[at..].iter().position(|token| token.what == What::Sign('{'));
                let Some(open) = open.map(|open| at + open) else {
                    return Err(DescriptionError {
                        line: token.line,
                        why: "the probe has no body".to_owned(),
                    });
                };
                let end = closing(&tokens, open)?;
                probe(&mut events, &tokens[at + 1..open], &tokens[open + 1..end]);
                end + 1
            }
            What::Sign('{') => closing(&tokens, at)? + 1,
            _ => at + 1,
        };
    }
    Ok(events)
}

/// Takes the marks of a probe, which share its body.
fn probe(events: &mut Vec<Event>, points: &[Token<'_>], body: &[Token<'_>]) {
    let mut parameters = None;
    let mut provider = "";
    for (at, token) in points.iter().enumerate() {
        match (token.what, points.get(at + 1).map(|next| next.what), points.get(at + 2).map(|next| next.what))
        {
            // The next of several points.
            (What::Sign(','), ..) => provider = "",
            (What::Word("provider"), Some(What::Sign('(')), Some(What::Literal(name))) => provider = name,
            (What::Word("mark"), Some(What::Sign('(')), Some(What::Literal(name)))
                if !name.contains(['*', '?', '[']) =>
            {
                let parameters = parameters.get_or_insert_with(|| arguments(body)).clone();
                let (provider, name) = (provider.to_owned(), name.to_owned());
                events.push(Event { provider, name, parameters, format: None });
            }
            _ => {}
        }
    }
}

/// What the body says of the arguments.
fn arguments(body: &[Token<'_>]) -> Vec<Parameter> {
    let mut parameters: Vec<Parameter> = Vec::new();
    let count = body.iter().filter_map(|token| argument(token.what)).max().unwrap_or(0);
    for number in 1..=count {
        let name = format!("arg{number}");
        // Nobody says what type it is.
        parameters.push(Parameter { name, text: String::new(), class: Class::Unsigned(8) });
    }
    let mut named = vec![None; count];
    let mut at = 0;
    while at < body.len() {
        let Some(name) = assigned(body, at) else {
            at += 1;
            continue;
        };
        let end = end(body, at + 2);
        let mut value = &body[at + 2..end];
        while let [Token { what: What::Sign('('), .. }, inner @ .., Token { what: What::Sign(')'), .. }] =
            value
        {
            value = inner;
        }
        let number = match value {
            [only] => argument(only.what),
            _ => (0..value.len()).find_map(|at| fetched(&value[at..], &named)).map(|(number, _)| number),
        };
        // It may be assigned to several: the first one stays.
        if let Some(index) = number.map(|number| number - 1)
            && named[index].is_none()
        {
            named[index] = Some(name);
            name.clone_into(&mut parameters[index].name);
        }
        at = end.max(at + 1);
    }
    for at in 0..body.len() {
        if let Some((number, true)) = fetched(&body[at..], &named) {
            let parameter = &mut parameters[number - 1];
            types::of(Class::Text).clone_into(&mut parameter.text);
            parameter.class = Class::Text;
        }
    }
    parameters
}

/// The variable that gets a value at `at`.
fn assigned<'t>(body: &[Token<'t>], at: usize) -> Option<&'t str> {
    let [Token { what: What::Word(name), .. }, Token { what: What::Sign('='), .. }, next, ..] =
        body.get(at..)?
    else {
        return None;
    };
    (next.what != What::Sign('=') && name.starts_with(|first: char| first.is_alphabetic() || first == '_'))
        .then_some(name)
}

/// Where the value ends that begins at `start`. Nobody must write a semicolon: it also ends before an operand that no
/// operator leads to.
fn end(body: &[Token<'_>], start: usize) -> usize {
    let mut complete = false;
    for (at, token) in body.iter().enumerate().skip(start) {
        match token.what {
            What::Sign(';' | '{' | '}') => return at,
            What::Word(_) | What::Literal(_) if complete => return at,
            What::Word(_) | What::Literal(_) | What::Sign(')' | ']') => complete = true,
            _ => complete = false,
        }
    }
    body.len()
}

/// The number of `$arg1`, from 1.
fn argument(what: What<'_>) -> Option<usize> {
    let What::Word(word) = what else { return None };
    word.strip_prefix("$arg")?.parse().ok().filter(|number| (1..=MOST).contains(number))
}

/// The argument that a call at the beginning of `tokens` fetches as text, itself or by the variable that it was assigned to,
/// and whether the text ends in a NUL: one whose length is an argument (`user_string_n($arg1, $arg2)`) does not.
fn fetched(tokens: &[Token<'_>], named: &[Option<&str>]) -> Option<(usize, bool)> {
    let [function, open, fetched, next, rest @ ..] = tokens else { return None };
    let What::Word(function) = function.what else { return None };
    if !function.starts_with("user_string") || function.contains("utf") || open.what != What::Sign('(') {
        return None;
    }
    let number = argument(fetched.what).or_else(|| {
        let What::Word(fetched) = fetched.what else { return None };
        named.iter().position(|name| *name == Some(fetched)).map(|index| index + 1)
    })?;
    match next.what {
        What::Sign(')') => Some((number, true)),
        What::Sign(',') => Some((number, rest.first().is_none_or(|length| argument(length.what).is_none()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn described(event: &Event) -> Vec<(&str, Class)> {
        event.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.class)).collect()
    }

    #[test]
    fn names_are_those_of_variables() {
        let text = r#"
            # probe qemu.no = process("x").mark("no") { }
            global total
            function f:long (x:long) { return x }
            /* libvirt */
            probe qemu.kvm.x = process("/usr/bin/qemu").mark("x") ?
            {
              size = $arg1; name = user_string($arg2)
              flags = ($arg3)
              if (size == $arg1) { low = $arg4 & 0xff }
              other = $arg1
              printf("%d %s\n", $arg5, user_string($arg6))
            }
            probe python.entry = process("p").library("l").provider("python").mark("function__entry"),
                  process("q").mark("function-entry") {
              pointer = $arg1
              text = $arg1 ? user_string_n(pointer, 512) : "<null>";
              class = user_string_n($arg2, $arg3);
            }
            probe syscall.open.return { x = $arg1 }
            probe a = process("x").mark("*") { x = $arg1 }
            probe b = process("x").mark("b") { }
        "#;
        let events = parse(text).expect(text);
        let names: Vec<_> = events.iter().map(Event::full_name).collect();
        assert_eq!(names, ["x", "python:function__entry", "function-entry", "b"]);
        let number = Class::Unsigned(8);
        assert_eq!(
            described(&events[0]),
            [
                ("size", number),
                ("name", Class::Text),
                ("flags", number),
                ("arg4", number),
                ("arg5", number),
                ("arg6", Class::Text)
            ]
        );
        assert_eq!(described(&events[1]), [("pointer", Class::Text), ("class", number), ("arg3", number)]);
        assert_eq!(events[1].parameters, events[2].parameters);
        assert!(events[3].parameters.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, why) in [
            ("\nprobe x = process(\"x\").mark(\"x\")", 2, "no body"),
            ("probe x = a.mark(\"x\")\n{", 2, "{ has no end"),
            ("probe x { y = \"", 1, "literal"),
            ("%{", 1, "%{"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.line == line && error.why.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(
            text in "(probe x|mark\\(\"x\"\\)| = |\\$arg[0-9]{1,12}|user_string|[a-c]{1,2}|[(){};,=\"% \n]){0,40}|.*"
        ) {
            let _ = parse(&text);
            let _ = parse(&format!("probe x = y.mark(\"x\") {{ {text} }}"));
        }
    }
}

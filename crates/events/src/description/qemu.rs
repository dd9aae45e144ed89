//! QEMU's trace-events: `[disable] name(type name, …) "format" PRIx64 "…"`, one event a line
//! (<https://qemu.readthedocs.io/en/v7.2.0/devel/tracing.html>). Before the name there may be a provider and a colon,
//! which QEMU does not have; recordings do.

use super::{DescriptionError, literal, types};
use crate::event::{Event, Parameter};
use crate::format::{Directive, Piece, pieces};

/// An event with all that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: Event,
    /// What stands before its name: `disable`, `vcpu`.
    pub properties: Vec<String>,
    /// The comment right above it, one line of it behind the other.
    pub comment: String,
}

/// Parses all events of a file, those that are disabled too.
///
/// # Errors
/// When a line is no event.
pub fn parse(text: &str) -> Result<Vec<Event>, DescriptionError> {
    Ok(entries(text)?.into_iter().map(|entry| entry.event).collect())
}

/// Parses all events of a file, with their comments and properties.
///
/// # Errors
/// When a line is no event.
pub fn entries(text: &str) -> Result<Vec<Entry>, DescriptionError> {
    let mut entries = Vec::new();
    let mut comment = String::new();
    // The number where the line begins that backslashes continue.
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (first, line) = match begun.take() {
            Some((first, begun)) => (first, begun + line),
            None => (index + 1, line.to_owned()),
        };
        if let Some(start) = line.strip_suffix('\\') {
            begun = Some((first, start.to_owned()));
            continue;
        }
        let line = line.trim();
        if let Some(words) = line.strip_prefix('#') {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(words.trim());
        } else if line.is_empty() {
            comment.clear();
        } else {
            let (event, properties) = event(line).map_err(|why| DescriptionError { line: first, why })?;
            entries.push(Entry { event, properties, comment: std::mem::take(&mut comment) });
        }
    }
    match begun {
        Some((line, _)) => Err(DescriptionError { line, why: "it goes on, but nothing follows".to_owned() }),
        None => Ok(entries),
    }
}

/// Parses one line.
fn event(line: &str) -> Result<(Event, Vec<String>), String> {
    let (before, rest) = line.split_once('(').ok_or("there is no (")?;
    let (declarations, format) = rest.split_once(')').ok_or("there is no )")?;
    let mut words: Vec<&str> = before.split_whitespace().collect();
    let name = words.pop().ok_or("there is no name before the (")?;
    let (provider, name) = name.split_once(':').unwrap_or(("", name));
    if name.is_empty() || !provider.chars().all(is_of_provider) || !name.chars().all(is_of_name) {
        return Err(format!("{name:?} is no name"));
    }
    let properties = words
        .into_iter()
        .map(|word| match word {
            "disable" | "tcg" | "vcpu" | "tcg-trans" | "tcg-exec" => Ok(word.to_owned()),
            _ => Err(format!("{word:?} before the name is no property of an event")),
        })
        .collect::<Result<_, _>>()?;
    let mut parameters = parameters(declarations)?;
    let format = literal::parse(format)?;
    if let Some(format) = &format {
        refine(&mut parameters, format);
    }
    Ok((Event { provider: provider.to_owned(), name: name.to_owned(), parameters, format }, properties))
}

/// Parses what stands between the brackets.
fn parameters(declarations: &str) -> Result<Vec<Parameter>, String> {
    if matches!(declarations.trim(), "" | "void") {
        return Ok(Vec::new());
    }
    let parse = |(index, declaration): (usize, &str)| {
        types::parameter(declaration, index + 1)
            .ok_or_else(|| format!("{:?} is no type and name", declaration.trim()))
    };
    declarations.split(',').enumerate().map(parse).collect()
}

/// Looks at how each parameter is printed, which may say more of it than its type.
pub(super) fn refine(parameters: &mut [Parameter], format: &str) {
    let mut parameters = parameters.iter_mut();
    for directive in directives(format) {
        let Some(parameter) = parameters.next() else { return };
        if let Some(class) = types::refined(&parameter.text, &directive) {
            parameter.class = class;
        }
    }
}

/// The directives of a format, if all of them are served.
fn directives(format: &str) -> Vec<Directive> {
    let all: Result<Vec<Piece<'_>>, _> = pieces(format).collect();
    let directive = |piece| match piece {
        Piece::Directive(directive) => Some(directive),
        Piece::Text(_) => None,
    };
    all.unwrap_or_default().into_iter().filter_map(directive).collect()
}

fn is_of_name(character: char) -> bool {
    is_of_provider(character) || character == ':'
}

fn is_of_provider(character: char) -> bool {
    types::is_word(character) || matches!(character, '-' | '.' | '$' | '@' | '<' | '>' | '/')
}

/// Writes an event as one line, without its end, from which [`parse`] makes the same. Characters of names for which the
/// grammar has no room become `_`, and a type that does not say what the parameter means, a typedef, becomes one
/// that does.
#[must_use]
pub fn write(event: &Event) -> String {
    let mut line = named(&event.provider, is_of_provider);
    let name = named(&event.name, is_of_name);
    if !line.is_empty() || name.contains(':') {
        line.push(':');
    }
    line.push_str(if name.is_empty() { "_" } else { &name });
    line.push('(');
    let directives = event.format.as_deref().map(directives).unwrap_or_default();
    for (index, parameter) in event.parameters.iter().enumerate() {
        if index > 0 {
            line.push_str(", ");
        }
        line.push_str(&declaration(parameter, directives.get(index), index + 1));
    }
    line.push(')');
    if let Some(format) = &event.format {
        line.push_str(" \"");
        for character in format.chars() {
            match character {
                '"' | '\\' => line.extend(['\\', character]),
                '\n' => line.push_str("\\n"),
                '\t' => line.push_str("\\t"),
                // Three digits, so that a digit behind them is not taken for one more.
                '\0'..='\x1f' | '\x7f' => line.push_str(&format!("\\{:03o}", u32::from(character))),
                character => line.push(character),
            }
        }
        line.push('"');
    }
    line
}

fn declaration(parameter: &Parameter, directive: Option<&Directive>, number: usize) -> String {
    let written = |text: &str, name: &str| {
        let between = if text.ends_with('*') { "" } else { " " };
        format!("{text}{between}{name}")
    };
    let reads = |declaration: &str| {
        if declaration.contains([',', '(', ')', '\\', '"', '\n']) {
            return None;
        }
        let mut found = types::parameter(declaration, number)?;
        if let Some(class) = directive.and_then(|directive| types::refined(&found.text, directive)) {
            found.class = class;
        }
        Some(found)
    };
    let same = written(&parameter.text, &parameter.name);
    if reads(&same).as_ref() == Some(parameter) {
        return same;
    }
    let text = types::of(parameter.class);
    let other = written(text, &parameter.name);
    if reads(&other).is_some_and(|found| found.name == parameter.name) {
        return other;
    }
    let name = named(&parameter.name, types::is_word);
    let other = written(text, &name);
    if reads(&other).is_some_and(|found| found.name == name) {
        other
    } else {
        written(text, &format!("{name}_"))
    }
}

fn named(name: &str, fits: impl Fn(char) -> bool) -> String {
    name.chars().map(|character| if fits(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Class;

    fn one(line: &str) -> Event {
        let mut events = parse(line).expect(line);
        assert_eq!(events.len(), 1, "{line}");
        events.remove(0)
    }

    fn classes(line: &str) -> Vec<Class> {
        one(line).parameters.iter().map(|parameter| parameter.class).collect()
    }

    #[test]
    fn an_event_is_read() {
        let event = one(
            "breakpoint(int cpu, const char *name, uint64_t) \"cpu=%d \\\"%s\\\"\\tpc=0x%016\" PRIx64 \" 100%%\\n\"  ",
        );
        assert_eq!((event.provider.as_str(), event.name.as_str()), ("", "breakpoint"));
        assert_eq!(event.format.as_deref(), Some("cpu=%d \"%s\"\tpc=0x%016lx 100%%\n"));
        let names: Vec<_> = event.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["cpu", "name", "arg3"]);
        let classes: Vec<_> = event.parameters.iter().map(|parameter| parameter.class).collect();
        assert_eq!(classes, [Class::Signed(4), Class::Text, Class::Unsigned(8)]);
        assert_eq!(one("pg:a__b(void)").full_name(), "pg:a__b");
        assert_eq!(one("a(void)").format, None);
        assert_eq!(one("a() \"\"").format.as_deref(), Some(""));
        assert_eq!(one("a(int x) \"%0*\"PRIx32\"\"").format.as_deref(), Some("%0*x"));
        assert_eq!(one("vcpu tcg a(int x) \"at %d\", \"%d\"").format.as_deref(), Some("%d"));
        assert_eq!(one("a(int x) \\\n \"%d\"").format.as_deref(), Some("%d"));
    }

    #[test]
    fn how_an_argument_is_printed_says_what_it_is_where_its_type_does_not() {
        for (line, class) in [
            ("a(Oid x) \"%d\"", Class::Signed(4)),
            ("a(Oid x) \"%lx\"", Class::Unsigned(8)),
            ("a(Oid x) \"%u\"", Class::Unsigned(4)),
            ("a(Name x) \"%s\"", Class::Text),
            ("a(Name x) \"%p\"", Class::Pointer),
            ("a(Name x)", Class::Unsigned(8)),
            ("a(char *x) \"%p\"", Class::Pointer),
            ("a(void *x) \"%s\"", Class::Text),
            ("a(uint64_t x) \"%d\"", Class::Unsigned(8)),
            ("a(void *x) \"0x%\" PRIxPTR", Class::Pointer),
        ] {
            assert_eq!(classes(line), [class], "{line}");
        }
    }

    #[test]
    fn properties_and_comments_are_kept() {
        let entries = entries("# Far.\n\n# Near,\n# two lines.\ndisable a()\nb()").expect("entries");
        assert_eq!(entries[0].properties, ["disable"]);
        assert_eq!((entries[0].comment.as_str(), entries[1].comment.as_str()), ("Near, two lines.", ""));
    }

    #[test]
    fn what_is_no_event_is_said_with_its_line() {
        for (text, line, why) in [
            ("a()\nb", 2, "no ("),
            ("a(int x", 1, "no )"),
            ("(int x)", 1, "no name"),
            ("a*(int x)", 1, "\"a*\" is no name"),
            ("int a(int x)", 1, "no property"),
            ("a(int x,)", 1, "no type and"),
            ("a(const *)", 1, "no type and"),
            ("a(int x) \"%d", 1, "no end"),
            ("a(int x) \"%\" PRIx65", 1, "PRIx65 is no macro"),
            ("a(int x) ;", 1, "';' can't"),
            ("\n\na() \\", 3, "nothing follows"),
            ("a() \"\\xff\"", 1, "ASCII"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.line == line && error.why.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn qemus_own_events_are_read_and_written_again() {
        let path = Path::new("/usr/share/qemu/trace-events-all");
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: {} is not there (Debian: qemu-system-common)", path.display());
            return;
        };
        let events = parse(&text).expect("QEMU's events");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!(events.len(), lines);
        let written: String = events.iter().map(|event| write(event) + "\n").collect();
        assert_eq!(parse(&written).expect("what was written"), events);
    }

    fn parameters() -> impl Strategy<Value = Parameter> {
        let texts =
            ["int", "const char *", "char*", "unsigned long", "void *", "Oid", "double", "enum color"];
        (prop::sample::select(texts.to_vec()), "[a-z_][a-z0-9_]{0,8}")
            .prop_map(|(text, name)| types::parameter(&format!("{text} {name}"), 1).expect("a type"))
    }

    fn events() -> impl Strategy<Value = Event> {
        let provider = "[a-z]{0,4}";
        let name = "[a-zA-Z0-9_.-]{1,9}(:[a-z:]{0,3})?";
        let format = prop::option::of("([^%]|%[-#0]?[0-9]{0,2}(l|hh)?[diuxXpscf]|%%|%){0,8}");
        (provider, name, prop::collection::vec(parameters(), 0..4), format).prop_map(
            |(provider, name, mut parameters, format)| {
                if let Some(format) = &format {
                    refine(&mut parameters, format);
                }
                Event { provider, name, parameters, format }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(event in events()) {
            let line = write(&event);
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(parse(&line), Ok(vec![event]), "{}", line);
        }

        #[test]
        fn names_that_the_grammar_has_no_room_for_keep_their_place(
            provider: String, name: String, text: String, parameter: String, format: Option<String>
        ) {
            let class = Class::Signed(4);
            let parameters = vec![Parameter { name: parameter, text, class }];
            let event = Event { provider, name, parameters, format: format.map(|format| format.replace('%', "%%")) };
            let line = write(&event);
            let read = parse(&line);
            prop_assert!(read.is_ok(), "{} {:?}", line, read);
            let read = read.expect("an event").remove(0);
            prop_assert_eq!(read.parameters.len(), 1);
            prop_assert_eq!(read.parameters[0].class, class);
            prop_assert_eq!(read.format, event.format);
        }

        #[test]
        fn any_text_is_survived(text in "([a-c:]{1,3}|disable |int x|[(),\"%\\\\\n ]|PRIx64|#){0,30}|.*") {
            let _ = parse(&text);
        }
    }
}

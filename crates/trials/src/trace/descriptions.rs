//! What files say of static probes: names, types and formats of their arguments.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use memtrial_events::description::{self, DescriptionError, Kind};
use memtrial_events::{Class, Event, Parameter};
use memtrial_symbols::probes::Probe;

/// Events that files describe.
#[derive(Debug, Clone, Default)]
pub struct Descriptions {
    files: Vec<File>,
    /// By name, with `-` for `__`: which file, and the event.
    events: HashMap<String, Vec<(usize, Event)>>,
    warnings: Vec<String>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    used: bool,
}

/// Why a file does not describe events.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionsError {
    /// It can't be read.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        why: std::io::Error,
    },
    /// It is not understood.
    #[error("{}: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong there.
        why: DescriptionError,
    },
    /// Nothing is in it.
    #[error("{} describes no event", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Descriptions {
    /// Reads files, each in one of the grammars of [`Kind`]. Of several that describe an event the first one counts.
    ///
    /// # Errors
    /// When one can't be read, is not understood, or describes nothing.
    pub fn read(files: &[PathBuf]) -> Result<Descriptions, DescriptionsError> {
        let mut descriptions = Descriptions::default();
        for path in files {
            let bytes =
                std::fs::read(path).map_err(|why| DescriptionsError::Read { path: path.clone(), why })?;
            // Comments may be in any encoding.
            descriptions.add(path, &String::from_utf8_lossy(&bytes))?;
        }
        Ok(descriptions)
    }

    fn add(&mut self, path: &Path, text: &str) -> Result<(), DescriptionsError> {
        let events = description::parse(Kind::of(path, text), text)
            .map_err(|why| DescriptionsError::Parse { path: path.to_owned(), why })?;
        if events.is_empty() {
            return Err(DescriptionsError::Empty { path: path.to_owned() });
        }
        let file = self.files.len();
        self.files.push(File { path: path.to_owned(), used: false });
        for event in events {
            self.events.entry(normalized(&event.name)).or_default().push((file, event));
        }
        Ok(())
    }

    /// What is known of a probe: what a file says, and what the notes say where no file says anything. Its arguments are as
    /// many as the file describes or a site has, whichever is more.
    pub fn describe(&mut self, probe: &Probe) -> Event {
        let most = probe.sites.iter().map(|site| site.arguments.len()).max().unwrap_or(0);
        let arguments: Vec<Class> = (0..most).map(|index| class(probe, index)).collect();
        let mut event = Event {
            provider: probe.provider.clone(),
            name: probe.name.clone(),
            parameters: Vec::new(),
            format: None,
        };
        if let Some((file, described)) = self.described(probe) {
            event.parameters = described.parameters;
            event.format = described.format;
            self.files[file].used = true;
            if event.parameters.len() != arguments.len() {
                self.warnings.push(format!(
                    "{} describes {} with {}, the program has {}",
                    self.files[file].path.display(),
                    event.full_name(),
                    counted(event.parameters.len()),
                    arguments.len()
                ));
            }
        }
        for (parameter, class) in event.parameters.iter_mut().zip(&arguments) {
            // Nothing else is known of a type that nobody knows.
            if parameter.class == Class::Unsigned(8) && !description::is_known(&parameter.text) {
                parameter.class = *class;
            }
        }
        for class in arguments.into_iter().skip(event.parameters.len()) {
            let name = format!("arg{}", event.parameters.len() + 1);
            if let Some(format) = &mut event.format {
                format.truncate(format.trim_end_matches('\n').len());
                let between = if format.is_empty() { "" } else { " " };
                format.push_str(&format!("{between}{name}=%{}", directive(class)));
            }
            event.parameters.push(Parameter { name, text: description::type_of(class).to_owned(), class });
        }
        event
    }

    /// The event of a probe in the first file that has it. A file may say who provides it.
    fn described(&self, probe: &Probe) -> Option<(usize, Event)> {
        let found = self.events.get(&normalized(&probe.name))?;
        let fits = |event: &Event| event.provider.is_empty() || event.provider == probe.provider;
        found.iter().find(|(_, event)| fits(event)).cloned()
    }

    /// What the user should know of the probes described so far, a sentence each; each is told once. Files of which
    /// nothing was of use are told again.
    pub fn warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        let unused = self.files.iter().filter(|file| !file.used);
        warnings.extend(unused.map(|file| format!("{} describes none of these probes", file.path.display())));
        warnings
    }
}

/// DTrace's `a-b` for the `a__b` that C has.
fn normalized(name: &str) -> String {
    name.replace("__", "-")
}

fn counted(arguments: usize) -> String {
    match arguments {
        1 => "1 argument".to_owned(),
        count => format!("{count} arguments"),
    }
}

/// What the notes say of an argument. Sites of one probe may differ: then it is what holds the numbers of all of them.
fn class(probe: &Probe, index: usize) -> Class {
    let found = || probe.sites.iter().filter_map(|site| site.arguments.get(index));
    let widest = |signed: bool| {
        found().filter(|argument| argument.signed == signed).map(|argument| argument.bytes).max()
    };
    if let Some(float) = found().find(|argument| argument.float) {
        return Class::Float(float.bytes);
    }
    match (widest(true), widest(false)) {
        (Some(signed), Some(unsigned)) => Class::Signed(signed.max(2 * unsigned).min(8)),
        (Some(signed), None) => Class::Signed(signed),
        (None, unsigned) => Class::Unsigned(unsigned.unwrap_or(8)),
    }
}

/// How an argument is printed that a format does not know of.
fn directive(class: Class) -> &'static str {
    match class {
        Class::Signed(8) => "ld",
        Class::Signed(_) => "d",
        Class::Unsigned(8) => "lu",
        Class::Unsigned(_) => "u",
        Class::Float(_) => "g",
        Class::Pointer => "p",
        Class::Text => "s",
    }
}

#[cfg(test)]
mod tests {
    use memtrial_events::{Value, render};
    use memtrial_symbols::probes::{Argument, Operand, Site};

    use super::*;

    /// A probe with a site for each list of operands.
    fn probe(name: &str, sites: &[&[&str]]) -> Probe {
        let argument = |text: &&str| Argument {
            text: (*text).to_owned(),
            bytes: text.trim_start_matches('-').as_bytes()[0] - b'0',
            signed: text.starts_with('-'),
            float: text.contains('f'),
            operand: Operand::Constant(0),
        };
        let site = |operands: &&[&str]| Site {
            address: 0,
            offset: 0,
            semaphore: None,
            arguments: operands.iter().map(argument).collect(),
            warnings: Vec::new(),
        };
        Probe { provider: "pg".to_owned(), name: name.to_owned(), sites: sites.iter().map(site).collect() }
    }

    fn read(files: &[(&str, &str)]) -> Descriptions {
        let mut descriptions = Descriptions::default();
        for (path, text) in files {
            descriptions.add(Path::new(path), text).expect(text);
        }
        descriptions
    }

    fn classes(event: &Event) -> Vec<Class> {
        event.parameters.iter().map(|parameter| parameter.class).collect()
    }

    #[test]
    fn without_a_file_the_notes_say_what_is_there() {
        let event = Descriptions::default().describe(&probe("a", &[&["-2@1"], &["-4@1", "8f@2", "1@3"]]));
        assert_eq!(classes(&event), [Class::Signed(4), Class::Float(8), Class::Unsigned(1)]);
        let values = [Value::Signed(-1), Value::Float(0.5), Value::Unsigned(3)];
        assert_eq!(render(&event, &values), "arg1=-1 arg2=0.5 arg3=3");
    }

    #[test]
    fn sites_that_differ_lose_no_number() {
        let sites: &[&[&str]] = &[&["-4@1", "-4@2", "1@3", "4@4"], &["2@1", "-8@2", "8@3", "-4@4", "-1@5"]];
        let event = Descriptions::default().describe(&probe("sort__start", sites));
        let expected =
            [Class::Signed(4), Class::Signed(8), Class::Unsigned(8), Class::Signed(8), Class::Signed(1)];
        assert_eq!(classes(&event), expected);
    }

    #[test]
    fn names_are_found_with_dashes_and_by_provider() {
        let text = "other:a__b(int x)\npg:a__b(int y)\nc__d(int z)";
        let mut descriptions = read(&[("e", text), ("f.d", "provider pg { probe c__d(int later); };")]);
        for (name, parameter) in [("a__b", "y"), ("a-b", "y"), ("c-d", "z"), ("e", "arg1")] {
            assert_eq!(descriptions.describe(&probe(name, &[&["-4@1"]])).parameters[0].name, parameter);
        }
        assert_eq!(descriptions.warnings(), ["f.d describes none of these probes"]);
    }

    #[test]
    fn types_that_nobody_knows_are_those_of_the_notes() {
        let mut descriptions = read(&[("e.d", "provider pg { probe a(Oid, Oid x, uint64_t, char *); };")]);
        let event = descriptions.describe(&probe("a", &[&["-4@1", "2@1", "-8@1", "8@1"]]));
        assert_eq!(classes(&event), [Class::Signed(4), Class::Unsigned(2), Class::Unsigned(8), Class::Text]);
        assert!(descriptions.warnings().is_empty());
    }

    #[test]
    fn another_number_of_arguments_is_said_and_what_fits_is_used() {
        let mut descriptions = read(&[("e", "a(int x) \"x=%d\\n\"\nb(int x, char *y) \"%d %s\"")]);
        let event = descriptions.describe(&probe("a", &[&["-4@1", "-8@2", "8f@3"]]));
        let values = [Value::Signed(1), Value::Signed(-2), Value::Float(0.5)];
        assert_eq!(render(&event, &values), "x=1 arg2=-2 arg3=0.5");
        let event = descriptions.describe(&probe("b", &[&["-4@1"]]));
        assert_eq!(render(&event, &values[..1]), "1 <absent>");
        assert_eq!(
            descriptions.warnings(),
            [
                "e describes pg:a with 1 argument, the program has 3",
                "e describes pg:b with 2 arguments, the program has 1"
            ]
        );
        assert!(descriptions.warnings().is_empty());
    }

    #[test]
    fn what_is_no_description_is_said() {
        let missing = Descriptions::read(&[PathBuf::from("/no/such.d")]).expect_err("it is not there");
        assert!(missing.to_string().starts_with("cannot read /no/such.d: "), "{missing}");
        let mut descriptions = Descriptions::default();
        let empty = descriptions.add(Path::new("x.stp"), "global a").expect_err("empty");
        assert_eq!(empty.to_string(), "x.stp describes no event");
        let wrong = descriptions.add(Path::new("x"), "a()\nb").expect_err("no event");
        assert_eq!(wrong.to_string(), "x: line 2: there is no (");
    }
}

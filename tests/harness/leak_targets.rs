//! The small daemons that leak, what their headers say of them, and the client that talks to them.

use std::fs;
use std::path::{Path, PathBuf};

use super::targets::Target;
use super::workshop::Workshop;

/// Rounds in which blocks are followed, unless a header says otherwise.
const ROUNDS: u32 = 61;

/// A site that leaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedSite {
    /// A function of its stack.
    pub function: String,
    /// Blocks in each of the rounds that leak.
    pub blocks: u64,
    /// Size of each, in bytes; `None` for any.
    pub bytes: Option<u64>,
    /// Leaks in each round of which this divides the number.
    pub every: u32,
}

/// A daemon with its arguments; see `leak_targets/README.md` for the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeakTarget {
    /// The name of its file without the ending.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The sites that leak.
    pub sites: Vec<ExpectedSite>,
    /// Whether nothing points to the blocks any more.
    pub unreachable: bool,
    /// The request that undoes a round.
    pub undo: Option<String>,
    /// Rounds in which blocks are followed.
    pub rounds: u32,
    /// What the name of its allocator begins with.
    pub allocator: Option<String>,
    /// Ways of getting in that can see it.
    pub ways: Vec<String>,
    library: bool,
    source: PathBuf,
    link: Vec<String>,
    flags: Vec<String>,
}

/// All daemons, each as often as it has sets of arguments, by name.
///
/// # Panics
/// When the folder or a header can't be read.
#[must_use]
pub fn all() -> Vec<LeakTarget> {
    let entries = fs::read_dir(folder()).expect("the folder of the daemons is there").flatten();
    let is_daemon = |path: &PathBuf| {
        let known = matches!(path.extension().and_then(|e| e.to_str()), Some("c" | "cpp" | "rs"));
        known && !["ask.c", "daemon.rs"].iter().any(|other| path.ends_with(other))
    };
    let mut sources: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_daemon).collect();
    sources.sort();
    sources.iter().flat_map(|source| read(source)).collect()
}

/// The daemon of this name, with its first set of arguments.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> LeakTarget {
    let found = all().into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no daemon {name}"))
}

/// The client of all the daemons.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn client(workshop: &Workshop) -> PathBuf {
    let source = folder().join("ask.c");
    workshop.program(&Target { name: "ask".to_owned(), source, ..Target::default() })
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/leak_targets"))
}

fn read(source: &Path) -> Vec<LeakTarget> {
    let text = fs::read_to_string(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let header: Vec<(&str, &str)> = text
        .lines()
        .map_while(|line| line.strip_prefix("//"))
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    let value = |key: &str| header.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
    let words =
        |key: &str| value(key).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let runs = value("run").unwrap_or_default().split('|');
    runs.map(|arguments| {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let sites = header.iter().filter(|(key, _)| *key == "site");
        LeakTarget {
            name: source.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            sites: sites.map(|(_, text)| site(text, &arguments)).collect(),
            arguments,
            unreachable: value("unreachable") == Some("yes"),
            undo: value("undo").map(str::to_owned),
            rounds: value("rounds").map_or(ROUNDS, |text| text.parse().expect("rounds are a number")),
            allocator: value("allocator").map(str::to_owned),
            ways: value("ways").unwrap_or("preload,attach").split(',').map(str::to_owned).collect(),
            library: value("library") == Some("yes"),
            source: source.to_owned(),
            link: words("link"),
            flags: words("flags"),
        }
    })
    .collect()
}

/// Reads `FUNCTION BLOCKS x BYTES [every N]`.
fn site(text: &str, arguments: &[String]) -> ExpectedSite {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{text}: {word} is no number"));
    let [function, blocks, "x", bytes, rest @ ..] = &words[..] else {
        panic!("{text}: not FUNCTION BLOCKS x BYTES")
    };
    let bytes = match *bytes {
        "?" => None,
        "$1" => arguments.first().map(|argument| number(argument)),
        bytes => Some(number(bytes)),
    };
    let every = match rest {
        [] => 1,
        ["every", every] => every.parse().expect("rounds are a number"),
        _ => panic!("{text}: not every N"),
    };
    ExpectedSite { function: (*function).to_owned(), blocks: number(blocks), bytes, every }
}

impl LeakTarget {
    /// It with these arguments.
    #[must_use]
    pub fn run_with(mut self, arguments: &str) -> LeakTarget {
        self.arguments = arguments.split_whitespace().map(str::to_owned).collect();
        self
    }

    /// The command line that starts it, or its good twin.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn command(&self, workshop: &Workshop, good: bool) -> String {
        let program = self.program(workshop, good);
        let words = std::iter::once(program.display().to_string()).chain(self.arguments.iter().cloned());
        words.collect::<Vec<_>>().join(" ")
    }

    /// The program that it, or its good twin, is compiled to.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn program(&self, workshop: &Workshop, good: bool) -> PathBuf {
        let in_rust = self.source.extension().is_some_and(|ending| ending == "rs");
        let marked: &[&str] = match (good, in_rust) {
            (false, _) => &[],
            (true, true) => &["--cfg", "good"],
            (true, false) => &["-DGOOD=1"],
        };
        let flags = marked.iter().map(|flag| (*flag).to_owned()).chain(self.flags.iter().cloned());
        let target = Target {
            name: if good { format!("{}_good", self.name) } else { self.name.clone() },
            source: self.source.clone(),
            flags: flags.collect(),
            link: self.link.clone(),
            ..Target::default()
        };
        if self.library {
            let more = ["-DLIBRARY", "-shared", "-fPIC"].map(str::to_owned);
            let flags = target.flags.iter().cloned().chain(more).collect();
            let name = format!("{}_library", target.name);
            workshop.program(&Target { name, flags, ..target.clone() });
        }
        workshop.program(&target)
    }

    /// Whether the allocator is a part of the program.
    #[must_use]
    pub fn has_allocator_linked_in(&self) -> bool {
        self.allocator.as_ref() == Some(&self.name)
    }

    /// Name and arguments.
    #[must_use]
    pub fn title(&self) -> String {
        std::iter::once(&self.name).chain(&self.arguments).cloned().collect::<Vec<_>>().join(" ")
    }
}

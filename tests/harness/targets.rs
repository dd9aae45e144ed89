//! The tiny targets, and what their headers say of them.

use std::fs;
use std::path::{Path, PathBuf};

use memtrial_report::model::Verdict;

/// A target; see `targets/README.md` for the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The name of its file without the ending.
    pub name: String,
    /// Its file.
    pub source: PathBuf,
    /// Verdicts that must occur; a word that memtrial does not know yet is kept as a word.
    pub expect: Vec<String>,
    /// Verdicts that must not occur.
    pub never: Vec<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// Options of `memtrial oom`.
    pub options: Vec<String>,
    /// The command that looks for damage.
    pub check: Option<String>,
    /// Other targets that must be built into the same folder.
    pub needs: Vec<String>,
    /// What the compiler is handed behind the source.
    pub link: Vec<String>,
    /// What the compiler is handed before the source.
    pub flags: Vec<String>,
}

/// The folder of the targets.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/targets"))
}

/// All targets, by name.
///
/// # Panics
/// When the folder or a header can't be read.
#[must_use]
pub fn all() -> Vec<Target> {
    let entries = fs::read_dir(folder()).expect("the folder of the targets is there").flatten();
    let sources = entries.map(|entry| entry.path());
    let known =
        |path: &PathBuf| matches!(path.extension().and_then(|e| e.to_str()), Some("c" | "cpp" | "rs"));
    let mut targets: Vec<Target> = sources.filter(known).map(|source| read(&source)).collect();
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    targets
}

/// The target of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> Target {
    let source = ["c", "cpp", "rs"].map(|ending| folder().join(format!("{name}.{ending}")));
    read(source.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("there is no target {name}")))
}

fn read(source: &Path) -> Target {
    let text = fs::read_to_string(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut target = Target { name, source: source.to_owned(), ..Target::default() };
    for line in text.lines().map_while(|line| line.strip_prefix("//")) {
        if let Some((key, value)) = line.trim().split_once(':') {
            target.take(key, value.trim());
        }
    }
    assert!(!target.never.is_empty(), "{}: the header says what never happens", source.display());
    target
}

impl Target {
    fn take(&mut self, key: &str, value: &str) {
        let words = || value.split_whitespace().map(str::to_owned).collect();
        let list =
            || value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match key {
            "expect" => self.expect = list(),
            "never" => self.never = list(),
            "run" => {
                let (arguments, stdin) = value.split_once('<').unwrap_or((value, ""));
                self.arguments = arguments.split_whitespace().map(str::to_owned).collect();
                self.stdin = stdin.trim_start().replace("\\n", "\n").into_bytes();
            }
            "options" => self.options = words(),
            "check" => self.check = Some(value.to_owned()),
            "needs" => self.needs = words(),
            "link" => self.link = words(),
            "flags" => self.flags = words(),
            _ => {}
        }
    }

    /// What the header claims, as a sentence.
    #[must_use]
    pub fn claim(&self) -> String {
        match &self.expect[..] {
            [] => format!("{} has nothing to fail", self.name),
            [all @ .., last] if !all.is_empty() => format!("{} is {} and {last}", self.name, all.join(", ")),
            [only] => format!("{} is {only}", self.name),
            [..] => self.name.clone(),
        }
    }

    /// The time limit to give its injections, in seconds: a hang is to be waited for, and nothing else may take
    /// a slow machine for one.
    #[must_use]
    pub fn timeout(&self) -> &'static str {
        if self.expect.iter().any(|word| word == Verdict::Hung.word()) { "5" } else { "120" }
    }
}

//! The small programs that load on their heap brings to light, each with its good twin.

use std::fs;
use std::path::PathBuf;

use super::targets::Target;
use super::workshop::Workshop;

/// A program; see `stress_targets/README.md` for the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StressTarget {
    /// The name of its file without the ending.
    pub name: String,
    /// The function that allocates the blocks that are to blame.
    pub function: Option<String>,
    /// How they lie to the load's chunks.
    pub relation: Option<String>,
    /// The line on which they are allocated.
    pub line: Option<u32>,
    source: PathBuf,
    link: Vec<String>,
}

/// The folder of the programs.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/stress_targets"))
}

/// The program of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> StressTarget {
    let source = folder().join(format!("{name}.c"));
    let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let header = text.lines().map_while(|line| line.strip_prefix("// "));
    let header: Vec<(&str, &str)> = header.filter_map(|line| line.split_once(": ")).collect();
    let value =
        |key: &str| header.iter().find(|(other, _)| *other == key).map(|(_, value)| value.trim().to_owned());
    let function = value("function");
    let line = function.as_ref().and_then(|name| {
        let mut lines = text.lines().zip(1..).skip_while(|(line, _)| !line.contains(&format!("*{name}(")));
        lines.find(|(line, _)| line.contains("malloc(")).map(|(_, number)| number)
    });
    StressTarget {
        name: name.to_owned(),
        function,
        relation: value("relation"),
        line,
        source,
        link: value("link").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
    }
}

impl StressTarget {
    /// The program, or its good twin.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn program(&self, workshop: &Workshop, good: bool) -> PathBuf {
        let (ending, flags) = if good { ("_good", vec!["-DGOOD=1".to_owned()]) } else { ("", Vec::new()) };
        workshop.program(&Target {
            name: format!("{}{ending}", self.name),
            source: self.source.clone(),
            flags,
            link: self.link.clone(),
            ..Target::default()
        })
    }
}

//! Hits as memtrial prints them, and the programs of `trace_targets` that make them.

use std::path::{Path, PathBuf};

use super::workshop::{Bench, compile_c};

/// A line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The process.
    pub pid: i32,
    /// When: microseconds since 1970.
    pub time: u64,
    /// The event.
    pub name: String,
    /// Its arguments.
    pub arguments: String,
    /// The frames of its call stack, innermost first.
    pub stack: Vec<String>,
}

impl Hit {
    /// Name and arguments without the caller, as the targets tell them.
    #[must_use]
    pub fn told(&self) -> String {
        let arguments = self.arguments.split(" caller=").next().unwrap_or_default();
        format!("{} {arguments}", self.name)
    }
}

/// The hits in a text; other lines are left out.
#[must_use]
pub fn hits(text: &str) -> Vec<Hit> {
    let mut all: Vec<Hit> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("    "), all.last_mut()) {
            (Some(frame), Some(last)) => last.stack.push(frame.to_owned()),
            _ => all.extend(hit(line)),
        }
    }
    all
}

fn hit(line: &str) -> Option<Hit> {
    let (pid, rest) = line.split_once('@')?;
    let (time, rest) = rest.split_once(':')?;
    let (seconds, micros) = time.split_once('.')?;
    let time = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let (name, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
    let (name, arguments, stack) = (name.to_owned(), arguments.to_owned(), Vec::new());
    Some(Hit { pid: pid.parse().ok()?, time, name, arguments, stack })
}

/// A program of `trace_targets`, compiled beside a bench's folder.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn target(bench: &Bench, name: &str, flags: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join(format!("trace_targets/{name}.c"))).expect("a target");
    let program = bench.beside(name);
    let include = format!("-I{}", root.join("../include").display());
    let all: Vec<&str> =
        [include.as_str(), "-fno-builtin", "-pthread"].iter().chain(flags).copied().collect();
    compile_c(&source, &program, &all);
    program
}

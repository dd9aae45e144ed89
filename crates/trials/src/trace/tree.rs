//! The processes that this one has started, and the files that they run: what is watched everywhere is theirs or others'.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use memtrial_events::Hit;
use memtrial_symbols::elf;

use super::family::{Family, Kin};
use super::live::Source;

/// A program and the libraries that its loader loads at its start, by the loader's own word. Nothing of them is run.
#[must_use]
pub fn files(executable: &Path) -> Vec<PathBuf> {
    let loader = elf::inspect(executable).ok().and_then(|facts| facts.interpreter);
    let listed = loader.and_then(|loader| {
        Command::new(loader).arg("--list").arg(executable).stderr(Stdio::null()).output().ok()
    });
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut files = vec![executable.to_owned()];
    files.extend(text.lines().filter_map(listed_file));
    files
}

/// The path in a line as `libc.so.6 => /lib/libc.so.6 (0x7f…)` or `/lib64/ld-linux-x86-64.so.2 (0x7f…)`.
fn listed_file(line: &str) -> Option<PathBuf> {
    let (path, _) = line.trim().rsplit_once(" (0x")?;
    let path = path.split_once(" => ").map_or(path, |(_, path)| path);
    let path = PathBuf::from(path);
    path.is_absolute().then(|| path.canonicalize().unwrap_or(path))
}

/// A source of which only hits of processes below this one are wanted.
pub struct Tree<S> {
    source: S,
    family: Family,
    untold: u64,
}

impl<S> Tree<S> {
    /// Hits of `source`, without those of other processes.
    #[must_use]
    pub fn new(source: S) -> Tree<S> {
        Tree { source, family: Family::of(std::process::id()), untold: 0 }
    }

    /// Notes that this process was started.
    pub fn add(&mut self, pid: i32) {
        self.family.add(pid.cast_unsigned());
    }
}

impl<S: Source> Source for Tree<S> {
    fn poll(&mut self, take: &mut dyn FnMut(Hit)) -> io::Result<bool> {
        let Tree { source, family, untold } = self;
        source.poll(&mut |hit| match family.kin(hit.pid) {
            Kin::Descends => take(hit),
            Kin::Foreign => {}
            Kin::Unknown => *untold += 1,
        })
    }

    fn complete_until(&self) -> Option<u64> {
        self.source.complete_until()
    }

    /// Also hits of processes that had ended before it could be seen whose they were.
    fn lost(&self) -> u64 {
        self.source.lost() + self.untold
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_libraries() {
        let files = files(Path::new("/bin/sh"));
        assert_eq!(files[0], Path::new("/bin/sh"));
        assert!(files.iter().any(|file| file.to_string_lossy().contains("libc")), "{files:?}");
        assert_eq!(listed_file("\tlinux-vdso.so.1 (0x00007ffe)"), None);
        assert_eq!(listed_file("\tlibx.so => not found"), None);
    }
}

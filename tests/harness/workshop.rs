//! Folders of one's own, and targets compiled into them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

use super::targets::{self, Target};

/// A place where each target is compiled once, whichever tests need it.
pub struct Workshop {
    place: TempDir,
    built: Mutex<HashMap<String, Arc<OnceLock<PathBuf>>>>,
}

/// What a test has to itself: an empty folder to run things in, and the results beside it.
pub struct Bench {
    place: TempDir,
}

impl Workshop {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    #[must_use]
    pub fn new() -> Workshop {
        Workshop { place: temporary(), built: Mutex::default() }
    }

    /// The program that a target is compiled to; those that it needs lie beside it.
    ///
    /// # Panics
    /// When it does not compile.
    pub fn program(&self, target: &Target) -> PathBuf {
        for needed in &target.needs {
            self.program(&targets::named(needed));
        }
        let cell = {
            let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(built.entry(target.name.clone()).or_default())
        };
        cell.get_or_init(|| {
            let program = self.place.path().join(&target.name);
            compile(target, &program);
            program
        })
        .clone()
    }
}

impl Default for Workshop {
    fn default() -> Workshop {
        Workshop::new()
    }
}

/// Copies a program that is to be run. Another process writes the copy: a child that another test starts meanwhile has
/// what this process has open until it becomes its program, and what is open for writing can't be run (ETXTBSY).
///
/// # Panics
/// When it can't be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().expect("there is cp");
    assert!(status.success(), "{} can't be copied to {}", from.display(), to.display());
}

fn compile(target: &Target, program: &Path) {
    let ending = target.source.extension().and_then(|ending| ending.to_str());
    let (compiler, usual): (_, &[&str]) = match ending {
        Some("rs") => ("rustc", &["--edition", "2024", "-g", "-C", "opt-level=1"]),
        Some("cpp") => ("g++", &["-g", "-O1", "-w"]),
        _ => ("gcc", &["-g", "-O1", "-w"]),
    };
    let mut command = Command::new(compiler);
    command.args(usual).args(&target.flags).arg("-o").arg(program).arg(&target.source).args(&target.link);
    run(&mut command);
}

/// Compiles a C program that only one test needs.
///
/// # Panics
/// When it does not compile.
pub fn compile_c(source: &str, program: &Path, flags: &[&str]) {
    let file = program.with_extension("c");
    std::fs::write(&file, source).expect("the folder of a test is writable");
    run(Command::new("gcc").args(["-g", "-O1", "-w", "-o"]).arg(program).arg(&file).args(flags));
}

/// Runs a command that must succeed; returns its stdout.
///
/// # Panics
/// When it does not.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; ./test installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("trial-").tempdir().expect("there is a place for temporary files")
}

impl Bench {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    #[must_use]
    pub fn new() -> Bench {
        let bench = Bench { place: temporary() };
        std::fs::create_dir(bench.folder()).expect("a new folder is writable");
        bench
    }

    /// The folder to run in.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.place.path().join("work")
    }

    /// A path beside it, for results and programs.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes a file into the folder.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, contents).expect("the folder of a test is writable");
        path
    }
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::new()
    }
}

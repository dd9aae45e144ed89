//! The programs that are attached to, and the library that comes into them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use memtrial_target::attach::{self, AttachError, Entered, Slots};

/// Far beyond what anything takes on a slow machine.
pub const LIMIT: Duration = Duration::from_secs(60);

const TABLE: [(&str, &str); 4] = [
    ("malloc", "hook_malloc"),
    ("calloc", "hook_calloc"),
    ("realloc", "hook_realloc"),
    ("free", "hook_free"),
];

thread_local! {
    /// The folder with the programs of a test, which vanishes with its thread.
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a writable temporary folder");

    static LIBRARY: PathBuf = compile("library.c", "library.so", &["-shared", "-fPIC"]);
}

pub fn folder() -> PathBuf {
    FOLDER.with(|folder| folder.path().to_path_buf())
}

pub fn library() -> PathBuf {
    LIBRARY.with(PathBuf::clone)
}

pub fn compile(source: &str, name: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attach").join(source);
    let program = folder().join(name);
    let mut gcc = Command::new("gcc");
    let done = gcc.args(["-O1", "-w", "-pthread", "-o"]).arg(&program).arg(source).args(flags).output();
    let done = done.expect("the tests need gcc");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    program
}

/// A running program, which ends with the test.
pub struct Target {
    pub child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Target {
    pub fn start(program: &Path) -> Target {
        Target::of(&mut Command::new(program))
    }

    pub fn of(command: &mut Command) -> Target {
        Target::of_if_ready(command).expect("it says that it is ready")
    }

    pub fn of_if_ready(command: &mut Command) -> Option<Target> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("just built");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut target = Target { child, stdin, stdout };
        (target.line() == "ready").then_some(target)
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line.trim().to_owned()
    }

    pub fn tell(&mut self) {
        self.stdin.write_all(b"q").expect("it listens");
    }

    pub fn enter(&self) -> Result<Entered, AttachError> {
        attach::enter(self.pid(), &library(), "begin", "twelve bytes", LIMIT)
    }

    pub fn redirect(&self, base: u64) -> Slots {
        Slots::install(self.pid(), &library(), base, &TABLE).expect("its slots can be written")
    }

    pub fn counted(&self) -> u64 {
        attach::enter(self.pid(), &library(), "counted", "", LIMIT).expect("it can be entered again").value
    }

    /// Tells it to end, and checks that it was not disturbed.
    pub fn ends_right(mut self) {
        let _ = self.stdin.write_all(b"q\n");
        assert_eq!(self.line(), "right");
        assert!(self.child.wait().expect("our child").success());
    }

    pub fn ends_right_when_signalled(mut self) {
        self.signal(libc::SIGUSR1);
        assert_eq!(self.line(), "right");
        assert!(self.child.wait().expect("our child").success());
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: no pointers; the child is ours and not reaped.
        unsafe { libc::kill(self.pid(), signal) };
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

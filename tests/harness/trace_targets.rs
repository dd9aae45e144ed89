//! The small programs with static probes: they do what they are asked, and answer with what should be seen of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::processes::wait_for;
use super::targets::Target;
use super::trace::can_trace;
use super::workshop::{Bench, Workshop, copy_program};

/// A file of the folder of these programs.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/trace_targets")).join(name)
}

/// A program of this source, in a file of the bench's own: breakpoints are for all processes of a file.
///
/// # Panics
/// When there is no such source, or it does not compile.
#[must_use]
pub fn program(bench: &Bench, source: &str) -> PathBuf {
    static WORKSHOP: OnceLock<Workshop> = OnceLock::new();
    let source = file(source);
    let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let of_c = source.extension().is_some_and(|ending| ending == "c");
    // The kernel follows frame pointers.
    let flags =
        if of_c { vec!["-fno-omit-frame-pointer".to_owned(), "-pthread".to_owned()] } else { Vec::new() };
    let target = Target { name: name.clone(), source, flags, ..Target::default() };
    let built = WORKSHOP.get_or_init(Workshop::new).program(&target);
    let copy = bench.folder().join(name);
    copy_program(&built, &copy);
    copy
}

/// A program of this source under way, in a bench of its own; none where static probes can't be traced, which is said.
#[must_use]
pub fn traceable(source: &str) -> Option<(Bench, Asked)> {
    can_trace().then(|| {
        let bench = Bench::new();
        let asked = Asked::start(&program(&bench, source));
        (bench, asked)
    })
}

/// A program under way; it ends with the test.
#[derive(Debug)]
pub struct Asked {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Asked {
    /// Starts a program, which then waits to be asked.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(program: &Path) -> Asked {
        Asked::of(&mut Command::new(program))
    }

    /// Starts this command, which then waits to be asked: it has loaded all that it needs for that.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn of(command: &mut Command) -> Asked {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let questions = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        wait_for("the program's first look at its input", || reads_input(child.id()).then_some(()));
        Asked { child, questions, answers }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it answers to this line: all lines up to one with a dot alone.
    ///
    /// # Panics
    /// When it gives no answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        writeln!(self.questions, "{line}")
            .unwrap_or_else(|error| panic!("it does not take {line:?}: {error}"));
        let mut lines = Vec::new();
        loop {
            let mut answer = Vec::new();
            let length = self.answers.read_until(b'\n', &mut answer).expect("it is a pipe");
            assert_ne!(length, 0, "it has ended instead of answering {line:?}: {:?}", self.child.try_wait());
            let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
            if answer == "." {
                return lines;
            }
            lines.push(answer);
        }
    }

    /// Lets it come to its own end, and returns its exit status.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn end(self) -> i32 {
        let Asked { mut child, questions, answers } = self;
        drop((questions, answers));
        child.wait().expect("it is our child").code().expect("no signal has ended it")
    }
}

/// Whether a process waits for input, or can't be asked that: proc(5), `/proc/pid/syscall`.
fn reads_input(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall"));
    call.map_or(true, |call| call.starts_with(&format!("{} 0x0 ", libc::SYS_read)))
}

/// Ends a program that may have been given up.
pub fn kill(mut asked: Asked) {
    let _ = asked.child.kill();
    let _ = asked.child.wait();
}

//! Running memtrial and reading what it says.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use memtrial_report::model::Report;

use super::executable::built;

/// How long anything is waited for: hundreds of rounds of a trial take a minute, and a machine may be ten times slower.
pub const LIMIT: Duration = Duration::from_secs(900);

/// A memtrial about to be run.
#[derive(Debug, Clone)]
pub struct Memtrial {
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
    stdin: Vec<u8>,
    environment: Vec<(String, OsString)>,
}

/// A memtrial under way.
pub struct Running {
    child: Child,
    streams: [Receiver<Vec<u8>>; 2],
    what: String,
}

/// What a memtrial that has ended left behind.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit status; 128 and the number of the signal, if one ended it.
    pub status: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    pub(super) what: String,
}

impl Memtrial {
    /// memtrial, run in `folder` with these arguments, separated by blanks.
    #[must_use]
    pub fn new(folder: &Path, arguments: &str) -> Memtrial {
        Memtrial::of(&built().executable, folder).arguments(arguments.split_whitespace())
    }

    /// A shell in `folder` that runs this line, with memtrial in its PATH.
    #[must_use]
    pub fn by_shell(folder: &Path, line: &str) -> Memtrial {
        let place = built().executable.parent().unwrap_or(Path::new("/")).to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(place).chain(std::env::split_paths(&path)));
        let path = path.expect("the folder of memtrial has no colon in its name");
        Memtrial::of(Path::new("/bin/sh"), folder).arguments(["-c", line]).variable("PATH", path)
    }

    fn of(program: &Path, folder: &Path) -> Memtrial {
        Memtrial {
            program: program.to_owned(),
            arguments: Vec::new(),
            folder: folder.to_owned(),
            stdin: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// More arguments.
    #[must_use]
    pub fn arguments<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Memtrial {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// What it reads on stdin; nothing by default.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Memtrial {
        self.stdin = bytes.to_owned();
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Memtrial {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(&self) -> Running {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder).env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let what = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        let bytes = self.stdin.clone();
        // It may end without having read its input.
        thread::spawn(move || drop(stdin.write_all(&bytes)));
        let stdout = read_to_end(child.stdout.take().expect("piped"));
        let stderr = read_to_end(child.stderr.take().expect("piped"));
        Running { child, streams: [stdout, stderr], what }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When there is no end.
    #[must_use]
    pub fn run(&self) -> Ended {
        self.start().wait()
    }
}

fn read_to_end(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for its end, and for that of everything that holds its streams.
    ///
    /// # Panics
    /// When there is no end.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let [stdout, stderr] = self.streams.each_ref().map(|stream| match stream.recv_timeout(LIMIT) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => {
                let _ = self.child.kill();
                panic!("{}: no end after {LIMIT:?}", self.what);
            }
        });
        let status = self.child.wait().expect("it is our child");
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ended { status, stdout, stderr, what: self.what }
    }
}

impl Ended {
    /// The report that it printed for `--json`.
    ///
    /// # Panics
    /// When it printed none, or one with another exit status than its own.
    #[must_use]
    pub fn report(&self) -> Report {
        let report: Report = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("it printed no report ({error})\n{}", self.told()));
        assert_eq!(i32::from(report.exit_status), self.status, "status and report agree\n{}", self.told());
        report
    }

    /// Asserts that it ended with this status; returns itself.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    #[track_caller]
    pub fn with_status(self, status: i32) -> Ended {
        assert_eq!(self.status, status, "{}", self.told());
        self
    }

    /// Asserts that stderr has all of these; returns itself.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn saying(self, texts: &[&str]) -> Ended {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not on stderr\n{}", self.told());
        }
        self
    }

    /// All about it, for messages.
    #[must_use]
    pub fn told(&self) -> String {
        let Ended { status, stdout, stderr, what } = self;
        format!("{what}\nstatus {status}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

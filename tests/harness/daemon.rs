//! Daemons that a test starts: each ends with the test, with all that it has started itself.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::memtrial::LIMIT;
use super::processes::{signal, wait_for};

/// A daemon under way.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts what `line` says, in `folder`; what it writes goes into the file `log` there.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(folder: &Path, line: &str) -> Daemon {
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log).expect("a test's folder is writable");
        let mut command = Command::new("/bin/sh");
        // Without a shell in between, so that the pid is the daemon's.
        command.args(["-c", &format!("exec {line}")]).current_dir(folder).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("it is open")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        Daemon { child, folder: folder.to_owned(), log }
    }

    /// Waits until this command succeeds.
    ///
    /// # Panics
    /// When the daemon ends before, or that does not come.
    #[must_use]
    pub fn ready(mut self, command: &str) -> Daemon {
        let begun = Instant::now();
        while !shell(&self.folder, command).status.success() {
            assert!(self.is_alive(), "the daemon has ended: {}", self.said());
            assert!(begun.elapsed() < LIMIT, "{command}: not after {LIMIT:?}: {}", self.said());
            sleep(Duration::from_millis(20));
        }
        assert!(self.is_alive(), "something else answers, and the daemon has ended: {}", self.said());
        self
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Whether it lives.
    ///
    /// # Panics
    /// Never: it is our child.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// What it has written so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once, with all that it has started.
    pub fn end(&mut self) {
        // A process that starts others may do so until it is gone itself.
        for pid in tree(self.pid()) {
            signal(pid, libc::SIGSTOP);
        }
        for pid in tree(self.pid()) {
            signal(pid, libc::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_alive() {
            self.end();
        }
    }
}

/// What a shell does with `line` in `folder`.
///
/// # Panics
/// When there is no shell.
#[must_use]
pub fn shell(folder: &Path, line: &str) -> Output {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
    command.output().expect("there is a shell")
}

/// What a command that must succeed writes to stdout, without blanks around it.
///
/// # Panics
/// When it fails.
#[must_use]
#[track_caller]
pub fn answer(folder: &Path, line: &str) -> String {
    let output = shell(folder, line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The processes that this one has started, and that live.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let all: Vec<String> = lists.collect();
    all.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// A process, and all below it.
#[must_use]
pub fn tree(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        all.extend(children(all[next]));
        next += 1;
    }
    all
}

/// Whether there is a living process of this id.
#[must_use]
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may have anything in it (proc(5)).
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until there is no such process any more.
///
/// # Panics
/// When it lives on.
pub fn wait_until_gone(pid: i32) {
    wait_for(&format!("the end of process {pid}"), || (!lives(pid)).then_some(()));
}

/// A port of the loopback interface on which nobody listens, another one at each call. It is none of those that the
/// kernel gives to whoever does not care: a client, or another test, could have got that before the daemon listens.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    /// Linux gives away those from 32768 on (ip(7), `ip_local_port_range`).
    const NUMBER: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at different places.
    let first = std::process::id().wrapping_mul(97);
    let candidates = (0..NUMBER).map(|_| first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % NUMBER);
    let mut ports = candidates.filter_map(|place| u16::try_from(FIRST + place).ok());
    let is_free = |port: &u16| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    ports.find(is_free).expect("there is a loopback interface")
}

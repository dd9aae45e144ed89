//! Looking at processes, waiting for what they do, and signalling them.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::memtrial::LIMIT;

/// The name that the kernel shows for the process that does memtrial's work.
const WORKER: &str = "trial-worker";

/// A process, as /proc shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// The name that it goes by.
    pub name: String,
}

/// A word in the environment of processes that a test has started. None of them is left when this is dropped, not
/// even by a test that fails for that reason.
#[derive(Debug)]
pub struct Mark {
    word: String,
}

impl Mark {
    /// A word that nobody else has.
    #[must_use]
    pub fn new(name: &str) -> Mark {
        Mark { word: format!("mark-{}-{name}", std::process::id()) }
    }

    /// The word.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }

    /// The living processes that have it.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        marked(&self.word)
    }

    /// The process that does the work of a memtrial that was started with it, and has `main` as its process id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn worker(&self, main: i32) -> i32 {
        // What the worker has just forked has its name for a moment.
        let is_it = |process: &Process| process.name == WORKER && process.parent == main;
        self.processes().into_iter().find(is_it).expect("the worker lives").pid
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for process in self.processes() {
            signal(process.pid, libc::SIGKILL);
        }
    }
}

/// The living processes that have `mark` in their arguments, or in the environment they were started with.
fn marked(mark: &str) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_mark = |pid: &i32| {
        ["environ", "cmdline"].iter().any(|file| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
    };
    pids.filter(has_mark).filter_map(process).collect()
}

fn process(pid: i32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let alive = field("State:").is_some_and(|state| !state.starts_with(['Z', 'X']));
    let (parent, name) = (field("PPid:")?.parse().ok()?, field("Name:")?.to_owned());
    alive.then_some(Process { pid, parent, name })
}

/// Looks again and again, until there is what is wanted.
///
/// # Panics
/// When that does not come, with the description of what was wanted.
pub fn wait_for<T>(wanted: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{wanted}: not after {LIMIT:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process that is known to live.
pub fn signal(pid: i32, signal: i32) {
    assert!(pid > 1, "{pid} is no process of a test");
    // SAFETY: no pointers.
    unsafe { libc::kill(pid, signal) };
}

/// The places in which the memtrial with this process id may have its scratch folder.
#[must_use]
pub fn scratch_folders(pid: i32) -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = ["/dev/shm", "/tmp"].map(PathBuf::from).into_iter().chain(runtime);
    places.map(|place| place.join(format!("memtrial-{pid}"))).filter(|folder| folder.exists()).collect()
}

//! `memtrial trace` under way, what it prints, and other tracers beside it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::daemon::lives;
use super::executable::built;
use super::memtrial::Ended;
use super::processes::{signal, wait_for};
use super::programs::installed;
use super::workshop::Bench;

/// What memtrial says when all that was asked for is attached.
const ATTACHED: &str = "watching ";

/// Between two signals to a tracer that may have missed the first; long enough for all that it does at its end.
const AGAIN: Duration = Duration::from_secs(3);

/// Whether static probes can be traced here; if not, says why.
#[must_use]
pub fn can_trace() -> bool {
    let why = missing();
    if let Some(why) = &why {
        println!("skipped: static probes can't be traced here: {why}");
    }
    why.is_none()
}

fn missing() -> Option<String> {
    // BPF_MAP_CREATE of the smallest ring: type 27, no key, no value, one page (bpf(2)).
    let ring: [u32; 4] = [27, 0, 0, 4096];
    // SAFETY: the kernel reads as many bytes as it is told, and `ring` has them.
    let map = unsafe { libc::syscall(libc::SYS_bpf, 0, ring.as_ptr(), size_of_val(&ring)) };
    if map < 0 {
        return Some(format!("bpf(2): {}", std::io::Error::last_os_error()));
    }
    // SAFETY: it was opened above, and nobody else has it.
    unsafe { libc::close(map as i32) };
    let uprobe = "/sys/bus/event_source/devices/uprobe/type";
    (!PathBuf::from(uprobe).exists()).then(|| format!("there is no {uprobe}"))
}

/// A line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The process.
    pub pid: i32,
    /// The time of day, in microseconds since 1970.
    pub time: u64,
    /// The event's name, and its arguments.
    pub text: String,
}

impl Line {
    /// Reads `PID@SECONDS.MICROS:NAME ARGUMENTS`.
    ///
    /// # Panics
    /// When it is nothing of the kind.
    #[must_use]
    pub fn read(line: &str) -> Line {
        let parts = || {
            let (pid, rest) = line.split_once('@')?;
            let (time, text) = rest.split_once(':')?;
            let (seconds, micros) = time.split_once('.')?;
            let time = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
            let text = text.trim_end().to_owned();
            (micros.len() == 6).then_some(Line { pid: pid.parse().ok()?, time, text })
        };
        parts().unwrap_or_else(|| panic!("{line:?} is no line of a trace"))
    }

    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// What stands behind `NAME=`, up to the next blank.
    ///
    /// # Panics
    /// When there is no such argument.
    #[must_use]
    pub fn argument(&self, name: &str) -> &str {
        let found = self.text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("there is no {name} in {self:?}"))
    }
}

/// The lines of a process, without what stands before the event's name.
#[must_use]
pub fn texts(lines: &[Line], pid: i32) -> Vec<&str> {
    lines.iter().filter(|line| line.pid == pid).map(|line| line.text.as_str()).collect()
}

/// A tracer under way; it ends with the test.
#[derive(Debug)]
pub struct Trace {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    what: String,
}

impl Trace {
    /// `memtrial trace run` in the folder of a bench, with these arguments.
    #[must_use]
    pub fn run<A: AsRef<OsStr>>(bench: &Bench, arguments: impl IntoIterator<Item = A>) -> Trace {
        let mut command = Command::new(&built().executable);
        Trace::of(bench, command.args(["trace", "run"]).args(arguments))
    }

    /// `memtrial trace run` of whose words none has a blank, ready: what happens from now on is seen.
    #[must_use]
    pub fn ready(bench: &Bench, line: &str) -> Trace {
        Trace::run(bench, line.split_whitespace()).attached()
    }

    /// bpftrace with this program. It may take seconds until anything is attached.
    #[must_use]
    pub fn bpftrace(bench: &Bench, program: &str) -> Trace {
        let mut command = Command::new(installed("bpftrace"));
        // Its limit, of which texts lose the last byte, is 64 otherwise.
        Trace::of(bench, command.args(["-e", program]).env("BPFTRACE_STRLEN", "200"))
    }

    /// Starts a command.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn of(bench: &Bench, command: &mut Command) -> Trace {
        let stdout = new_file(bench);
        let stream = File::create(&stdout).expect("the folder of a test is writable");
        let mut trace = Trace::onto(bench, command, stream.into());
        trace.stdout = stdout;
        trace
    }

    /// Starts a command whose stdout is of one's own.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn onto(bench: &Bench, command: &mut Command, stdout: Stdio) -> Trace {
        let stderr = new_file(bench);
        let stream = File::create(&stderr).expect("the folder of a test is writable");
        command.current_dir(bench.folder()).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(stdout).stderr(stream);
        let what = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        Trace { child, stdout: PathBuf::new(), stderr, what }
    }

    /// Waits until all that was asked for is attached.
    ///
    /// # Panics
    /// When it ends before.
    #[must_use]
    #[track_caller]
    pub fn attached(mut self) -> Trace {
        self.wait_until_it_says(ATTACHED);
        self
    }

    /// Waits until this stands on stderr.
    ///
    /// # Panics
    /// When it ends before.
    #[track_caller]
    pub fn wait_until_it_says(&mut self, text: &str) {
        wait_for(text, || {
            let ended = self.child.try_wait().expect("it is our child");
            let said = self.said();
            let found = said.contains(text);
            assert!(found || ended.is_none(), "{}: {ended:?} without {text:?}: {said}", self.what);
            found.then_some(())
        });
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What stands on stderr so far.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// What stands on stdout so far, as far as the lines are whole.
    #[must_use]
    pub fn printed(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned();
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        text[..end].to_owned()
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.printed().lines().map(Line::read).collect()
    }

    /// Waits until there are so many lines of a process, and returns them.
    ///
    /// # Panics
    /// When they do not come.
    #[track_caller]
    pub fn wait_for_lines(&mut self, pid: i32, count: usize) -> Vec<Line> {
        wait_for(&format!("{count} lines of {pid}"), || {
            let ended = self.child.try_wait().expect("it is our child");
            let lines: Vec<Line> = self.lines().into_iter().filter(|line| line.pid == pid).collect();
            let enough = lines.len() >= count;
            assert!(enough || ended.is_none(), "{} has ended with {lines:?}: {}", self.what, self.said());
            enough.then_some(lines)
        })
    }

    /// Ends it with Ctrl-C. It prints what is there already if that takes no time; who wants it all waits for it before.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn interrupt(self) -> Ended {
        signal(self.pid(), libc::SIGINT);
        self.wait()
    }

    /// Ends another tracer with Ctrl-C, as often as it takes: bpftrace 0.17 notices one only while it waits for hits, not
    /// while it prints one.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn interrupt_until_it_ends(mut self) -> Ended {
        let mut next = Instant::now();
        wait_for(&format!("the end of {}", self.what), || {
            let ended = self.child.try_wait().expect("it is our child");
            if ended.is_none() && Instant::now() >= next {
                signal(self.pid(), libc::SIGINT);
                next = Instant::now() + AGAIN;
            }
            ended
        });
        self.wait()
    }

    /// Kills it, and nothing else.
    ///
    /// # Panics
    /// When it can't be waited for.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let what = self.what.clone();
        let status =
            wait_for(&format!("the end of {what}"), || self.child.try_wait().expect("it is our child"));
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let stdout = String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned();
        Ended { status, stdout, stderr: self.said(), what }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if lives(self.pid()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A new name beside a bench's folder.
fn new_file(bench: &Bench) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    bench.beside(&format!("stream-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// The lines of a trace that has ended.
#[must_use]
pub fn lines(ended: &Ended) -> Vec<Line> {
    ended.stdout.lines().map(Line::read).collect()
}

//! Loads on heaps: the target in a folder of its own, the commands, and what they answer.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use memtrial_report::stress::{Loaded, Report, Verdict};
use serde_json::Value;

use super::daemon::{Daemon, shell};
use super::leak_targets::client;
use super::memtrial::{Ended, Memtrial};
use super::processes::wait_for;
use super::stress_targets::named;
use super::workshop::{Bench, Workshop};

/// The variable that says where control sockets are.
const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";

/// A folder for a target, one for its control socket, and one for results.
pub struct Stress {
    /// All of them.
    pub bench: Bench,
}

/// A small target, and what is needed to talk to it.
pub struct Small {
    /// Its folders.
    pub stress: Stress,
    /// The command line that starts it.
    pub serve: String,
    ask: PathBuf,
}

impl Stress {
    /// In these folders.
    ///
    /// # Panics
    /// When they are not writable.
    #[must_use]
    pub fn new(bench: Bench) -> Stress {
        let runtime = bench.beside("runtime");
        fs::create_dir(&runtime).expect("a new folder is writable");
        fs::set_permissions(&runtime, Permissions::from_mode(0o700)).expect("it is ours");
        Stress { bench }
    }

    /// `memtrial` with these arguments.
    #[must_use]
    pub fn memtrial(&self, arguments: &str) -> Memtrial {
        let runtime = self.bench.beside("runtime");
        Memtrial::new(&self.bench.folder(), arguments).variable(RUNTIME_VARIABLE, runtime)
    }

    /// `memtrial rpc` on a process, with a method and its arguments.
    #[must_use]
    pub fn rpc(&self, pid: i32, words: &str) -> Memtrial {
        self.memtrial(&format!("rpc --pid {pid} {words}"))
    }

    /// What it prints, without the end of the line.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn print(&self, pid: i32, words: &str) -> String {
        self.rpc(pid, words).run().with_status(0).stdout.trim_end().to_owned()
    }

    /// The result of a method, as JSON.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    #[track_caller]
    pub fn call(&self, pid: i32, words: &str) -> Value {
        let ended = self.memtrial(&format!("rpc --pid {pid} --json {words}")).run().with_status(0);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}\n{}", ended.told()))
    }

    /// `memtrial stress` with these options, results apart.
    #[must_use]
    pub fn stress(&self, options: &str) -> Memtrial {
        let memtrial = self.memtrial("stress -q --json --output").arguments([self.bench.beside("results")]);
        memtrial.arguments(options.split_whitespace())
    }

    /// The same on a process that runs.
    #[must_use]
    pub fn on(&self, pid: i32, options: &str) -> Memtrial {
        self.stress(options).arguments(["--pid", &pid.to_string()])
    }

    /// The control socket of a process.
    #[must_use]
    pub fn socket(&self, pid: i32) -> PathBuf {
        self.bench.beside("runtime").join(format!("memtrial/{pid}.sock"))
    }
}

impl Small {
    /// The small target of this name, or its twin, with these arguments.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn new(workshop: &Workshop, name: &str, good: bool, arguments: &str) -> Small {
        let program = named(name).program(workshop, good);
        let serve = format!("{} {arguments}", program.display());
        Small { stress: Stress::new(Bench::new()), serve, ask: client(workshop) }
    }

    /// It, started and ready.
    ///
    /// # Panics
    /// When it does not become so.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        self.daemon_with("")
    }

    /// The same with a library loaded first.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn daemon_with(&self, library: &str) -> Daemon {
        let line = format!("env LD_PRELOAD={library} {}", self.serve);
        Daemon::start(&self.stress.bench.folder(), &line).ready(&self.request("alive"))
    }

    /// The shell command that makes a request, from wherever it is run.
    #[must_use]
    pub fn request(&self, words: &str) -> String {
        format!("{} -C {} '{words}'", self.ask.display(), self.stress.bench.folder().display())
    }

    /// Whether it answers.
    #[must_use]
    pub fn answers(&self) -> bool {
        shell(&self.stress.bench.folder(), &self.request("alive")).status.success()
    }

    /// `memtrial stress` on it, started for the trial.
    #[must_use]
    pub fn serving(&self, options: &str) -> Memtrial {
        let memtrial = self.stress.stress(options).arguments(["--ready", &self.request("alive"), "--"]);
        memtrial.arguments(self.serve.split_whitespace())
    }
}

impl Ended {
    /// The report of `memtrial stress` that it printed for `--json`.
    ///
    /// # Panics
    /// When it printed none, or one with another exit status than its own.
    #[must_use]
    #[track_caller]
    pub fn stress_report(&self) -> Report {
        let report: Report = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("it printed no report ({error})\n{}", self.told()));
        assert_eq!(i32::from(report.exit_status), self.status, "status and report agree\n{}", self.told());
        assert_eq!(report.trial, "stress", "{}", self.told());
        report
    }

    /// The report, which has this verdict, and the status that belongs to it.
    ///
    /// # Panics
    /// When it has not.
    #[must_use]
    #[track_caller]
    pub fn stress_verdict(&self, verdict: Verdict) -> Report {
        let report = self.stress_report();
        assert_eq!(report.verdict, verdict, "{}\n{}", pretty(&report), self.stderr);
        assert_eq!(self.status, i32::from(verdict != Verdict::Held), "{}", pretty(&report));
        report
    }
}

/// The one process that was loaded.
///
/// # Panics
/// When that is none, or some more.
#[must_use]
#[track_caller]
pub fn loaded(report: &Report) -> &Loaded {
    let [only] = &report.loaded[..] else { panic!("{}", pretty(report)) };
    only
}

/// What the report says, for messages.
#[must_use]
pub fn pretty(report: &Report) -> String {
    // Samples would fill the screen.
    let mut short = report.clone();
    for loaded in &mut short.loaded {
        loaded.samples.truncate(2);
        loaded.overwritten.truncate(3);
    }
    serde_json::to_string_pretty(&short).unwrap_or_else(|error| error.to_string())
}

/// The names of a process's threads, in order, but for those that jemalloc starts by itself when arenas come into use.
#[must_use]
pub fn threads(pid: i32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
    names.retain(|name| name != "jemalloc_bg_thd");
    names.sort();
    names
}

/// Waits until a process has just these threads again.
///
/// # Panics
/// When it keeps others.
pub fn wait_for_threads(pid: i32, before: &[String]) {
    wait_for(&format!("process {pid} has its own threads only"), || (threads(pid) == before).then_some(()));
}

/// Memory that belongs to a process alone, in bytes, resident or swapped out.
///
/// # Panics
/// When it has ended.
#[must_use]
#[track_caller]
pub fn private(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    (of("Anonymous:") + of("Swap:")) * 1024
}

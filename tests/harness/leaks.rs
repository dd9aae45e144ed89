//! Trials for leaks: the daemon in a folder of its own, the command, and what its report says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use memtrial_report::leak::{Located, LocatedSite, Process, Report, Survival};
use memtrial_report::store::newest;
use serde_json::Value;

use super::daemon::{Daemon, answer, shell};
use super::leak_targets::{LeakTarget, client};
use super::memtrial::{Ended, Memtrial};
use super::processes::wait_for;
use super::workshop::{Bench, Workshop};

/// A daemon, its client, and a folder for both.
pub struct Trial {
    /// The folder.
    pub bench: Bench,
    /// The command line that starts the daemon.
    pub serve: String,
    ask: PathBuf,
    undo: Option<String>,
}

impl Trial {
    /// For a daemon, or its good twin.
    ///
    /// # Panics
    /// When one does not compile.
    #[must_use]
    pub fn of(workshop: &Workshop, target: &LeakTarget, good: bool) -> Trial {
        Trial {
            bench: Bench::new(),
            serve: target.command(workshop, good),
            ask: client(workshop),
            undo: target.undo.clone(),
        }
    }

    /// The daemon, started and ready.
    ///
    /// # Panics
    /// When it does not become so.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        Daemon::start(&self.bench.folder(), &self.serve).ready(&self.request("alive"))
    }

    /// The shell command that makes a request, from wherever it is run.
    #[must_use]
    pub fn request(&self, word: &str) -> String {
        format!("{} -C {} {word}", self.ask.display(), self.bench.folder().display())
    }

    /// The same, waiting for a daemon that is not there.
    #[must_use]
    pub fn patient_request(&self, word: &str) -> String {
        format!("{} -w -C {} {word}", self.ask.display(), self.bench.folder().display())
    }

    /// Where its results go.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.bench.beside("results")
    }

    /// `memtrial leak` with these options, results apart, and no target and no action yet.
    #[must_use]
    pub fn bare(&self, options: &str) -> Memtrial {
        let memtrial = Memtrial::new(&self.bench.folder(), "leak -q --json --output");
        memtrial.arguments([self.results()]).arguments(options.split_whitespace())
    }

    /// The same with the action of a round.
    #[must_use]
    pub fn acting(&self, options: &str) -> Memtrial {
        let memtrial = self.bare(options).arguments(["--do", &self.request("work")]);
        match &self.undo {
            Some(undo) => memtrial.arguments(["--undo", &self.request(undo)]),
            None => memtrial,
        }
    }

    /// The same on a daemon that memtrial starts.
    #[must_use]
    pub fn serving(&self, options: &str) -> Memtrial {
        self.acting(options).arguments(["--serve", &self.serve, "--ready", &self.request("alive")])
    }

    /// The same on a process that runs.
    #[must_use]
    pub fn on(&self, pid: i32, options: &str) -> Memtrial {
        self.acting(options).arguments(["--pid", &pid.to_string()])
    }

    /// How many rounds a daemon that runs has done, as it says itself.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn rounds_done(&self) -> u32 {
        let answer = answer(&self.bench.folder(), &self.request("alive"));
        let rounds = answer.strip_prefix("alive ").and_then(|rounds| rounds.parse().ok());
        rounds.unwrap_or_else(|| panic!("that is no answer: {answer}"))
    }

    /// Asserts that a daemon that runs still does its work.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn works_on(&self) {
        let before = self.rounds_done();
        for round in 1..=10 {
            let done = answer(&self.bench.folder(), &self.request("work"));
            assert_eq!(done, format!("done {}", before + round));
        }
    }

    /// Whether anybody answers.
    #[must_use]
    pub fn answers(&self) -> bool {
        shell(&self.bench.folder(), &self.request("alive")).status.success()
    }
}

impl Ended {
    /// The report of `memtrial leak` that it printed for `--json`.
    ///
    /// # Panics
    /// When it printed none, or one with another exit status than its own.
    #[must_use]
    #[track_caller]
    pub fn leak_report(&self) -> Report {
        let report: Report = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("it printed no report ({error})\n{}", self.told()));
        assert_eq!(i32::from(report.exit_status), self.status, "status and report agree\n{}", self.told());
        assert_eq!(report.trial, "leak", "{}", self.told());
        report
    }
}

/// The process with this name.
///
/// # Panics
/// When none was watched.
#[must_use]
#[track_caller]
pub fn process<'r>(report: &'r Report, name: &str) -> &'r Process {
    // The kernel keeps fifteen bytes of a name.
    let name = &name[..name.len().min(15)];
    let found = report.processes.iter().find(|process| process.name == name);
    found.unwrap_or_else(|| panic!("{name} was not watched: {report:#?}"))
}

/// What was located in the one process into which somebody looked.
///
/// # Panics
/// When that is none, or some more.
#[must_use]
#[track_caller]
pub fn located<'r>(report: &'r Report, name: &str) -> &'r Located {
    let name = &name[..name.len().min(15)];
    let found: Vec<&Located> = report.located.iter().filter(|located| located.name == name).collect();
    let [only] = found[..] else { panic!("one of {name} is located, not {}: {report:#?}", found.len()) };
    only
}

/// The sites that pile up.
#[must_use]
pub fn leaking(report: &Report) -> Vec<&LocatedSite> {
    let sites = report.located.iter().flat_map(|located| &located.sites);
    sites.filter(|site| matches!(site.survival, Survival::Leaking | Survival::Lost)).collect()
}

/// Whether a function with this in its name is in the stack of a site.
#[must_use]
pub fn passes_through(site: &LocatedSite, function: &str) -> bool {
    site.stack.iter().any(|frame| frame.function.as_ref().is_some_and(|name| name.contains(function)))
}

/// What the report says, for messages.
#[must_use]
pub fn pretty(report: &Report) -> String {
    // Samples would fill the screen.
    let mut short = report.clone();
    for process in &mut short.processes {
        process.samples.truncate(2);
        process.map_difference.truncate(5);
    }
    serde_json::to_string_pretty(&short).unwrap_or_else(|error| error.to_string())
}

/// The rounds of which figures are kept in an output folder, in order and each once; a last line that is cut off is
/// passed over.
#[must_use]
pub fn rounds_kept(results: &Path) -> Vec<u64> {
    let entries = fs::read_dir(newest(results)).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("samples") && name.ends_with(".jsonl")
    });
    let text: String = files.map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    let samples = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let rounds: BTreeSet<u64> = samples.filter_map(|sample| sample["round"].as_u64()).collect();
    rounds.into_iter().collect()
}

/// Waits until the figures of so many rounds are kept.
///
/// # Panics
/// When that does not come.
pub fn wait_for_rounds(results: &Path, many: usize) {
    wait_for(&format!("{many} rounds"), || (rounds_kept(results).len() >= many).then_some(()));
}

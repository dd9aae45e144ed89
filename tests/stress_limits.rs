//! Targets whose memory is limited under load: one that can do without goes on, one that can't dies, and afterwards each has
//! the limits that it had before.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use memtrial_report::stress::{Limit, LimitKind, Report, Verdict};
use memtrial_tests::harness::daemon::{Daemon, answer};
use memtrial_tests::harness::executable::built;
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::packaged::{is_root, open_bench, unprivileged};
use memtrial_tests::harness::processes::{signal, wait_for};
use memtrial_tests::harness::stress::{Small, loaded, pretty, threads, wait_for_threads};
use memtrial_tests::harness::stress_targets::named;
use memtrial_tests::harness::workshop::{Workshop, copy_program};

/// More than any limit here, soon.
const FAR_TOO_MUCH: &str = "--min 4k --max 16k --total 1g --rate 20000/s";
/// `nobody`
const NOBODY: u32 = 65534;

fn limit(report: &Report) -> &Limit {
    loaded(report).limit.as_ref().unwrap_or_else(|| panic!("{}", pretty(report)))
}

/// Whether the limit is one of a control group; says so where it is not.
fn is_of_a_group(report: &Report) -> bool {
    let is = limit(report).kind != LimitKind::AddressSpace;
    if !is {
        eprintln!("no control group can be made here");
    }
    is
}

/// The groups made for a process.
fn groups(pid: i32) -> Vec<PathBuf> {
    let name = format!("memtrial-{pid}");
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()) {
            if path.file_name().is_some_and(|found| *found == *name) {
                found.push(path.clone());
            }
            folders.push(path);
        }
    }
    found
}

/// What the kernel says of a process.
fn of(pid: i32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

#[test]
fn a_group_ends_what_takes_more_than_it_may() {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, "1 1000");
    let report = small.serving(&format!("--limit 48m {FAR_TOO_MUCH} --for 60s")).run().stress_report();
    if !is_of_a_group(&report) {
        return;
    }
    assert_eq!(report.verdict, Verdict::Died, "{}", pretty(&report));
    let limit = limit(&report);
    assert!(limit.met > 0 && limit.killed > 0 && limit.bytes == 48 << 20, "{}", pretty(&report));
    assert!(!limit.sentence.is_empty(), "{}", pretty(&report));
    let end = loaded(&report).end.as_ref().unwrap_or_else(|| panic!("{}", pretty(&report)));
    assert!(end.how.contains("killed by the kernel"), "{}", pretty(&report));
    assert_eq!(groups(loaded(&report).pid), Vec::<PathBuf>::new());
}

#[test]
fn a_group_that_is_large_enough_is_not_met_and_is_left_again() {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, "1 1000");
    let mut daemon = small.daemon();
    let (pid, home) = (daemon.pid(), of(daemon.pid(), "cgroup"));
    let before = threads(pid);
    let options = "--limit 64m --min 4k --max 16k --total 8m --rate 2000/s --for 3s";
    let running = small.stress.on(pid, options).start();
    let moved = wait_for("the target is limited, or left alone", || {
        let is_loaded = threads(pid).len() >= before.len() + 3;
        let moved = of(pid, "cgroup") != home;
        (moved || is_loaded).then_some(moved)
    });
    let report = running.wait().stress_verdict(Verdict::Held);
    assert_eq!((limit(&report).met, limit(&report).killed), (0, 0), "{}", pretty(&report));
    assert_eq!(loaded(&report).errors, 0, "{}", pretty(&report));
    assert_eq!(is_of_a_group(&report), moved, "{}", pretty(&report));
    assert_eq!(of(pid, "cgroup"), home);
    assert_eq!(groups(pid), Vec::<PathBuf>::new());
    assert!(daemon.is_alive(), "{}", daemon.said());
}

#[test]
fn a_killed_memtrial_leaves_no_limit_behind() {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, "1 1000");
    let mut daemon = small.daemon();
    let pid = daemon.pid();
    let (home, limits, before) = (of(pid, "cgroup"), of(pid, "limits"), threads(pid));
    let running = small.stress.on(pid, "--limit 64m --total 8m --for 1000s").start();
    // The agent's two threads, and that of a test.
    wait_for("load", || (threads(pid).len() >= before.len() + 3).then_some(()));
    assert!(of(pid, "cgroup") != home || of(pid, "limits") != limits, "it is not limited");
    signal(running.pid(), libc::SIGKILL);
    wait_for("the target is in its group again", || (of(pid, "cgroup") == home).then_some(()));
    wait_for("the group is removed", || groups(pid).is_empty().then_some(()));
    wait_for("limits as before", || (of(pid, "limits") == limits).then_some(()));
    wait_for_threads(pid, &before);
    let _ = running.wait();
    assert!(daemon.is_alive(), "{}", daemon.said());
    let _ = answer(&small.stress.bench.folder(), &small.request("alive"));
}

/// A place in which somebody without rights can run memtrial.
struct Unprivileged {
    bench: memtrial_tests::harness::workshop::Bench,
    memtrial: PathBuf,
    runtime: PathBuf,
}

impl Unprivileged {
    fn new() -> Unprivileged {
        let bench = open_bench();
        let (memtrial, runtime) = (bench.beside("memtrial"), bench.beside("runtime"));
        copy_program(&built().executable, &memtrial);
        fs::create_dir(&runtime).expect("a new folder is writable");
        if is_root() {
            chown(&runtime, Some(NOBODY), Some(NOBODY)).expect("it is ours");
        }
        Unprivileged { bench, memtrial, runtime }
    }

    /// The target, where he can reach it.
    fn copy(&self, program: &Path) -> PathBuf {
        let copy = self.bench.beside("target");
        copy_program(program, &copy);
        copy
    }

    fn stress(&self, options: &str) -> Memtrial {
        let line = format!(
            "{}{} stress -q --json --output {} {options}",
            unprivileged(),
            self.memtrial.display(),
            self.bench.beside("results").display()
        );
        Memtrial::by_shell(&self.bench.folder(), &line).variable("XDG_RUNTIME_DIR", &self.runtime)
    }
}

#[test]
fn without_rights_the_address_space_is_limited() {
    for (good, verdict) in [(false, Verdict::Died), (true, Verdict::Held)] {
        let (workshop, place) = (Workshop::new(), Unprivileged::new());
        let program = place.copy(&named("unchecked_malloc").program(&workshop, good));
        // One that dies is not waited for to the end.
        let time = if good { 4 } else { 60 };
        let options = format!("--limit 24m {FAR_TOO_MUCH} --for {time}s -- {}", program.display());
        let report = place.stress(&options).run().stress_report();
        if is_of_a_group(&report) {
            eprintln!("this user has a right to control groups");
            return;
        }
        assert_eq!(report.verdict, verdict, "{}", pretty(&report));
        assert!(limit(&report).killed == 0 && !limit(&report).sentence.is_empty(), "{}", pretty(&report));
        let loaded = loaded(&report);
        // One that dies may do so before anything is counted.
        assert!(!good || (limit(&report).met > 0 && loaded.errors > 0), "{}", pretty(&report));
        assert!(loaded.peak.live < 32 << 20, "{}", pretty(&report));
        let end = loaded.end.as_ref().map(|end| end.how.contains("SIGSEGV"));
        assert_eq!(end, if good { None } else { Some(true) }, "{}", pretty(&report));
    }
}

#[test]
fn the_address_space_of_a_running_process_is_limited_for_the_time_of_the_load() {
    let (workshop, place) = (Workshop::new(), Unprivileged::new());
    let program = place.copy(&named("unchecked_malloc").program(&workshop, true));
    let mut daemon =
        Daemon::start(&place.bench.folder(), &format!("{}{}", unprivileged(), program.display()));
    daemon = daemon.ready("test -S socket");
    let limits = of(daemon.pid(), "limits");
    let options = format!("--limit 24m {FAR_TOO_MUCH} --for 3s --pid {}", daemon.pid());
    let report = place.stress(&options).run().stress_verdict(Verdict::Held);
    if !is_of_a_group(&report) {
        assert!(limit(&report).met > 0 && loaded(&report).errors > 0, "{}", pretty(&report));
    }
    assert_eq!(of(daemon.pid(), "limits"), limits);
    assert!(daemon.is_alive(), "{}", daemon.said());
}

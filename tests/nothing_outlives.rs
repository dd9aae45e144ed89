//! However memtrial ends, nothing that it has started outlives it: no process, and no scratch folder.

use memtrial_tests::harness::memtrial::{Memtrial, Running};
use memtrial_tests::harness::processes::{Mark, Process, scratch_folders, signal, wait_for};
use memtrial_tests::harness::targets::named;
use memtrial_tests::harness::workshop::{Bench, Workshop};

/// Processes of the target when it hangs: itself, the one in a session of its own, and the orphan.
const FAMILY: usize = 3;

/// A trial whose target hangs, with all the family it has started.
struct Trial {
    running: Running,
    mark: Mark,
    _bench: Bench,
    _workshop: Workshop,
}

impl Trial {
    /// Starts it and waits until the target hangs.
    fn begin(name: &str, mode: &str) -> Trial {
        let (bench, workshop) = (Bench::new(), Workshop::new());
        let program = workshop.program(&named("hung_family"));
        let mark = Mark::new(&format!("{name}-{mode}"));
        let options = ["--mode", mode, "--timeout", "3000", "--"];
        let memtrial =
            Memtrial::new(&bench.folder(), "oom -q --json").arguments(options).arguments([program]);
        let running = memtrial.variable("MARK", mark.word()).start();
        wait_for("the target hangs", || hangs(&mark).then_some(()));
        assert!(!scratch_folders(running.pid()).is_empty(), "it has a scratch folder");
        Trial { running, mark, _bench: bench, _workshop: workshop }
    }

    fn worker(&self) -> i32 {
        self.mark.worker(self.main())
    }

    fn main(&self) -> i32 {
        self.running.pid()
    }

    /// Waits until nothing is left; returns the exit status.
    fn end(self) -> i32 {
        let main = self.main();
        // Its streams end when nobody holds them any more.
        let status = self.running.wait().status;
        wait_for("no process is left", || self.mark.processes().is_empty().then_some(()));
        wait_for("no scratch folder is left", || scratch_folders(main).is_empty().then_some(()));
        status
    }
}

/// The processes of the target, all of one program.
fn family(mark: &Mark) -> Vec<Process> {
    mark.processes().into_iter().filter(|process| process.name.starts_with("hung_family")).collect()
}

/// Whether all of the family are there, and who has made the orphan is gone: of those that are left, only one has its
/// parent among them.
fn hangs(mark: &Mark) -> bool {
    let family = family(mark);
    let children = family.iter().filter(|one| family.iter().any(|other| other.pid == one.parent));
    family.len() == FAMILY && children.count() == 1
}

/// Reruns, and snapshots as far as they go: the family is started after the failure, which a snapshot may not do.
const MODES: [&str; 2] = ["rerun", "auto"];

#[test]
fn nothing_outlives_a_main_process_that_is_killed() {
    for mode in MODES {
        let trial = Trial::begin("main", mode);
        signal(trial.main(), libc::SIGKILL);
        assert_eq!(trial.end(), 128 + libc::SIGKILL);
    }
}

#[test]
fn nothing_outlives_a_worker_that_is_killed() {
    for mode in MODES {
        let trial = Trial::begin("worker", mode);
        signal(trial.worker(), libc::SIGKILL);
        assert_eq!(trial.end(), 128 + libc::SIGKILL);
    }
}

#[test]
fn nothing_outlives_a_trial_that_is_asked_to_end() {
    for signal_number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let trial = Trial::begin(&format!("asked-{signal_number}"), "rerun");
        signal(trial.main(), signal_number);
        assert_eq!(trial.end(), 130);
    }
}

#[test]
fn nothing_outlives_a_debugger_run_that_is_killed() {
    let (bench, workshop) = (Bench::new(), Workshop::new());
    let program = workshop.program(&named("hung_family"));
    let report =
        Memtrial::new(&bench.folder(), "oom -q --json --timeout 5 --").arguments([&program]).run().report();
    let at = report.findings.first().map(|finding| finding.sites[0].clone()).expect("it hangs");
    let mark = Mark::new("debugger");
    let memtrial = Memtrial::new(&bench.folder(), "oom --under gdb --at").arguments([at.as_str(), "--"]);
    let running = memtrial.arguments([&program]).variable("MARK", mark.word()).start();
    let main = running.pid();
    wait_for("the target hangs", || hangs(&mark).then_some(()));
    signal(main, libc::SIGKILL);
    let _ = running.wait();
    wait_for("no process is left", || mark.processes().is_empty().then_some(()));
    wait_for("no scratch folder is left", || scratch_folders(main).is_empty().then_some(()));
}

#[test]
fn the_scratch_folder_of_a_trial_that_was_killed_whole_goes_with_the_next() {
    let trial = Trial::begin("whole", "rerun");
    let (main, worker, family) = (trial.main(), trial.worker(), family(&trial.mark));
    // Stopped first, so that neither can clean up after the other.
    for pid in [main, worker] {
        signal(pid, libc::SIGSTOP);
    }
    for pid in [worker, main] {
        signal(pid, libc::SIGKILL);
    }
    wait_for("main and worker are gone", || {
        let left = trial.mark.processes();
        left.iter().all(|process| process.pid != main && process.pid != worker).then_some(())
    });
    // What the target itself has started nobody can end any more; these were ours to start.
    for process in family {
        signal(process.pid, libc::SIGKILL);
    }
    wait_for("no process is left", || trial.mark.processes().is_empty().then_some(()));
    let bench = Bench::new();
    let _ = Memtrial::new(&bench.folder(), "oom -q -- git --version").run();
    wait_for("no scratch folder is left", || scratch_folders(main).is_empty().then_some(()));
    assert_eq!(trial.end(), 128 + libc::SIGKILL);
}

//! What is printed and kept of a run, and what is done with it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use memtrial_report::model::Report;
use memtrial_report::store::newest;
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::outcomes::{kept, verdicts};
use memtrial_tests::harness::processes::{Mark, signal, wait_for};
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::workshop::Bench;

use super::{try_in, with_careful, with_target};

#[test]
fn a_stored_run_is_printed_again_and_its_status_comes_again() {
    let bench = with_target("null_deref");
    let printed = try_in(&bench, "oom -q --output results -- ./null_deref").with_status(1);
    let shown = try_in(&bench, "show results").with_status(1);
    assert_eq!(printed.stdout, shown.stdout);
    let json = try_in(&bench, "show results --format json").with_status(1);
    assert_eq!(json.report().findings.len(), 1);
    let careful = with_careful();
    let _ = try_in(&careful, "oom -q -- ./careful").with_status(0);
    let _ = try_in(&careful, "show").with_status(0);
}

#[test]
fn a_finding_says_where_it_is_and_how_to_get_it_again() {
    let bench = with_target("null_deref");
    let ended = try_in(&bench, "oom -q -- ./null_deref").with_status(1);
    for text in ["crashed", "SIGSEGV", "null_deref.c:", "memtrial oom --at "] {
        assert!(ended.stdout.contains(text), "{text}\n{}", ended.told());
    }
}

#[test]
fn the_results_before_are_kept_as_old() {
    let bench = with_careful();
    for _ in 0..2 {
        let _ = try_in(&bench, "oom -q -- ./careful").with_status(0);
    }
    for folder in ["memtrial.out", "memtrial.out.old"] {
        assert_eq!(kept(&bench.folder().join(folder)).len(), 3, "{folder}");
    }
}

#[test]
fn the_target_does_not_see_the_results_grow() {
    let bench = Bench::new();
    bench.write("own", "");
    let ended =
        Memtrial::new(&bench.folder(), "oom -q -- sh -c").arguments(["find . -type f >&2; exit 3"]).run();
    assert!(ended.stderr.contains("./own") && !ended.stderr.contains(".jsonl"), "{}", ended.told());
}

#[test]
fn captured_output_is_kept_for_each_finding() {
    let bench = with_target("silent_complains");
    let report = try_in(&bench, "oom -q --json -o results -- ./silent_complains").with_status(1).report();
    for finding in &report.findings {
        let folder = bench.folder().join("results").join(finding.folder.as_ref().expect("it says something"));
        let said = fs::read_to_string(folder.join("stderr")).expect("it is kept");
        assert!(said.contains("cannot show"), "{said}");
    }
}

#[test]
fn the_targets_streams_stay_its_own() {
    let ended =
        Memtrial::new(&Bench::new().folder(), "oom -q --json -- cat").stdin(b"passed through\n").run();
    assert!(!ended.stdout.contains("passed through"), "{}", ended.told());
    assert_eq!(ended.stderr, "", "{}", ended.told());
}

/// A program with one unchecked allocation, and the name of that allocation.
fn crashing() -> (Bench, String) {
    let bench = with_target("null_deref");
    let report = try_in(&bench, "oom -q --json -- ./null_deref").report();
    let at = report.findings.first().map(|finding| finding.sites[0].clone());
    (bench, at.expect("it crashes"))
}

#[test]
fn one_failure_is_made_under_gdb() {
    let _ = installed("gdb");
    let (bench, at) = crashing();
    let ended = try_in(&bench, &format!("oom --under gdb --at {at} -- ./null_deref")).with_status(0);
    assert!(ended.stdout.contains("SIGSEGV") && ended.stdout.contains("null_deref.c:"), "{}", ended.told());
}

#[test]
fn one_failure_is_made_under_valgrind() {
    let _ = installed("valgrind");
    let (bench, at) = crashing();
    let ended = try_in(&bench, &format!("oom --under valgrind --at {at} -- ./null_deref")).with_status(0);
    ended.saying(&["Invalid write", "null_deref.c:"]);
}

#[test]
fn one_failure_is_made_under_gdb_by_whatever_path_the_program_is_named() {
    let _ = installed("gdb");
    let (bench, at) = crashing();
    std::os::unix::fs::symlink("null_deref", bench.folder().join("link")).expect("the folder is writable");
    for path in ["../work/null_deref", "./link"] {
        let ended = try_in(&bench, &format!("oom --under gdb --at {at} -- {path}")).with_status(0);
        assert!(ended.stdout.contains("SIGSEGV"), "{}", ended.told());
    }
}

#[test]
fn a_debugger_needs_one_failure() {
    try_in(&Bench::new(), "oom --under gdb -- true").with_status(2).saying(&["--at"]);
}

/// A trial that takes a while, of which a part is known: a test can step in.
fn long_trial(bench: &Bench, mark: &Mark) -> Memtrial {
    let line = "oom -q --json --every --mode rerun --sample 250,seed=3 -o results -- jq -n [range(200)|{n:.}]|length";
    Memtrial::new(&bench.folder(), line).variable("MARK", mark.word())
}

/// Waits until so many outcomes are kept.
fn wait_for_outcomes(folder: &Path, many: usize) {
    let lines =
        || fs::read_to_string(newest(folder).join("outcomes.jsonl")).unwrap_or_default().lines().count();
    wait_for("outcomes", || (lines() >= many).then_some(()));
}

/// What an undisturbed run of [`long_trial`] comes to.
static UNDISTURBED: LazyLock<Report> =
    LazyLock::new(|| long_trial(&Bench::new(), &Mark::new("undisturbed")).run().report());

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let bench = Bench::new();
    let mark = Mark::new("killed");
    let running = long_trial(&bench, &mark).start();
    let results = bench.folder().join("results");
    wait_for_outcomes(&results, 20);
    signal(mark.worker(running.pid()), libc::SIGKILL);
    let killed = running.wait();
    assert_ne!(killed.status, 0, "{}", killed.told());
    let known = kept(&newest(&results));
    assert!(known.len() < 250, "it was killed in the middle");
    let report = try_in(&bench, "oom -q --json --resume -o results").report();
    assert_eq!(report.verdicts, UNDISTURBED.verdicts);
    assert_eq!(report.coverage.tested, UNDISTURBED.coverage.tested);
    assert!(known.iter().all(|(allocation, verdict)| kept(&results).get(allocation) == Some(verdict)));
}

#[test]
fn an_interrupted_run_reports_what_it_knows() {
    let bench = Bench::new();
    let mark = Mark::new("interrupted");
    let running = long_trial(&bench, &mark).start();
    wait_for_outcomes(&bench.folder().join("results"), 20);
    signal(running.pid(), libc::SIGINT);
    let report = running.wait().with_status(130).report();
    assert_eq!(report.coverage.stopped.as_deref(), Some("interrupted"));
    assert!((20..250).contains(&report.coverage.tested), "{:?}", report.coverage);
    assert!(!verdicts(&report).is_empty());
}

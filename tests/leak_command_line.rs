//! The command line of `memtrial leak`: what is refused and why, what goes wrong on the way, and what is kept of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use memtrial_report::leak::{Reason, Report, Verdict};
use memtrial_report::store::newest;
use memtrial_tests::harness::daemon::{Daemon, lives, shell, wait_until_gone};
use memtrial_tests::harness::executable::built;
use memtrial_tests::harness::leak_targets::named;
use memtrial_tests::harness::leaks::{Trial, pretty, process, rounds_kept, wait_for_rounds};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged::{is_root, open_bench, unprivileged};
use memtrial_tests::harness::processes::{Mark, scratch_folders, signal, wait_for};
use memtrial_tests::harness::workshop::{Bench, Workshop, compile_c, copy_program};
use serde_json::Value;

/// Rounds of figures that nobody judges.
const SOME: &str = "--locate never --allow-inconclusive";

/// A daemon that keeps its size.
fn quiet() -> (Trial, Workshop) {
    let workshop = Workshop::new();
    (Trial::of(&workshop, &named("kept_blocks"), true), workshop)
}

/// `memtrial leak` with these options in a folder of its own.
fn try_line(line: &str) -> Ended {
    Memtrial::new(&Bench::new().folder(), &format!("leak {line}")).run()
}

/// One clear error.
#[track_caller]
fn refused(ended: &Ended, status: i32, texts: &[&str]) {
    ended.clone().with_status(status).saying(&["error: "]).saying(texts);
    assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.told());
}

#[test]
fn no_target_and_two_targets_are_wrong_usage() {
    try_line("--rounds 5").with_status(2).saying(&["--pid"]);
    try_line("--pid 1 --name init").with_status(2).saying(&["--name"]);
    try_line("--pid 1 -- true").with_status(2).saying(&["--pid"]);
    try_line("--serve true --name init").with_status(2).saying(&["--serve"]);
}

#[test]
fn values_that_are_none_are_wrong_usage() {
    for (options, named) in [
        ("--pid 0", "--pid"),
        ("--pid one", "--pid"),
        ("--pid -5", "-5"),
        ("--pid 1 --rounds 0", "--rounds"),
        ("--pid 1 --rounds many", "--rounds"),
        ("--pid 1 --locate sometimes", "--locate"),
        ("--pid 1 --on-failure hope", "--on-failure"),
        ("--pid 1 --tolerate 1x", "--tolerate"),
        ("--pid 1 --sample 0", "--sample"),
        ("--pid 1 --interval -1", "-1"),
        ("--pid 1 --interval 0", "--interval"),
        ("--pid 1 --timeout 0", "--timeout"),
        ("--pid 1 --max-time never", "--max-time"),
        ("--pid 1 --no-such-option", "--no-such-option"),
        ("--pid 1 --undo true", "--do"),
        ("--pid 1 --ready true", "--serve"),
    ] {
        try_line(options).with_status(2).saying(&[named]);
    }
}

#[test]
fn a_process_that_is_not_there_is_named() {
    // More than a pid can be (proc(5): pid_max is at most 2^22).
    refused(&try_line("--pid 4194305 --do true"), 3, &["4194305"]);
    refused(&try_line("--name nobody-has-it --do true"), 3, &["nobody-has-it"]);
}

#[test]
fn a_folder_to_compare_with_that_holds_nothing_is_wrong_usage() {
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    let ended = trial.on(daemon.pid(), "--rounds 5 --against nowhere").run();
    refused(&ended, 2, &["nowhere"]);
    assert_eq!(trial.rounds_done(), 0, "it is refused before the first round");
    let ended = trial.on(daemon.pid(), "--rounds 5 --against .").run();
    refused(&ended, 2, &["."]);
}

#[test]
fn a_folder_without_results_cant_be_gone_on_with_or_shown() {
    refused(&try_line("--resume --output nowhere"), 2, &["nowhere"]);
    refused(&Memtrial::new(&Bench::new().folder(), "show nowhere").run(), 2, &["nowhere"]);
}

#[test]
fn results_that_cant_be_written_are_refused_before_the_first_round() {
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    trial.bench.write("file", "");
    let memtrial = Memtrial::new(&trial.bench.folder(), "leak -q --rounds 5 --output file/below --pid");
    let memtrial = memtrial.arguments([daemon.pid().to_string(), "--do".to_owned(), trial.request("work")]);
    refused(&memtrial.run(), 2, &["file"]);
    assert_eq!(trial.rounds_done(), 0);
}

#[test]
fn a_process_of_another_user_is_not_looked_into() {
    if !is_root() {
        // Then those of root are another user's.
        refused(&try_line("--pid 1 --do true"), 4, &["another user"]);
        return;
    }
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    let bench = open_bench();
    let program = bench.folder().join("memtrial");
    copy_program(&built().executable, &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let line = format!("{}./memtrial leak -q --rounds 5 --do true --pid {}", unprivileged(), daemon.pid());
    refused(
        &Memtrial::by_shell(&bench.folder(), &line).run(),
        4,
        &["another user", &daemon.pid().to_string()],
    );
}

#[test]
fn an_action_that_fails_from_the_first_round_is_quoted() {
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    let memtrial = trial.bare("--rounds 5").arguments(["--pid".to_owned(), daemon.pid().to_string()]);
    for (action, texts) in [
        ("echo to stdout; echo what is wrong >&2; exit 7", ["status 7", "what is wrong"]),
        ("no-such-program", ["no-such-program", "127"]),
        ("kill -TERM $$", ["SIGTERM", "kill"]),
    ] {
        refused(&memtrial.clone().arguments(["--do", action]).run(), 3, &texts);
    }
    let ended = memtrial.arguments(["--do", "true", "--undo", "echo no way back; exit 5"]).run();
    refused(&ended, 3, &["status 5", "no way back"]);
}

#[test]
fn a_daemon_that_does_not_come_up_is_quoted() {
    let (mark, bench) = (Mark::new("comes-up"), Bench::new());
    let serve = |options: &[&str]| {
        let memtrial = Memtrial::new(&bench.folder(), "leak -q --do true --rounds 5");
        memtrial.arguments(options).variable("MARK", mark.word()).run()
    };
    refused(&serve(&["--serve", "echo sorry >&2; exit 9", "--ready", "false"]), 3, &["status 9", "sorry"]);
    refused(&serve(&["--serve", "sleep 1000", "--ready", "false", "--timeout", "1"]), 3, &["ready"]);
    let port = memtrial_tests::harness::daemon::free_port().to_string();
    refused(&serve(&["--serve", "sleep 1000", "--ready", &port, "--timeout", "1"]), 3, &["ready", &port]);
    wait_for("no process is left", || mark.processes().is_empty().then_some(()));
}

#[test]
fn an_action_that_hangs_is_ended_and_counted_and_the_run_goes_on() {
    let workshop = Workshop::new();
    let trial = Trial::of(&workshop, &named("hangs"), false);
    let mark = Mark::new("hangs");
    let options = format!("--rounds 22 --timeout 5 --on-failure continue {SOME}");
    let report = trial.serving(&options).variable("MARK", mark.word()).run().leak_report();
    assert_eq!(report.rounds, 22, "{}", pretty(&report));
    let failed: Vec<u32> = report.failed_rounds.iter().map(|failed| failed.round).collect();
    assert_eq!(failed, [20, 21, 22], "{}", pretty(&report));
    assert!(report.failed_rounds.iter().all(|failed| failed.why.contains("5 s")), "{}", pretty(&report));
    wait_for("no process is left", || mark.processes().is_empty().then_some(()));
}

#[test]
fn an_action_that_fails_ends_the_run_where_that_is_asked() {
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    // Fails from the eighth time on.
    let action = format!("{} && echo >> times && test $(wc -l < times) -lt 8", trial.request("work"));
    let memtrial = |on_failure: &str| {
        let _ = fs::remove_file(trial.bench.folder().join("times"));
        let options = format!("--rounds 20 --on-failure {on_failure} {SOME} --pid {}", daemon.pid());
        trial.bare(&options).arguments(["--do", &action]).run()
    };
    let stopped = memtrial("stop");
    let report = stopped.leak_report();
    let failed: Vec<u32> = report.failed_rounds.iter().map(|failed| failed.round).collect();
    assert_eq!((failed, report.verdict), (vec![8], Verdict::Inconclusive), "{}", pretty(&report));
    assert!(report.rounds <= 8, "{}", pretty(&report));
    assert!(report.failed_rounds[0].why.contains("status 1"), "{}", pretty(&report));
    let report = memtrial("continue").leak_report();
    assert_eq!((report.failed_rounds.len(), report.rounds), (13, 20), "{}", pretty(&report));
}

#[test]
fn a_time_limit_ends_a_run_with_what_is_known() {
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    let begun = Instant::now();
    let ended = trial.on(daemon.pid(), "--locate never --settle 0.5 --max-time 10s").run();
    let took = begun.elapsed().as_secs();
    let report = ended.with_status(1).leak_report();
    assert!(report.rounds >= 1 && report.rounds <= 21 && took >= 9, "{took} s\n{}", pretty(&report));
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", pretty(&report));
    assert!(report.warnings.iter().any(|warning| warning.contains("--max-time")), "{}", pretty(&report));
}

#[test]
fn an_interrupted_run_reports_what_it_knows() {
    for number in [libc::SIGINT, libc::SIGTERM] {
        let (trial, _workshop) = quiet();
        let running = trial.serving("--locate never").start();
        wait_for_rounds(&trial.results(), 10);
        signal(running.pid(), number);
        let report = running.wait().with_status(130).leak_report();
        assert!((9..480).contains(&report.rounds), "{}", pretty(&report));
        let rounds = report.rounds as usize;
        assert!(process(&report, "kept_blocks_good").samples.len() >= rounds, "{}", pretty(&report));
        assert!(!trial.answers(), "the daemon is gone");
    }
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let (trial, _workshop) = quiet();
    let mut daemon = trial.daemon();
    let running = trial.on(daemon.pid(), &format!("--rounds 50 {SOME}")).start();
    wait_for_rounds(&trial.results(), 15);
    let known = kill(&trial, running);
    assert!((15..50).contains(&known.len()), "{known:?}");
    assert!(daemon.is_alive(), "what was there before lives on");
    let ended = trial.bare("--resume").run();
    let report = ended.leak_report();
    assert_eq!(report.rounds, 50, "{}", ended.told());
    assert_eq!(rounds_kept(&trial.results()), (0..=50).collect::<Vec<u64>>());
    let samples = &process(&report, "kept_blocks_good").samples;
    assert!(samples.iter().map(|sample| sample.round).eq(0..=50), "{}", pretty(&report));
    // A round that was under way when it was killed is made again.
    assert!((50..=51).contains(&trial.rounds_done()), "{}", trial.rounds_done());
}

#[test]
fn a_run_whose_target_has_ended_since_is_not_gone_on_with_and_stays() {
    let (trial, _workshop) = quiet();
    let mut daemon = trial.daemon();
    let pid = daemon.pid();
    let running = trial.on(pid, &format!("--rounds 50 {SOME}")).start();
    wait_for_rounds(&trial.results(), 15);
    let known = kill(&trial, running);
    daemon.end();
    refused(&trial.bare("--resume").run(), 3, &[&pid.to_string()]);
    assert_eq!(rounds_kept(&trial.results()), known);
}

/// Kills memtrial; returns the rounds that are kept.
fn kill(trial: &Trial, running: memtrial_tests::harness::memtrial::Running) -> Vec<u64> {
    signal(running.pid(), libc::SIGKILL);
    let main = running.pid();
    let _ = running.wait().with_status(128 + libc::SIGKILL);
    wait_for("no scratch folder is left", || scratch_folders(main).is_empty().then_some(()));
    rounds_kept(&trial.results())
}

#[test]
fn nothing_outlives_memtrial_but_what_was_there_before() {
    // While figures are taken, and while blocks are followed.
    for options in ["--locate never", "--rounds 3 --locate always --locate-rounds 2000"] {
        let (trial, _workshop) = quiet();
        let mark = Mark::new("outlives");
        let running = trial.serving(options).variable("MARK", mark.word()).start();
        wait_for("ten rounds", || (trial.answers() && trial.rounds_done() > 10).then_some(()));
        let _ = kill(&trial, running);
        wait_for("no process is left", || mark.processes().is_empty().then_some(()));
        assert!(!trial.answers(), "the daemon is gone");

        let mut daemon = trial.daemon();
        let running = trial.on(daemon.pid(), options).start();
        wait_for("ten rounds", || (trial.rounds_done() > 10).then_some(()));
        let _ = kill(&trial, running);
        trial.works_on();
        assert!(daemon.is_alive());
        // It can be looked into again.
        let options = "--rounds 3 --locate always --locate-rounds 10 --allow-inconclusive";
        let report = trial.on(daemon.pid(), options).run().leak_report();
        assert_eq!(report.located.len(), 1, "{}", pretty(&report));
        trial.works_on();
    }
}

/// Says whenever calls of `malloc` go to another function than before.
const WHERE_MALLOC_LEADS: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline)) static void *leads(void) { __asm__ volatile("" ::: "memory"); return (void *)malloc; }
int main(void)
{
    void *first = leads(), *last = 0;
    for (;; usleep(1000)) {
        void *now = leads();
        if (now != last) printf("%s\n", now == first ? "home" : "elsewhere"), fflush(stdout);
        last = now;
    }
}
"#;

#[test]
fn calls_lead_home_again_when_the_process_that_works_is_killed() {
    let bench = Bench::new();
    compile_c(WHERE_MALLOC_LEADS, &bench.folder().join("target"), &["-fPIE", "-pie"]);
    let mut daemon = Daemon::start(&bench.folder(), "./target");
    let said = |daemon: &Daemon, words: &[&str]| daemon.said().split_whitespace().eq(words.iter().copied());
    wait_for("it runs", || said(&daemon, &["home"]).then_some(()));
    let mark = Mark::new("leads-home");
    let line = "leak -q --interval 0.05 --rounds 1 --locate always --locate-rounds 10000 --pid";
    let memtrial = Memtrial::new(&bench.folder(), line).arguments([daemon.pid().to_string()]);
    let running = memtrial.variable("MARK", mark.word()).start();
    wait_for("its calls are redirected", || said(&daemon, &["home", "elsewhere"]).then_some(()));
    signal(mark.worker(running.pid()), libc::SIGKILL);
    let _ = running.wait().with_status(128 + libc::SIGKILL);
    wait_for("its calls lead home", || said(&daemon, &["home", "elsewhere", "home"]).then_some(()));
    assert!(daemon.is_alive());
}

#[test]
fn a_daemon_goes_on_when_memtrial_is_interrupted_in_its_midst() {
    let (trial, _workshop) = quiet();
    let mut daemon = trial.daemon();
    let options = "--rounds 3 --locate always --locate-rounds 2000";
    let running = trial.on(daemon.pid(), options).start();
    wait_for("ten rounds", || (trial.rounds_done() > 10).then_some(()));
    signal(running.pid(), libc::SIGINT);
    let report = running.wait().with_status(130).leak_report();
    assert!(daemon.is_alive(), "{}", pretty(&report));
    trial.works_on();
    assert!(lives(daemon.pid()));
}

#[test]
fn a_full_disk_is_one_clear_error_and_what_was_kept_stays() {
    let (trial, _workshop) = quiet();
    let daemon = trial.daemon();
    // A small file system that nobody else sees, where that may be made.
    let inside = |line: &str| {
        let mount = "mkdir full && mount -t tmpfs -o size=64k none full";
        let new = if is_root() { "unshare -m" } else { "unshare -rm" };
        format!("{new} sh -c '{mount} || exit 99; {line}'")
    };
    if shell(&trial.bench.beside("."), &inside("exit 0")).status.code() != Some(0) {
        eprintln!("passed over: no file system may be mounted here");
        return;
    }
    let options = format!("-q --json --rounds 2000 {SOME} --output full/results --pid {}", daemon.pid());
    let line = format!("memtrial leak {options} --do \"{}\"", trial.request("work"));
    let line = inside(&format!("{line}; status=$?; cp -r full kept; exit $status"));
    let ended = Memtrial::by_shell(&trial.bench.folder(), &line).run();
    assert!((1..=4).contains(&ended.status), "{}", ended.told());
    let _ = ended.saying(&["No space left on device", "full/results"]);
    let kept = rounds_kept(&trial.bench.folder().join("kept/results"));
    assert!(kept.len() > 10 && kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{kept:?}");
    trial.works_on();
}

#[test]
fn what_is_printed_is_what_is_kept() {
    let (trial, _workshop) = quiet();
    let ended = trial.serving(&format!("--rounds 12 {SOME}")).run();
    let report = ended.leak_report();
    let results = trial.results();
    assert_eq!(newest(&results), results, "it is complete");
    let shown = Memtrial::new(&trial.bench.folder(), "show --format json").arguments([&results]).run();
    let again: Report =
        serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}\n{}", shown.told()));
    assert_eq!(again, report);
    let text = Memtrial::new(&trial.bench.folder(), "show").arguments([&results]).run();
    assert!(text.stdout.contains(&report.sentence), "{}", text.told());
    assert_eq!((shown.status, text.status), (ended.status, ended.status));
    assert_eq!(rounds_kept(&results), (0..=12).collect::<Vec<u64>>());
    let first = &process(&report, "kept_blocks_good").judgements[0];
    assert_eq!(first.reason, Some(Reason::TooFewRounds), "{}", pretty(&report));
    // The command line is kept as it was given.
    assert!(report.command.iter().any(|word| word == "--serve"), "{:?}", report.command);
}

#[test]
fn other_reports_are_written_where_they_are_asked_for() {
    let workshop = Workshop::new();
    let trial = Trial::of(&workshop, &named("kept_blocks").run_with("512"), false);
    let files = ["junit.xml", "sarif.json", "report.html"].map(|name| trial.bench.beside(name));
    let [junit, sarif, html] = &files;
    let memtrial =
        trial.serving("--rounds 40 --locate always").arguments(["--junit".as_ref(), junit.as_os_str()]);
    let memtrial = memtrial.arguments(["--sarif".as_ref(), sarif.as_os_str()]);
    let ended = memtrial.arguments(["--html".as_ref(), html.as_os_str()]).run().with_status(1);
    let [junit, sarif, html] = files
        .each_ref()
        .map(|file| fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}\n{}", ended.told())));
    assert!(junit.contains("<failure") && junit.contains("remember"), "{junit}");
    let sarif: Value = serde_json::from_str(&sarif).expect("SARIF is JSON");
    assert_eq!(sarif["version"], "2.1.0");
    assert!(sarif["runs"][0]["results"].as_array().is_some_and(|results| !results.is_empty()), "{sarif}");
    assert!(html.contains("remember") && !html.contains("src=\"http"), "it needs nothing from elsewhere");
}

#[test]
fn the_streams_of_a_daemon_are_not_taken_for_the_report() {
    let (trial, _workshop) = quiet();
    let serve = format!("echo noise; echo more noise >&2; exec {}", trial.serve);
    let memtrial = trial.acting(&format!("--rounds 5 {SOME}")).arguments(["--serve", &serve]);
    let report = memtrial.arguments(["--ready", &trial.request("alive")]).run().leak_report();
    assert_eq!((report.rounds, report.exit_status), (5, 0), "{}", pretty(&report));
}

#[test]
fn a_daemon_that_was_ended_is_gone_with_its_tree() {
    let (trial, _workshop) = quiet();
    let mark = Mark::new("tree");
    // One that goes into a session of its own, and an orphan.
    let serve = format!("setsid sleep 1000 & (sleep 1000 &) ; exec {}", trial.serve);
    let memtrial = trial.acting(&format!("--rounds 5 {SOME}")).arguments(["--serve", &serve]);
    let memtrial = memtrial.arguments(["--ready", &trial.request("alive")]).variable("MARK", mark.word());
    assert_eq!(memtrial.run().leak_report().rounds, 5);
    wait_for("no process is left", || mark.processes().is_empty().then_some(()));
}

#[test]
fn a_pid_that_another_process_has_taken_over_is_not_the_target() {
    let (trial, _workshop) = quiet();
    let mut daemon = trial.daemon();
    let pid = daemon.pid();
    let running = trial.on(pid, "--locate never --on-failure continue").start();
    wait_for_rounds(&trial.results(), 5);
    daemon.end();
    wait_until_gone(pid);
    let _second = Daemon::start(&trial.bench.folder(), &trial.serve).ready(&trial.request("alive"));
    let report = running.wait().with_status(1).leak_report();
    assert!(process(&report, "kept_blocks_good").died, "{}", pretty(&report));
    assert!(report.processes.iter().all(|process| process.pid == pid), "{}", pretty(&report));
}

#[test]
fn help_names_all_options_and_statuses() {
    let help = try_line("--help").with_status(0);
    for option in [
        "--pid",
        "--name",
        "--serve",
        "--rounds",
        "--do",
        "--undo",
        "--settle",
        "--interval",
        "--timeout",
        "--ready",
        "--on-failure",
        "--also",
        "--tolerate",
        "--against",
        "--allow-inconclusive",
        "--locate",
        "--locate-rounds",
        "--sample",
        "--ssh",
        "--here",
        "--max-time",
        "--output",
        "--json",
        "--junit",
        "--sarif",
        "--html",
        "--resume",
        "Exit status:",
    ] {
        assert!(help.stdout.contains(option), "{option}\n{}", help.told());
    }
}

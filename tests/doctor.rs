//! `memtrial doctor`: what it finds is what the trials then meet.

use memtrial_report::doctor::{Examination, Works};
use memtrial_tests::harness::executable::built;
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged::{open_bench, unprivileged};
use memtrial_tests::harness::workshop::{Bench, copy_program};

fn examination(ended: &Ended) -> Examination {
    let found: Examination = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("it printed no examination ({error})\n{}", ended.told()));
    assert_eq!(i32::from(found.exit_status), ended.status, "{}", ended.told());
    found
}

fn works(found: &Examination, trial: &str, need: &str) -> Works {
    let trial = found.trials.iter().find(|one| one.name == trial).expect("the trial is there");
    trial.needs.iter().find(|one| one.name == need).expect("the need is there").works
}

/// What doctor finds when it is run by this command, as a user that is not root.
fn by(command: &str) -> Examination {
    let bench = open_bench();
    let program = bench.folder().join("memtrial");
    copy_program(&built().executable, &program);
    let line = format!("{} {command} ./memtrial doctor --json", unprivileged());
    examination(&Memtrial::by_shell(&bench.folder(), &line).run().with_status(0))
}

#[test]
fn every_trial_works_where_the_tests_run() {
    let bench = Bench::new();
    let ended = Memtrial::new(&bench.folder(), "doctor --json").run().with_status(0);
    let found = examination(&ended);
    let names: Vec<&str> = found.trials.iter().map(|trial| trial.name.as_str()).collect();
    assert_eq!(names, ["oom", "leak", "stress, rpc", "trace"]);
    for (trial, need) in
        [("oom", "agent"), ("leak", "watching"), ("leak", "running processes"), ("trace", "memory events")]
    {
        assert_eq!(works(&found, trial, need), Works::Yes, "{trial}: {need}\n{}", ended.told());
    }
    for need in found.trials.iter().flat_map(|trial| &trial.needs) {
        assert!(!need.found.is_empty() && !need.without.is_empty(), "{need:?}");
        assert!(need.works != Works::Yes || need.how.is_none(), "{need:?}");
    }
}

#[test]
fn people_read_the_same_as_programs() {
    let bench = Bench::new();
    let folder = bench.folder();
    let text = Memtrial::new(&folder, "doctor").run().with_status(0);
    let found = examination(&Memtrial::new(&folder, "doctor --json").run());
    for trial in &found.trials {
        assert!(text.stdout.contains(&format!("\n{}: ", trial.name)), "{}", text.told());
        for need in &trial.needs {
            assert!(text.stdout.contains(&format!(" {} ", need.name)), "{need:?}\n{}", text.told());
        }
    }
}

#[test]
fn who_is_not_root_is_told_what_root_could() {
    let found = by("");
    assert_ne!(found.user, 0);
    assert_eq!(works(&found, "oom", "agent"), Works::Yes);
    let trace = found.trials.iter().find(|trial| trial.name == "trace").expect("the trial is there");
    assert_eq!(trace.works, Works::Part);
    let probes = trace.needs.iter().find(|need| need.name == "static probes").expect("the need is there");
    assert_eq!(probes.works, Works::No);
    // In a container, sudo is of no help.
    let first = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    assert_eq!(probes.how.as_deref(), first.then_some("sudo memtrial trace run …"));
}

/// Whether this machine has namespaces of these kinds, by the options of unshare(1), for whoever runs the tests.
fn has_namespaces(options: &str) -> bool {
    let bench = Bench::new();
    let has = Memtrial::by_shell(&bench.folder(), &format!("unshare {options} true")).run().status == 0;
    if !has {
        eprintln!("skipped: unshare {options} is not allowed here");
    }
    has
}

#[test]
fn root_of_a_namespace_is_not_taken_for_root() {
    if !has_namespaces("-r") {
        return;
    }
    let bench = Bench::new();
    let ended = Memtrial::by_shell(&bench.folder(), "unshare -r memtrial doctor --json").run();
    let found = examination(&ended.with_status(0));
    assert_eq!(found.user, 0);
    assert_eq!(works(&found, "trace", "static probes"), Works::No);
    assert_eq!(works(&found, "leak", "probes"), Works::No);
    assert!(
        found
            .trials
            .iter()
            .flat_map(|trial| &trial.needs)
            .all(|need| { !need.how.as_deref().unwrap_or_default().starts_with("sudo memtrial") })
    );
}

#[test]
fn what_is_not_installed_is_missing() {
    // A PATH without debuggers.
    let bench = Bench::new();
    let ended = Memtrial::new(&bench.folder(), "doctor --json").variable("PATH", "/nonexistent").run();
    let found = examination(&ended.with_status(0));
    for (trial, need) in [("oom", "--under gdb"), ("oom", "--under valgrind"), ("leak", "--ssh")] {
        assert_eq!(works(&found, trial, need), Works::No, "{trial}: {need}");
    }
    assert_eq!(found.trials[0].works, Works::Part);
}

#[test]
fn without_a_place_for_the_agent_nothing_works() {
    if !has_namespaces("-rm") {
        return;
    }
    let bench = Bench::new();
    // memtrial itself may lie below one of the folders, and is run from what was there before.
    let line = "unshare -rm sh -c 'exec 9<$(command -v memtrial); mount -t tmpfs -o noexec none /dev/shm && \
                mount -t tmpfs -o noexec none /tmp && /proc/self/fd/9 doctor'";
    let ended = Memtrial::by_shell(&bench.folder(), line).variable("XDG_RUNTIME_DIR", "/nonexistent").run();
    ended.with_status(4).saying(&["error: ", "/dev/shm, /tmp and $XDG_RUNTIME_DIR"]);
}

//! Each tiny target on trial: what its header expects is found, and what it excludes is not.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial, run};
use memtrial_report::model::{Policy, Report};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::outcomes::{kept, pretty, verdicts};
use memtrial_tests::harness::targets::{Target, all};
use memtrial_tests::harness::workshop::{Bench, Workshop};

/// A target that hangs is waited for, and starting a process is mostly waiting, too.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let workshop = Arc::new(Workshop::new());
    let help = Memtrial::new(&std::env::temp_dir(), "oom --help").run().stdout;
    let trials = all().into_iter().flat_map(|target| {
        // An option that memtrial does not have is awaited, and the tests that need it say so.
        let missing = target.options.iter().find(|word| {
            word.starts_with("--")
                && !help.contains(&format!("{word} "))
                && !help.contains(&format!("{word}\n"))
        });
        let kind = missing.map(|option| format!("awaits {option}")).unwrap_or_default();
        let ignored = missing.is_some();
        let test = |name: String, body: fn(&Workshop, &Target)| {
            let (workshop, target) = (Arc::clone(&workshop), target.clone());
            let body = move || -> Result<(), Failed> {
                body(&workshop, &target);
                Ok(())
            };
            Trial::test(name, body).with_kind(kind.clone()).with_ignored_flag(ignored)
        };
        let mut tests = vec![test(target.claim(), is_as_its_header_says)];
        if !target.expect.is_empty() {
            tests.push(test(
                format!("{} is judged alike by snapshots and reruns", target.name),
                is_judged_alike,
            ));
        }
        tests
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let conclusion = run(&arguments, trials.collect());
    drop(workshop);
    conclusion.exit_code()
}

/// A target on trial in a folder of its own.
fn try_it(workshop: &Workshop, target: &Target, bench: &Bench, mode: &str) -> (Ended, PathBuf) {
    let program = workshop.program(target);
    let results = bench.beside(mode);
    let mut memtrial = Memtrial::new(&bench.folder(), "oom --json -q");
    memtrial =
        memtrial.arguments(["--mode", mode, "--timeout", target.timeout(), "--output"]).arguments([&results]);
    if let Some(check) = &target.check {
        memtrial = memtrial.arguments(["--check", check]);
    }
    memtrial = memtrial.arguments(&target.options).arguments(["--"]).arguments([&program]);
    (memtrial.arguments(&target.arguments).stdin(&target.stdin).run(), results)
}

fn is_as_its_header_says(workshop: &Workshop, target: &Target) {
    let bench = Bench::new();
    let (ended, _) = try_it(workshop, target, &bench, "auto");
    if target.expect.is_empty() {
        let _ = ended.with_status(4).saying(&["no allocation"]);
        return;
    }
    let report = ended.report();
    let found: Vec<&str> = verdicts(&report).into_iter().map(|verdict| verdict.word()).collect();
    for expected in &target.expect {
        assert!(
            found.contains(&expected.as_str()),
            "{expected} is expected, not {found:?}\n{}",
            ended.told()
        );
    }
    for excluded in &target.never {
        assert!(!found.contains(&excluded.as_str()), "{excluded} is excluded\n{}", ended.told());
    }
    let fails = verdicts(&report).into_iter().any(|verdict| !Policy::Graceful.passes(verdict));
    assert_eq!(ended.status, i32::from(fails), "{}", ended.told());
    assert!(report.unconfirmed.is_empty(), "nothing is left unconfirmed\n{}", ended.told());
    assert_eq!(report.coverage.tested, report.coverage.planned, "{}", ended.told());
    assert!(report.warnings.is_empty(), "there are warnings\n{}", ended.told());
    comes_again(&report, &bench);
}

/// The command that a finding ends with gives its verdict again.
fn comes_again(report: &Report, bench: &Bench) {
    for finding in report.findings.iter().take(2) {
        let line = finding.repro.replacen("memtrial oom", "memtrial oom --json -q", 1);
        let again = Memtrial::by_shell(&bench.folder(), &line).run();
        let found = again.report();
        assert!(verdicts(&found).into_iter().eq([finding.verdict]), "{}", again.told());
        assert_eq!(again.status, 1, "{}", again.told());
    }
}

fn is_judged_alike(workshop: &Workshop, target: &Target) {
    let bench = Bench::new();
    let (by_rerun, reruns) = try_it(workshop, target, &bench, "rerun");
    assert_eq!(by_rerun.report().coverage.by_snapshot, 0, "{}", by_rerun.told());
    let (by_snapshot, snapshots) = try_it(workshop, target, &bench, "snapshot");
    if by_snapshot.status == 3 {
        // None can be made honestly.
        let _ = by_snapshot.saying(&["none of the planned allocations could be tested"]);
        return;
    }
    let report = by_snapshot.report();
    assert!(report.unconfirmed.is_empty(), "{}", pretty(&report));
    let (reruns, snapshots) = (kept(&reruns), kept(&snapshots));
    for (allocation, verdict) in &snapshots {
        let other = reruns.get(allocation);
        assert_eq!(other, Some(verdict), "{allocation:?}\n{}\n{}", by_snapshot.told(), by_rerun.told());
    }
}

//! Each small daemon that leaks on trial for its blocks: sites, numbers and bytes are as its header says, its twin is not
//! reported, and whoever was looked into answers as before.

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, run};
use memtrial_report::leak::{Certainty, FindingKind, LocateWay, LocatedSite, Report, Survival, Verdict};
use memtrial_tests::harness::daemon::Daemon;
use memtrial_tests::harness::leak_targets::{ExpectedSite, LeakTarget, all};
use memtrial_tests::harness::leaks::{Trial, leaking, located, pretty};
use memtrial_tests::harness::memtrial::Ended;
use memtrial_tests::harness::workshop::Workshop;

/// Rounds of figures: too few for a verdict from them, so that the blocks decide.
const ROUNDS: u32 = 40;
/// Most of the time is spent waiting for memory to come to rest.
const AT_ONCE: usize = 20;

/// How memtrial gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Preload,
    Attach,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Way::Preload => "preload",
            Way::Attach => "attach",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Way::Preload => "the agent loaded with it",
            Way::Attach => "the agent loaded into it",
        }
    }
}

fn main() -> ExitCode {
    let workshop = Arc::new(Workshop::new());
    let mut trials = Vec::new();
    for target in all() {
        for way in [Way::Preload, Way::Attach] {
            if !target.ways.iter().any(|word| word == way.word()) {
                continue;
            }
            let mut test = |name: String, body: fn(&Workshop, &LeakTarget, Way)| {
                let (workshop, target) = (Arc::clone(&workshop), target.clone());
                let body = move || -> Result<(), Failed> {
                    body(&workshop, &target, way);
                    Ok(())
                };
                trials.push(libtest_mimic::Trial::test(name, body));
            };
            let (title, words) = (target.title(), way.words());
            if !target.sites.is_empty() {
                test(format!("{title} leaks as its header says, with {words}"), is_as_its_header_says);
            }
            test(format!("the twin of {title} is not reported, with {words}"), is_not_reported);
        }
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let conclusion = run(&arguments, trials);
    drop(workshop);
    conclusion.exit_code()
}

/// A daemon on trial: what memtrial said, and the daemon if it is the test's own.
fn try_it(trial: &Trial, target: &LeakTarget, way: Way) -> (Ended, Option<Daemon>) {
    let options =
        format!("--rounds {ROUNDS} --locate always --locate-rounds {} --allow-inconclusive", target.rounds);
    match way {
        Way::Preload => (trial.serving(&options).run(), None),
        Way::Attach => {
            let daemon = trial.daemon();
            (trial.on(daemon.pid(), &options).run(), Some(daemon))
        }
    }
}

fn is_as_its_header_says(workshop: &Workshop, target: &LeakTarget, way: Way) {
    let trial = Trial::of(workshop, target, false);
    let (ended, daemon) = try_it(&trial, target, way);
    let report = ended.leak_report();
    assert_eq!(report.verdict, Verdict::Leak, "{}", pretty(&report));
    assert_eq!(report.certainty, Some(Certainty::Confirmed), "{}", pretty(&report));
    assert_eq!(ended.status, 1, "{}", pretty(&report));
    was_looked_into(&report, target, &target.name, way);
    for site in leaking(&report) {
        assert!(attributed(site, target).is_some(), "{} is not expected\n{}", site.site, pretty(&report));
        behaves(site, target, &report);
        let finding = report.findings.iter().find(|finding| finding.site.as_ref() == Some(&site.site));
        let finding = finding.unwrap_or_else(|| panic!("{} is no finding\n{}", site.site, pretty(&report)));
        assert_eq!(
            (finding.kind, finding.certainty),
            (FindingKind::Site, Certainty::Confirmed),
            "{}",
            pretty(&report)
        );
        assert!(finding.repro.contains("memtrial leak"), "{}", pretty(&report));
    }
    for expected in &target.sites {
        has_the_right_number(&report, target, expected);
    }
    is_unharmed(&trial, daemon, &report, target);
}

fn is_not_reported(workshop: &Workshop, target: &LeakTarget, way: Way) {
    let trial = Trial::of(workshop, target, true);
    let (ended, daemon) = try_it(&trial, target, way);
    let report = ended.leak_report();
    assert_ne!(report.verdict, Verdict::Leak, "{}", pretty(&report));
    assert_eq!(ended.status, 0, "{}", pretty(&report));
    assert_eq!(report.findings, [], "{}", pretty(&report));
    assert!(leaking(&report).is_empty(), "{}", pretty(&report));
    was_looked_into(&report, target, &format!("{}_good", target.name), way);
    is_unharmed(&trial, daemon, &report, target);
}

/// Rounds were made as asked, and each block was followed in the way that was expected.
fn was_looked_into(report: &Report, target: &LeakTarget, name: &str, way: Way) {
    assert_eq!(report.failed_rounds, [], "{}", pretty(report));
    assert_eq!(report.rounds, ROUNDS, "{}", pretty(report));
    assert_eq!(report.not_located, None, "{}", pretty(report));
    // A process that starts another by itself is located, too, and has the same name.
    let forks = report.located.len() > 1 && target.ways.len() == 1;
    let all: Vec<_> = if forks { report.located.iter().collect() } else { vec![located(report, name)] };
    for located in all {
        assert_eq!(located.rounds, target.rounds, "{}", pretty(report));
        assert_eq!((located.dropped, located.sampled), (0, None), "{}", pretty(report));
        match way {
            _ if target.has_allocator_linked_in() => {}
            // A process that it has forked is entered while it runs.
            _ if forks && located.pid != report.located[0].pid => {
                assert_eq!(located.way, LocateWay::Attach, "{}", pretty(report));
            }
            Way::Preload => assert_eq!(located.way, LocateWay::Preload, "{}", pretty(report)),
            Way::Attach => assert_eq!(located.way, LocateWay::Attach, "{}", pretty(report)),
        }
        let allocator = match &target.allocator {
            Some(_) if target.has_allocator_linked_in() => name,
            Some(allocator) => allocator,
            None => "libc.so",
        };
        assert!(located.allocator.contains(allocator), "{allocator}\n{}", pretty(report));
    }
}

/// The expectation that a site belongs to: that of the innermost function which one names.
fn attributed<'t>(site: &LocatedSite, target: &'t LeakTarget) -> Option<&'t ExpectedSite> {
    let functions = site.stack.iter().filter_map(|frame| frame.function.as_deref());
    functions.filter_map(|name| target.sites.iter().find(|expected| name.contains(&expected.function))).next()
}

/// What holds for each site that piles up.
fn behaves(site: &LocatedSite, target: &LeakTarget, report: &Report) {
    assert_eq!(site.rounds, target.rounds, "{}", pretty(report));
    assert_eq!(site.by_round.len(), site.rounds as usize, "{}", pretty(report));
    assert_eq!(site.by_round.iter().sum::<u64>(), site.blocks, "{}", pretty(report));
    let rounds_with = site.by_round.iter().filter(|blocks| **blocks > 0).count();
    assert_eq!(site.rounds_with as usize, rounds_with, "{}", pretty(report));
    let [lowest, highest] = site.addresses;
    assert!(0 < lowest && lowest <= highest, "{}", pretty(report));
    if !target.unreachable {
        assert_eq!(site.survival, Survival::Leaking, "{}", pretty(report));
        assert!(site.unreachable.is_none_or(|blocks| blocks == 0), "{}", pretty(report));
    } else if let Some(unreachable) = site.unreachable {
        // What looks like a pointer keeps a few of them.
        assert!(unreachable * 10 >= site.blocks * 8, "{}", pretty(report));
        assert_eq!(site.survival, Survival::Lost, "{}", pretty(report));
    }
}

/// The blocks of a function are as many and as big as the header says.
fn has_the_right_number(report: &Report, target: &LeakTarget, expected: &ExpectedSite) {
    let sites = leaking(report).into_iter().filter(|site| attributed(site, target) == Some(expected));
    let sites: Vec<&LocatedSite> = sites.collect();
    let blocks: u64 = sites.iter().map(|site| site.blocks).sum();
    let bytes: u64 = sites.iter().map(|site| site.bytes).sum();
    let full = expected.blocks * u64::from(target.rounds / expected.every);
    // The rounds followed begin at any number, so that one of them more may be a multiple.
    let most = if expected.every == 1 { full } else { full + expected.blocks };
    assert!((full..=most).contains(&blocks), "{expected:?}: {blocks} blocks, not {full}\n{}", pretty(report));
    if let Some(size) = expected.bytes {
        assert_eq!(bytes, blocks * size, "{expected:?}\n{}", pretty(report));
    }
}

/// A daemon that was the test's own goes on; one that memtrial started is gone.
fn is_unharmed(trial: &Trial, daemon: Option<Daemon>, report: &Report, target: &LeakTarget) {
    let Some(mut daemon) = daemon else {
        assert!(!trial.answers(), "the daemon outlives memtrial\n{}", pretty(report));
        return;
    };
    assert!(daemon.is_alive(), "it has died\n{}\n{}", daemon.said(), pretty(report));
    assert!(trial.rounds_done() >= ROUNDS + target.rounds, "{}", pretty(report));
    trial.works_on();
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).expect("it lives");
    if maps.contains("memtrial") {
        let notes = report.located.iter().flat_map(|located| &located.notes);
        assert!(notes.count() > 0, "what stays in the process is not named\n{}", pretty(report));
    }
}

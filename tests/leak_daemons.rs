//! Daemons from packages, none of which leaks: not by the figures, and not by their blocks, after which they answer as
//! before.

use std::fs;

use memtrial_report::leak::{LocateWay, Report, Role, Verdict};
use memtrial_tests::harness::daemon::{Daemon, answer, children, shell, tree, wait_until_gone};
use memtrial_tests::harness::leaks::{leaking, pretty};
use memtrial_tests::harness::memtrial::Ended;
use memtrial_tests::harness::packaged::{
    Packaged, chronyd, memcached, nginx, postgres, python, redis, unbound,
};
use memtrial_tests::harness::processes::wait_for;

/// Enough rounds for a verdict by the figures.
const BY_FIGURES: &str = "--rounds 120 --locate never --allow-inconclusive";
/// A look at the blocks.
const BY_BLOCKS: &str = "--rounds 30 --locate always --locate-rounds 30 --allow-inconclusive";

/// No round failed, nobody died, and nothing leaks.
fn passes(ended: &Ended) -> Report {
    let report = ended.leak_report();
    assert_ne!(report.verdict, Verdict::Leak, "{}", pretty(&report));
    assert_eq!(report.failed_rounds, [], "{}", pretty(&report));
    assert_eq!(report.findings, [], "{}", pretty(&report));
    assert_eq!(report.exit_status, 0, "{}", pretty(&report));
    assert!(leaking(&report).is_empty(), "{}", pretty(&report));
    report
}

/// Watches the figures of a daemon that memtrial starts, and of all its processes.
fn does_not_leak_by_figures(packaged: &Packaged) -> Report {
    let report = passes(&packaged.serving(BY_FIGURES).run());
    assert!((60..=120).contains(&report.rounds), "{}", pretty(&report));
    assert!(report.located.is_empty(), "{}", pretty(&report));
    report
}

/// Looks into a process of a daemon that runs, which must work on afterwards.
fn does_not_leak_by_blocks(packaged: &Packaged, process: impl Fn(&Daemon) -> i32) -> Report {
    let mut daemon = packaged.daemon();
    let pid = process(&daemon);
    let report = passes(&packaged.trial(BY_BLOCKS).arguments(["--pid", &pid.to_string()]).run());
    assert_eq!(report.rounds, 30, "{}", pretty(&report));
    assert_eq!(report.not_located, None, "{}", pretty(&report));
    let [located] = &report.located[..] else { panic!("{}", pretty(&report)) };
    assert_eq!((located.pid, located.rounds), (pid, 30), "{}", pretty(&report));
    assert_eq!(located.way, LocateWay::Attach, "{}", pretty(&report));
    assert!(daemon.is_alive(), "{}\n{}", daemon.said(), pretty(&report));
    assert!(tree(daemon.pid()).contains(&pid), "{}", pretty(&report));
    // So PostgreSQL says of a process of its own.
    assert!(!daemon.said().contains("terminated by signal"), "{}\n{}", daemon.said(), pretty(&report));
    for _ in 0..10 {
        let _ = answer(&packaged.bench.folder(), &packaged.act);
    }
    report
}

fn itself(daemon: &Daemon) -> i32 {
    daemon.pid()
}

#[test]
fn nginx_does_not_leak_by_figures() {
    let name = format!("nx{}", std::process::id());
    let report = does_not_leak_by_figures(&nginx(&name));
    let targets = report.processes.iter().filter(|process| process.role == Role::Target);
    let names: Vec<&str> = targets.map(|process| process.name.as_str()).collect();
    assert_eq!(names.iter().filter(|found| **found == name).count(), 3, "main and workers: {names:?}");
}

#[test]
fn workers_of_nginx_do_not_leak_under_their_name() {
    let name = format!("nn{}", std::process::id());
    let packaged = nginx(&name);
    let daemon = packaged.daemon();
    // It answers with one of them.
    wait_for("both workers", || (children(daemon.pid()).len() == 2).then_some(()));
    let report = passes(&packaged.trial(BY_FIGURES).arguments(["--name", &name]).run());
    assert_eq!(report.processes.len(), 3, "{}", pretty(&report));
    assert!(report.processes.iter().all(|process| process.name == name), "{}", pretty(&report));
}

#[test]
fn a_worker_of_nginx_does_not_leak_by_blocks() {
    let packaged = nginx(&format!("nw{}", std::process::id()));
    // Either may get a connection; one of the two is looked into.
    does_not_leak_by_blocks(&packaged, |daemon| children(daemon.pid())[0]);
}

#[test]
fn redis_does_not_leak_by_figures() {
    does_not_leak_by_figures(&redis());
}

#[test]
fn redis_does_not_leak_by_blocks_of_jemalloc() {
    let report = does_not_leak_by_blocks(&redis(), itself);
    assert!(report.located[0].allocator.contains("jemalloc"), "{}", pretty(&report));
}

#[test]
fn memcached_does_not_leak_by_figures() {
    does_not_leak_by_figures(&memcached());
}

#[test]
fn memcached_does_not_leak_by_blocks() {
    does_not_leak_by_blocks(&memcached(), itself);
}

#[test]
fn unbound_does_not_leak_by_figures() {
    does_not_leak_by_figures(&unbound());
}

#[test]
fn unbound_does_not_leak_by_blocks() {
    let packaged = unbound();
    let threads = |daemon: &Daemon| {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it lives");
        assert!(tasks.count() >= 4, "it has threads");
        daemon.pid()
    };
    does_not_leak_by_blocks(&packaged, threads);
}

#[test]
fn python_does_not_leak_by_figures() {
    does_not_leak_by_figures(&python());
}

#[test]
fn python_does_not_leak_by_blocks() {
    does_not_leak_by_blocks(&python(), itself);
}

#[test]
fn postgres_does_not_leak_by_figures() {
    does_not_leak_by_figures(&postgres());
}

#[test]
fn postgres_does_not_leak_by_blocks() {
    does_not_leak_by_blocks(&postgres(), itself);
}

#[test]
fn chronyd_does_not_leak_by_figures() {
    does_not_leak_by_figures(&chronyd());
}

#[test]
fn chronyd_does_not_leak_by_blocks() {
    does_not_leak_by_blocks(&chronyd(), itself);
}

#[test]
fn a_port_says_when_a_daemon_is_ready() {
    let packaged = redis();
    let port = packaged.serve.split_whitespace().find_map(|word| word.parse::<u16>().ok());
    let port = port.expect("it is told its port").to_string();
    let memtrial = packaged.trial("--rounds 5 --locate never --allow-inconclusive");
    let report = passes(&memtrial.arguments(["--serve", &packaged.serve, "--ready", &port]).run());
    assert_eq!(report.rounds, 5, "{}", pretty(&report));
}

#[test]
fn daemons_answer_their_clients_where_nobody_watches() {
    // What all of these tests rest on.
    let name = format!("na{}", std::process::id());
    let all = [nginx(&name), redis(), memcached(), unbound(), python(), postgres(), chronyd()];
    for packaged in all {
        let mut daemon = packaged.daemon();
        for _ in 0..20 {
            let _ = answer(&packaged.bench.folder(), &packaged.act);
        }
        let processes = tree(daemon.pid());
        daemon.end();
        for pid in processes {
            wait_until_gone(pid);
        }
        assert!(!shell(&packaged.bench.folder(), &packaged.act).status.success(), "{}", packaged.serve);
    }
}

//! `memtrial trace attach`: the agent comes into processes at work, tells what they do with memory, and leaves them as they were.

use memtrial_tests::harness::daemon::{Daemon, answer, children, lives};
use memtrial_tests::harness::hits::{Hit, hits, target};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged::{Packaged, nginx, postgres, redis};
use memtrial_tests::harness::processes::{scratch_folders, signal, wait_for};
use memtrial_tests::harness::workshop::Bench;

/// Threads of the small daemon.
const THREADS: usize = 3;

fn attach(bench: &Bench, pid: i32, options: &str) -> Memtrial {
    let memtrial = Memtrial::new(&bench.folder(), "trace attach --pid").arguments([pid.to_string()]);
    memtrial.arguments(options.split_whitespace())
}

/// A daemon that looks at each byte that it has written.
fn steady(bench: &Bench) -> Daemon {
    steady_built(bench, &[])
}

/// The same, compiled so.
fn steady_built(bench: &Bench, flags: &[&str]) -> Daemon {
    let program = target(bench, "steady", flags);
    let daemon = Daemon::start(&bench.folder(), &format!("{} {THREADS}", program.display()));
    let pid = daemon.pid();
    wait_for("its threads", || (threads(pid) == THREADS).then_some(()));
    daemon
}

fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Of each block that is allocated in a thread, the next thing that the thread does is to free it.
fn alternates(all: &[Hit], ended: &Ended) {
    let mut live = std::collections::HashSet::new();
    for hit in all.iter().filter(|hit| hit.name == "alloc" && hit.arguments.starts_with("bytes=4242 ")) {
        let block =
            hit.arguments.split(' ').find_map(|word| word.strip_prefix("block=")).expect("an argument");
        live.insert(block);
    }
    assert!(!live.is_empty(), "{}", ended.told());
    let freed = |hit: &&Hit| hit.name == "free" && live.iter().any(|block| hit.arguments.contains(*block));
    assert!(all.iter().any(|hit| freed(&hit)), "{}", ended.told());
    assert!(all.is_sorted_by_key(|hit| hit.time), "{}", ended.told());
}

#[test]
fn it_comes_and_goes_and_the_process_goes_on() {
    let bench = Bench::new();
    let mut daemon = steady(&bench);
    for _ in 0..3 {
        let ended = attach(&bench, daemon.pid(), "--duration 1s").run().with_status(0);
        let ended = ended.saying(&["tracing steady", "stood still for", " hits"]);
        let all = hits(&ended.stdout);
        assert!(all.iter().all(|hit| hit.pid == daemon.pid()), "{}", ended.told());
        alternates(&all, &ended);
        assert!(!ended.stderr.contains("warning"), "{}", ended.told());
        assert!(daemon.is_alive() && threads(daemon.pid()) == THREADS, "{}", daemon.said());
    }
}

#[test]
fn call_stacks_lead_to_where_the_process_was() {
    let bench = Bench::new();
    let mut daemon = steady(&bench);
    let ended = attach(&bench, daemon.pid(), "--duration 1s --stack alloc free").run().with_status(0);
    let all = hits(&ended.stdout);
    assert!(!all.is_empty() && !ended.stderr.contains("warning"), "{}", ended.told());
    for hit in &all {
        assert!(hit.stack[0].contains("steady.c:") && hit.stack[0].ends_with(" work [steady]"), "{hit:#?}");
    }
    assert!(daemon.is_alive() && threads(daemon.pid()) == THREADS, "{}", daemon.said());
}

#[test]
fn an_interrupt_is_an_end_like_any_other() {
    let bench = Bench::new();
    let mut daemon = steady(&bench);
    let running = attach(&bench, daemon.pid(), "-o hits free").start();
    let main = running.pid();
    let seen = || hits(&std::fs::read_to_string(bench.folder().join("hits")).unwrap_or_default());
    wait_for("hits", || (!seen().is_empty()).then_some(()));
    signal(main, libc::SIGINT);
    let _ = running.wait().with_status(0);
    assert!(seen().iter().all(|hit| hit.name == "free"));
    assert!(daemon.is_alive() && scratch_folders(main).is_empty());
}

#[test]
fn calls_are_put_back_when_memtrial_is_killed() {
    let bench = Bench::new();
    let mut daemon = steady(&bench);
    for _ in 0..2 {
        let _ = std::fs::remove_file(bench.folder().join("hits"));
        let running = attach(&bench, daemon.pid(), "-o hits").start();
        let main = running.pid();
        let seen = || std::fs::read_to_string(bench.folder().join("hits")).unwrap_or_default();
        wait_for("hits", || (!seen().is_empty()).then_some(()));
        let worker = children(main).first().copied().expect("the worker lives");
        signal(worker, libc::SIGKILL);
        let _ = running.wait().with_status(128 + libc::SIGKILL);
        wait_for("no scratch folder is left", || scratch_folders(main).is_empty().then_some(()));
        assert!(daemon.is_alive(), "{}", daemon.said());
    }
    // Only calls that were put back can be redirected to another copy of the agent.
    let ended = attach(&bench, daemon.pid(), "--duration 1s").run().with_status(0);
    alternates(&hits(&ended.stdout), &ended);
}

#[test]
fn the_end_of_the_process_is_the_end_of_the_trace() {
    let bench = Bench::new();
    let mut daemon = steady(&bench);
    let running = attach(&bench, daemon.pid(), "-o hits").start();
    wait_for("hits", || {
        bench.folder().join("hits").metadata().is_ok_and(|file| file.len() > 0).then_some(())
    });
    daemon.end();
    let _ = running.wait().with_status(0).saying(&["has ended"]);
    let _ = attach(&bench, i32::MAX, "").run().with_status(3).saying(&["help: name a process that runs"]);
}

#[test]
fn what_the_agent_cannot_get_into_is_refused_and_unharmed() {
    let bench = Bench::new();
    let mut daemon = steady_built(&bench, &["-static"]);
    let ended = attach(&bench, daemon.pid(), "--duration 1s").run().with_status(4);
    assert!(ended.stdout.is_empty() && daemon.is_alive(), "{}", ended.told());
    let ended = attach(&bench, daemon.pid(), "--backend log").run().with_status(2);
    let _ = ended.saying(&["--backend log=FILE"]);
}

/// Traces a process of a daemon for three seconds in which clients come; it must serve them, and then still others.
fn serves_meanwhile(daemon: &Packaged, pid: i32, options: &str) -> Vec<Hit> {
    let folder = daemon.bench.folder();
    let running = attach(&daemon.bench, pid, &format!("--duration 3s {options}")).start();
    // It takes a while to get in where the processors have other work.
    wait_for("the end of the trace", || {
        let _ = answer(&folder, &daemon.act);
        (!lives(running.pid())).then_some(())
    });
    let ended = running.wait().with_status(0);
    assert!(lives(pid), "{}", ended.told());
    let _ = answer(&folder, &daemon.act);
    let all = hits(&ended.stdout);
    assert!(!all.is_empty(), "{}", ended.told());
    all
}

#[test]
fn redis_serves_its_clients_meanwhile() {
    let redis = redis();
    let daemon = redis.daemon();
    let all = serves_meanwhile(&redis, daemon.pid(), "");
    let count = |name: &str| all.iter().filter(|hit| hit.name == name).count();
    assert!(count("alloc") > 0 && count("free") > 0, "on an allocator of its own");
}

#[test]
fn a_worker_of_nginx_serves_its_clients_meanwhile() {
    let nginx = nginx("trial-nginx");
    let daemon = nginx.daemon();
    // Whichever answers: both are looked at.
    let workers =
        wait_for("both workers", || Some(children(daemon.pid())).filter(|workers| workers.len() == 2));
    let second = workers[1];
    let other = std::thread::scope(|scope| {
        let other = scope.spawn(|| attach(&nginx.bench, second, "--duration 3s").run().with_status(0));
        let running = attach(&nginx.bench, workers[0], "--duration 3s").start();
        wait_for("the end of both traces", || {
            let _ = answer(&nginx.bench.folder(), &nginx.act);
            (!lives(running.pid()) && other.is_finished()).then_some(())
        });
        let first = running.wait().with_status(0);
        [first, other.join().expect("it is traced")]
    });
    let told: Vec<String> = other.iter().map(Ended::told).collect();
    let all: Vec<Hit> = other.iter().flat_map(|ended| hits(&ended.stdout)).collect();
    assert!(all.iter().any(|hit| hit.name == "alloc"), "{told:?}");
    assert!(workers.iter().all(|pid| lives(*pid)));
}

#[test]
fn the_forks_of_postgres_are_told_of_and_serve_their_clients() {
    let postgres = postgres();
    let daemon = postgres.daemon();
    let all = serves_meanwhile(&postgres, daemon.pid(), "");
    let forks: Vec<&Hit> = all.iter().filter(|hit| hit.name == "fork").collect();
    assert!(!forks.is_empty() && forks.iter().all(|hit| hit.pid == daemon.pid()), "{forks:?}");
    let child: i32 = forks[0].arguments.trim_start_matches("child=").parse().expect("a pid");
    assert!(
        all.iter().any(|hit| hit.pid == child && hit.name == "alloc"),
        "the backend {child} is traced too"
    );
}

//! Daemons from packages under load, each with a client that compares every answer: none is wrong, and each is afterwards
//! what it was before.

use memtrial_report::stress::{Report, Verdict, Way};
use memtrial_tests::harness::clients::{self, Client, Round, Session};
use memtrial_tests::harness::daemon::{Daemon, answer, children};
use memtrial_tests::harness::packaged::{Packaged, memcached, nginx, postgres, recursor, redis, unbound};
use memtrial_tests::harness::stress::{Stress, loaded, pretty, threads, wait_for_threads};
use memtrial_tests::harness::workshop::Bench;

/// The load; how long it lasts may be said by a variable, for a trial of a minute.
fn load() -> String {
    let time = std::env::var("MEMTRIAL_TEST_LOAD").unwrap_or_else(|_| "3s".to_owned());
    format!(
        "--threads 2 --rate 2000/s --min 16 --max 16k --total 8m --for {time} --check-content --realloc 20"
    )
}

/// Makes a client of a daemon that is ready.
type Begin<'b> = &'b dyn Fn(&Packaged) -> Round;

/// Loads a process of a daemon while a client makes its rounds: `choose` says which, and what the client does.
fn holds(packaged: &Packaged, choose: impl FnOnce(&Daemon) -> (i32, Round)) -> Report {
    let mut daemon = packaged.daemon();
    let stress = Stress::new(Bench::new());
    let (pid, round) = choose(&daemon);
    let client = Client::start(round);
    client.wait(10);
    let (before, rounds) = (threads(pid), client.rounds());
    let report = stress.on(pid, &load()).arguments(["--probe", &packaged.act]).run().stress_report();
    let under_load = client.rounds() - rounds;
    client.wait(10);
    is_held(&report);
    // While the client is there: a process that serves it alone ends with it.
    wait_for_threads(pid, &before);
    if let Err(wrong) = client.stop() {
        panic!("{wrong}\n{}\n{}", daemon.said(), pretty(&report));
    }
    assert!(under_load > 10, "{under_load}\n{}", pretty(&report));
    assert_eq!((loaded(&report).pid, loaded(&report).way), (pid, Way::Attach), "{}", pretty(&report));
    assert!(daemon.is_alive(), "{}\n{}", daemon.said(), pretty(&report));
    // So PostgreSQL and nginx say of processes of their own.
    for word in ["terminated by signal", "exited on signal"] {
        assert!(!daemon.said().contains(word), "{}\n{}", daemon.said(), pretty(&report));
    }
    for _ in 0..5 {
        let _ = answer(&packaged.bench.folder(), &packaged.act);
    }
    report
}

/// The load was there, and did no harm.
fn is_held(report: &Report) {
    assert_eq!(report.verdict, Verdict::Held, "{}", pretty(report));
    assert_eq!(report.findings, [], "{}", pretty(report));
    let one = loaded(report);
    assert!(one.allocations > 500 && one.reallocs > 50 && one.checked > 100, "{}", pretty(report));
    assert_eq!((one.errors, one.overwritten_count), (0, 0), "{}", pretty(report));
    assert!(one.after.is_some() && one.end.is_none(), "{}", pretty(report));
    let probe = one.probe.as_ref().unwrap_or_else(|| panic!("{}", pretty(report)));
    assert!(probe.unloaded.runs > 0 && probe.loaded.runs > 0, "{}", pretty(report));
    assert!(probe.failed == 0 && probe.failures.is_empty(), "{}", pretty(report));
}

#[test]
fn redis_gives_no_wrong_answer_under_load() {
    let packaged = redis();
    let report = holds(&packaged, |daemon| (daemon.pid(), clients::redis(packaged.port)));
    assert!(loaded(&report).allocator.contains("jemalloc"), "{}", pretty(&report));
}

#[test]
fn memcached_gives_no_wrong_answer_under_load() {
    let packaged = memcached();
    holds(&packaged, |daemon| (daemon.pid(), clients::memcached(packaged.port)));
}

#[test]
fn a_worker_of_nginx_gives_no_wrong_answer_under_load() {
    let packaged = nginx(&format!("ns{}", std::process::id()));
    let contents: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    packaged.bench.write("lines", &contents);
    // Either may get a connection; one of the two is loaded.
    holds(&packaged, |daemon| (children(daemon.pid())[0], clients::web(packaged.port, "lines", contents)));
}

#[test]
fn a_process_of_postgres_gives_no_wrong_answer_under_load() {
    let packaged = postgres();
    holds(&packaged, |_| {
        let mut session = Session::to(packaged.port);
        let pid = session.ask("select pg_backend_pid()").expect("it is ready");
        (pid.parse().expect("a number"), session.rounds())
    });
}

#[test]
fn the_main_process_of_postgres_gives_no_wrong_answer_under_load() {
    let packaged = postgres();
    holds(&packaged, |daemon| (daemon.pid(), Session::to(packaged.port).rounds()));
}

#[test]
fn a_threaded_server_in_c_gives_no_wrong_answer_under_load() {
    let packaged = unbound();
    holds(&packaged, |daemon| (daemon.pid(), clients::names(packaged.port)));
}

#[test]
fn a_threaded_server_in_cpp_gives_no_wrong_answer_under_load() {
    let packaged = recursor();
    holds(&packaged, |daemon| (daemon.pid(), clients::names(packaged.port)));
}

#[test]
fn a_daemon_that_memtrial_starts_is_loaded_from_within() {
    let packaged = redis();
    let stress = Stress::new(Bench::new());
    let options = format!("{} --ready {} --", load(), packaged.port);
    let words = packaged.serve.split_whitespace().map(|word| if word == "''" { "" } else { word });
    let report = stress.stress(&options).arguments(words).run().stress_report();
    assert_eq!((report.verdict, loaded(&report).way), (Verdict::Held, Way::Preload), "{}", pretty(&report));
    assert!(loaded(&report).allocator.contains("jemalloc"), "{}", pretty(&report));
}

#[test]
fn answers_are_right_where_nobody_loads() {
    // What all of these tests rest on.
    let (nginx, name) = (nginx("nr"), "lines");
    let contents: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    nginx.bench.write(name, &contents);
    let web = |packaged: &Packaged| clients::web(packaged.port, name, contents.clone());
    let session = |packaged: &Packaged| Session::to(packaged.port).rounds();
    let all: [(Packaged, Begin<'_>); 6] = [
        (redis(), &|packaged| clients::redis(packaged.port)),
        (memcached(), &|packaged| clients::memcached(packaged.port)),
        (nginx, &web),
        (postgres(), &session),
        (unbound(), &|packaged| clients::names(packaged.port)),
        (recursor(), &|packaged| clients::names(packaged.port)),
    ];
    for (packaged, round) in all {
        let daemon = packaged.daemon();
        let client = Client::start(round(&packaged));
        client.wait(50);
        if let Err(wrong) = client.stop() {
            panic!("{}: {wrong}\n{}", packaged.serve, daemon.said());
        }
    }
}

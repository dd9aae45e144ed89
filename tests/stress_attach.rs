//! The agent comes into a daemon whose threads allocate all the time, loads its heap, and leaves again, many times over.

use std::fs;

use memtrial_report::stress::Verdict;
use memtrial_tests::harness::daemon::answer;
use memtrial_tests::harness::processes::wait_for;
use memtrial_tests::harness::stress::{Small, loaded, pretty, threads, wait_for_threads};
use memtrial_tests::harness::workshop::Workshop;

/// Four threads that pause a little; each looks at every byte that it has written.
const HEAVY: &str = "4 300";

/// So many times out of so many, whatever the daemon is doing.
fn comes_and_goes(times: u32) {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, HEAVY);
    let mut daemon = small.daemon();
    let (pid, before) = (daemon.pid(), threads(daemon.pid()));
    for time in 0..times {
        for kind in ["16 64", "1 4096"] {
            let _ = small.stress.print(pid, &format!("mt.mem_test_start {kind} 1048576 0.05 0.2 60000"));
        }
        let _ = small.stress.print(pid, "cfg.set_now_int malloc_test check_content 1");
        wait_for("load", || {
            let status = small.stress.call(pid, "memtrial.status");
            (status["chunks"].as_u64() > Some(0) && status["tests"] == 2).then_some(())
        });
        let left = small.stress.call(pid, "memtrial.leave");
        assert_eq!(left["overwritten_count"], 0, "{time}: {left}");
        wait_for_threads(pid, &before);
        assert!(!small.stress.socket(pid).exists(), "{time}");
        assert!(daemon.is_alive(), "{time}: {}", daemon.said());
        let _ = answer(&small.stress.bench.folder(), &small.request("alive"));
    }
}

#[test]
fn it_comes_and_goes_ten_times_of_ten() {
    comes_and_goes(10);
}

#[test]
#[ignore = "takes minutes: the same with fewer times is tried each time"]
fn it_comes_and_goes_fifty_times_of_fifty() {
    comes_and_goes(50);
}

/// Mappings of the agent's code, and of memory that was shared with a controller.
fn left_behind(pid: i32) -> (usize, usize) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
    let of = |part: &str| maps.lines().filter(|line| line.contains(part)).count();
    let code = of("/memtrial-agent.so");
    (code, of("/memtrial-") - code)
}

#[test]
fn the_agent_that_stays_is_used_again_however_often_it_comes() {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, "1 1000");
    let mut daemon = small.daemon();
    let (pid, before) = (daemon.pid(), threads(daemon.pid()));
    let mut first = None;
    for time in 0..100 {
        let _ = small.stress.print(pid, "mt.mem_alloc 1 m");
        let freed = small.stress.print(pid, "memtrial.leave");
        assert_eq!(freed, (1 << 20).to_string(), "{time}");
        let left = left_behind(pid);
        assert_eq!(left, *first.get_or_insert(left), "{time}");
    }
    let (code, _) = left_behind(pid);
    let report = small.stress.on(pid, "--check-content --for 1s").run().stress_verdict(Verdict::Held);
    assert!(loaded(&report).checked > 0, "{}", pretty(&report));
    let trace = |seconds: &str| {
        let words = format!("trace attach --pid {pid} --duration {seconds} --events alloc");
        small.stress.memtrial(&words).run().with_status(0)
    };
    assert!(trace("1s").stdout.contains("alloc"));
    assert_eq!(left_behind(pid).0, code, "another trial has used it as well");
    // While one uses it, another one gets a copy of its own.
    let _ = small.stress.print(pid, "mt.mem_alloc 1 m");
    assert!(trace("1s").stdout.contains("alloc"));
    assert_eq!(left_behind(pid).0, 2 * code);
    assert_eq!(small.stress.print(pid, "memtrial.leave"), (1 << 20).to_string());
    wait_for_threads(pid, &before);
    assert!(daemon.is_alive(), "{}", daemon.said());
    let _ = answer(&small.stress.bench.folder(), &small.request("alive"));
}

#[test]
fn whole_trials_follow_each_other_on_one_daemon() {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, HEAVY);
    let mut daemon = small.daemon();
    let (pid, before) = (daemon.pid(), threads(daemon.pid()));
    for seed in 1..=3 {
        let options = format!("--threads 2 --rate 5000/s --total 4m --for 1s --check-content --seed {seed}");
        let report = small.stress.on(pid, &options).run().stress_verdict(Verdict::Held);
        assert_eq!(report.load.seed, seed, "{}", pretty(&report));
        let loaded = loaded(&report);
        assert!(loaded.allocations > 100 && loaded.checked > 0, "{}", pretty(&report));
        assert!(loaded.stopped_ms.is_some(), "{}", pretty(&report));
        wait_for_threads(pid, &before);
        assert!(daemon.is_alive(), "{}\n{}", daemon.said(), pretty(&report));
    }
}

//! The agent comes into a daemon whose threads allocate all the time, loads its heap, and leaves again, many times over.

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

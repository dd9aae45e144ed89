//! Allocators under load: the one that a target has, and several side by side without a target.

use memtrial_report::stress::{Verdict, Way};
use memtrial_tests::harness::daemon::answer;
use memtrial_tests::harness::stress::{Small, Stress, loaded, pretty, threads, wait_for_threads};
use memtrial_tests::harness::workshop::{Bench, Workshop};

const ALLOCATORS: [(&str, &str); 4] = [
    ("libc", ""),
    ("libjemalloc", "libjemalloc.so.2"),
    ("libtcmalloc", "libtcmalloc_minimal.so.4"),
    ("libmimalloc", "libmimalloc.so.2"),
];

/// The chunks of the load are the allocator's: it knows their size.
fn is_loaded(name: &str, library: &str) {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, "busy", false, "2 1000");
    let mut daemon = small.daemon_with(library);
    let (pid, before) = (daemon.pid(), threads(daemon.pid()));
    for size in [100, 10_000, 1_000_000] {
        let done = small.stress.call(pid, &format!("mt.mem_alloc {size}"));
        let address = done["address"].as_str().unwrap_or_else(|| panic!("{done}"));
        let _ = answer(&small.stress.bench.folder(), &small.request(&format!("usable {address} {size}")));
        assert!(daemon.is_alive(), "{name}: {}", daemon.said());
    }
    let _ = small.stress.print(pid, "memtrial.leave");
    wait_for_threads(pid, &before);

    let options = "--threads 2 --rate 5000/s --max 64k --total 8m --for 2s --check-content --realloc 20";
    let report = small.stress.on(pid, options).run().stress_verdict(Verdict::Held);
    let one = loaded(&report);
    assert!(one.allocator.starts_with(name), "{name}\n{}", pretty(&report));
    assert_eq!((one.way, one.errors, one.overwritten_count), (Way::Attach, 0, 0), "{}", pretty(&report));
    assert!(one.reallocs > 0 && one.checked > 0, "{}", pretty(&report));
    assert!(one.samples.iter().any(|sample| sample.live > 1 << 20), "{}", pretty(&report));
    wait_for_threads(pid, &before);
    assert!(daemon.is_alive(), "{}\n{}", daemon.said(), pretty(&report));
    daemon.end();

    let serving = small.serving(options).variable("LD_PRELOAD", library);
    let report = serving.run().stress_verdict(Verdict::Held);
    let one = loaded(&report);
    assert!(one.allocator.starts_with(name) && one.way == Way::Preload, "{name}\n{}", pretty(&report));
}

#[test]
fn the_c_librarys_own_allocator_is_loaded() {
    is_loaded(ALLOCATORS[0].0, ALLOCATORS[0].1);
}

#[test]
fn jemalloc_is_loaded_in_a_target_that_uses_it() {
    is_loaded(ALLOCATORS[1].0, ALLOCATORS[1].1);
}

#[test]
fn tcmalloc_is_loaded_in_a_target_that_uses_it() {
    is_loaded(ALLOCATORS[2].0, ALLOCATORS[2].1);
}

#[test]
fn mimalloc_is_loaded_in_a_target_that_uses_it() {
    is_loaded(ALLOCATORS[3].0, ALLOCATORS[3].1);
}

#[test]
fn allocators_are_compared_without_a_target() {
    let stress = Stress::new(Bench::new());
    let names = ["glibc", "jemalloc", "tcmalloc", "mimalloc"];
    let chosen = names.map(|name| format!("--allocator {name}")).join(" ");
    let options = format!("{chosen} --for 1s --max 16k --total 32m --threads 2 --seed 1");
    let report = stress.stress(&options).run().stress_verdict(Verdict::Held);
    assert_eq!(report.loaded.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), names);
    for (one, (library, _)) in report.loaded.iter().zip(ALLOCATORS) {
        assert!(one.allocator.starts_with(library), "{}", pretty(&report));
        assert!(one.allocations > 1000 && one.errors == 0, "{}", pretty(&report));
        let after = one.after.unwrap_or_else(|| panic!("{}", pretty(&report)));
        assert!(after.resident > 0 && one.peak.resident > one.before.resident, "{}", pretty(&report));
        assert!(
            one.peak.fragmentation.is_none_or(|share| (0.0..=1.0).contains(&share)),
            "{}",
            pretty(&report)
        );
    }

    let line = format!("stress -q {options} --output other");
    let table = stress.memtrial(&line).run().with_status(0).stdout;
    for name in names {
        assert!(table.contains(name), "{name} is not in it:\n{table}");
    }
}

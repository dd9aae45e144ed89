//! Which allocations are failed and how, and what passes.

use memtrial_report::model::{Report, Verdict};
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::outcomes::{count, kept};
use memtrial_tests::harness::workshop::Bench;
use serde_json::Value;

use super::{refused, try_in, with_careful, with_target};

#[test]
fn the_list_shows_sites_with_counts_and_bytes_and_fails_nothing() {
    let bench = with_careful();
    let listed = try_in(&bench, "oom --list -- ./careful").with_status(0);
    assert!(listed.stdout.contains("5 allocations, "), "{}", listed.told());
    assert!(listed.stdout.contains("careful.c:"), "{}", listed.told());
    assert!(!bench.folder().join("memtrial.out").exists(), "a list is printed, not kept");
}

#[test]
fn the_list_as_json_has_every_site_with_its_stack() {
    let bench = with_careful();
    let listed = try_in(&bench, "oom --list --json -- ./careful").with_status(0);
    let census: Value = serde_json::from_str(&listed.stdout).expect("it is JSON");
    assert_eq!(census["schema"], 1);
    assert_eq!(census["reference"]["allocations"], 7);
    let sites = census["sites"].as_array().expect("there are sites");
    let counts: Vec<(u64, u64)> =
        sites.iter().filter_map(|site| Some((site["count"].as_u64()?, site["bytes"].as_u64()?))).collect();
    assert_eq!(counts, [(5, 5000), (1, 2000), (1, 3_000_000)]);
    for site in sites {
        assert_eq!(site["site"].as_str().map(str::len), Some(8));
        assert_eq!(site["stack"][0]["function"], "get");
    }
}

#[test]
fn sites_have_the_same_names_wherever_the_program_is_loaded() {
    let bench = with_careful();
    let names = |line: &str| {
        let census: Value = serde_json::from_str(&Memtrial::by_shell(&bench.folder(), line).run().stdout)
            .expect("it is JSON");
        census["sites"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|site| site["site"].to_string())
            .collect::<Vec<_>>()
    };
    let usual = names("memtrial oom --list --json -- ./careful");
    assert_eq!(usual.len(), 3);
    assert_eq!(usual, names("setarch -R memtrial oom --list --json -- ./careful"));
}

/// What the options leave of seven allocations at three sites.
fn share(line: &str) -> (u64, u64, u64) {
    let bench = with_careful();
    let report = try_in(&bench, &format!("oom -q --json {line} -- ./careful")).with_status(0).report();
    assert_eq!(report.reference.allocations, 7);
    (report.coverage.planned, report.coverage.tested, report.coverage.sites_tested)
}

#[test]
fn each_site_is_failed_once_unless_more_is_asked_for() {
    assert_eq!(share(""), (3, 3, 3));
    assert_eq!(share("--per-site 2"), (4, 4, 3));
    assert_eq!(share("--every"), (7, 7, 3));
}

#[test]
fn allocations_are_chosen_by_number_by_filter_and_by_chance() {
    assert_eq!(share("--allocs 2-6"), (5, 5, 2));
    assert_eq!(share("--only one"), (1, 1, 1));
    assert_eq!(share("--only careful.c --skip one --every"), (2, 2, 2));
}

#[test]
fn a_sample_has_its_size_and_comes_again_with_its_seed() {
    let bench = with_careful();
    let drawn = |seed: u32| {
        let ended = try_in(&bench, &format!("oom -q --json --every --sample 4,seed={seed} -- ./careful"));
        let report = ended.with_status(0).report();
        assert_eq!((report.coverage.planned, report.coverage.tested), (4, 4));
        kept(&bench.folder().join("memtrial.out")).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert!((2..9).any(|seed| drawn(seed) != drawn(1)), "other seeds draw others");
}

#[test]
fn the_report_says_what_share_was_tested() {
    let ended = try_in(&with_careful(), "oom -q --every --sample 4,seed=1 -- ./careful").with_status(0);
    assert!(ended.stdout.contains("4 of 4 planned"), "{}", ended.told());
    assert!(ended.stdout.contains("57.1 % of all"), "{}", ended.told());
}

#[test]
fn a_trial_out_of_time_says_so_and_what_it_has_not_tested() {
    let bench = Bench::new();
    // A slow machine may have made no more than the reference run by then, which is an error.
    let mut tried = [1, 8, 64].into_iter().map(|seconds| {
        let options = format!("-q --json --every --mode rerun --max-time {seconds}");
        try_in(&bench, &format!("oom {options} -- jq -n [range(200)|{{n:.}}]|length"))
    });
    let ended = tried.find(|ended| ended.status != 2);
    let report = ended.expect("a minute is enough to begin").report();
    assert_eq!(report.coverage.stopped.as_deref(), Some("--max-time has passed"));
    assert!(report.coverage.tested < report.coverage.planned);
}

/// A trial of the careful program with this fault.
fn faulted(fault: &str) -> Report {
    let bench = with_careful();
    try_in(&bench, &format!("oom -q --json --fault {fault} -- ./careful")).with_status(0).report()
}

#[test]
fn faults_that_begin_somewhere_are_tried_at_each_site() {
    for fault in ["once", "sticky", "burst=2"] {
        let report = faulted(fault);
        assert_eq!((report.fault.as_str(), count(&report, Verdict::Handled)), (fault, 3));
    }
}

#[test]
fn faults_that_choose_by_themselves_are_one_run() {
    for fault in ["size=1000000+", "limit=2500", "p=1,seed=7"] {
        let report = faulted(fault);
        assert_eq!((report.fault.as_str(), report.coverage.planned), (fault, 1));
        assert_eq!(count(&report, Verdict::Handled), 1);
    }
}

#[test]
fn a_fault_that_chooses_nothing_is_not_passed() {
    refused(
        try_in(&with_careful(), "oom -q --fault size=1g+ -- ./careful"),
        2,
        &["nothing was tested", "--list"],
    );
}

#[test]
fn policies_decide_what_passes() {
    let (abort, tolerated) = (with_target("aborted"), with_target("tolerated"));
    let _ = try_in(&abort, "oom -q -- ./aborted").with_status(1);
    let _ = try_in(&abort, "oom -q --policy abort -- ./aborted").with_status(0);
    let _ = try_in(&tolerated, "oom -q -- ./tolerated").with_status(0);
    let _ = try_in(&tolerated, "oom -q --policy strict -- ./tolerated").with_status(1);
}

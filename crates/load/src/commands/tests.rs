//! Tests, which own their chunks.

use super::{Bench, MEBI, SECOND, number, plan, sum};
use crate::command::{Command, Fault, Plan, Setting, Sizes, Unit};

#[test]
fn tests_own_their_chunks() {
    let mut bench = Bench::new(MEBI);
    bench.alloc(5);
    let slow = Plan { interval: (SECOND / 1000, SECOND / 1000), total: MEBI / 2, ..plan() };
    let (one, other) = (bench.start(slow), bench.start(Plan { seed: Some(2), ..slow }));
    assert_eq!((one, other), (1, 2));
    for id in [one, other] {
        bench.wait_for(id, |test| number(test, "chunks") > 3);
    }
    assert_eq!(sum(&bench.free_all()), (5, 1), "commands free none of a test's");
    let ids: Vec<_> = {
        let list = bench.run(Command::TestList { id: None, unit: Unit::B });
        list["tests"].as_array().expect("a list").iter().map(|test| number(test, "id")).collect()
    };
    assert_eq!(ids, [2, 1], "the newest first");
    let destroyed = bench.run(Command::TestDestroy { id: Some(one) });
    assert!(number(&destroyed, "chunks") > 3);
    assert_eq!(bench.try_to(Command::TestStop { id: one }), Err(Fault::NoTest { id: one }));
    let list = Command::TestList { id: Some(one), unit: Unit::B };
    assert_eq!(bench.try_to(list), Err(Fault::NoTest { id: one }));
    assert_eq!(number(&bench.run(Command::TestStop { id: other }), "id"), other);
    let left = bench.test(other);
    assert_eq!((left["running"].as_bool(), left["remaining"].as_f64()), (Some(false), Some(0.0)));
    assert_eq!(
        bench.host().chunks(),
        (number(&left, "chunks"), number(&left, "live")),
        "stopped, it keeps them"
    );
    assert_eq!(number(&left, "live"), number(&left, "total_alloc"));
    let destroyed = bench.run(Command::TestDestroyAll);
    assert_eq!(
        (number(&destroyed, "tests"), sum(&destroyed)),
        (1, (number(&left, "live"), number(&left, "chunks")))
    );
    assert_eq!(bench.host().chunks(), (0, 0));
    bench.leave();
}

#[test]
fn at_its_total_a_test_frees_everything_and_begins_again() {
    let mut bench = Bench::new(MEBI);
    // 10 chunks of 10 bytes and one of 5, and then all again.
    let id = bench.start(Plan { min: 10, max: 10, total: 105, ..plan() });
    bench.wait_for(id, |test| number(test, "overflows") > 1000);
    bench.run(Command::TestStop { id });
    let test = bench.test(id);
    let (allocations, overflows) = (number(&test, "allocations"), number(&test, "overflows"));
    assert!((overflows * 11..=overflows * 11 + 11).contains(&allocations), "{test}");
    // It may have been stopped while it was freeing.
    let since = number(&test, "total_alloc") - overflows * 105;
    assert!(number(&test, "live") <= since && since <= 105, "{test}");
    bench.leave();
}

#[test]
fn when_its_time_is_over_a_test_ends_with_nothing_held() {
    let mut bench = Bench::new(64 * MEBI);
    let time = SECOND / 20;
    let paced = Plan { interval: (SECOND / 10_000, SECOND / 1000), time, total: 32 * MEBI, ..plan() };
    // The next allocation would be long after the end.
    let rare = Plan { interval: (3000 * SECOND, 3600 * SECOND), time, ..plan() };
    for plan in [paced, Plan { interval: (0, 0), ..paced }, rare] {
        let id = bench.start(plan);
        let test = bench.wait_for(id, |test| test["running"] == false);
        assert_eq!((number(&test, "chunks"), number(&test, "live")), (0, 0));
        assert!(test["run_time"].as_f64().expect("a number") >= 0.05);
    }
    assert_eq!(bench.host().chunks(), (0, 0));
    bench.leave();
}

#[test]
fn a_mean_rate_is_kept_at_intervals_far_below_those_of_timers() {
    let mut bench = Bench::new(64 * MEBI);
    let (interval, time) = ((5_000, 15_000), SECOND / 5);
    let id = bench.start(Plan { interval, time, total: 32 * MEBI, ..plan() });
    let test = bench.wait_for(id, |test| test["running"] == false);
    // 20 000 are due. None may come before it is due; on a slow machine there are fewer.
    let allocations = number(&test, "allocations");
    assert!((1..=20_500).contains(&allocations), "{allocations}");
    bench.leave();
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let mut bench = Bench::new(MEBI);
    bench.run(Command::Set(Setting::ReallocPercent, 30));
    let totals = [7, 7, 8].map(|seed| {
        bench.host().allow(500);
        let id = bench.start(Plan { max: 9999, total: 60_000, seed: Some(seed), ..plan() });
        let test = bench.wait_for(id, |test| number(test, "errors") > 0);
        bench.run(Command::TestDestroy { id: Some(id) });
        number(&test, "total_alloc")
    });
    assert_eq!(totals[0], totals[1]);
    assert_ne!(totals[0], totals[2]);
    bench.leave();
}

#[test]
fn where_memory_is_short_a_test_counts_errors_and_goes_on() {
    let mut bench = Bench::new(MEBI);
    bench.host().allow(0);
    let id = bench.start(plan());
    let test = bench.wait_for(id, |test| number(test, "errors") > 3);
    assert_eq!(number(&test, "live"), 0);
    bench.host().allow(u64::MAX);
    bench.wait_for(id, |test| number(test, "overflows") > 0);
    let greedy = bench.start(Plan { total: 2 * MEBI, ..plan() });
    bench.wait_for(greedy, |test| number(test, "errors") > 3);
    assert!(bench.host().peak() <= MEBI);
    bench.leave();
}

#[test]
fn there_are_at_most_64_tests() {
    let mut bench = Bench::new(16 * MEBI);
    let idle = Plan { interval: (SECOND, SECOND), ..plan() };
    for _ in 0..64 {
        bench.start(idle);
    }
    assert_eq!(bench.try_to(Command::TestStart(idle)), Err(Fault::TooManyTests { most: 64 }));
    bench.run(Command::TestDestroy { id: Some(7) });
    assert_eq!(bench.start(idle), 65);
    assert_eq!(number(&bench.run(Command::TestDestroy { id: None }), "tests"), 64);
    bench.leave();
}

#[test]
fn many_tests_at_once_keep_their_chunks_apart_and_the_budget() {
    const MOST: u64 = 4 * MEBI;
    let mut bench = Bench::new(MOST);
    bench.run(Command::Set(Setting::CheckContent, 1));
    bench.run(Command::Set(Setting::ReallocPercent, 30));
    let ids: Vec<_> = (0..8)
        .map(|seed| {
            let sizes = [Sizes::Uniform, Sizes::Log, Sizes::Table(b"[[16,5],[1000,1]]")][seed as usize % 3];
            bench.start(Plan { max: 4096, total: MEBI, seed: Some(seed), sizes, ..plan() })
        })
        .collect();
    for (turn, &id) in ids.iter().enumerate() {
        bench.wait_for(id, |test| number(test, "allocations") > 200);
        let filled = bench.try_to(Command::RandomAlloc { min: 1, max: 100, total: 1000 });
        assert!(matches!(filled, Ok(_) | Err(Fault::TooMuch { .. })), "{filled:?}");
        assert_eq!(number(&bench.run(Command::Check), "overwritten_count"), 0);
        if turn % 2 == 0 {
            bench.run(Command::TestStop { id });
        }
    }
    let left = bench.leave();
    assert_eq!(number(&left, "overwritten_count"), 0);
}

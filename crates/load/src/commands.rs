//! Tests: the commands do what they should, with a host that remembers what is allocated.

use std::ptr::NonNull;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use crate::budget::cost;
use crate::command::{Command, Fault, Plan, Setting, Sizes, Unit};
use crate::fake::Fake;
use crate::load::Load;
use crate::manual::Manual;
use crate::pattern;
use crate::writer::Writer;

/// A load and its heap thread, which is the test's.
struct Bench {
    load: &'static Load<Fake>,
    manual: Manual,
}

impl Bench {
    fn new(most: u64) -> Bench {
        let load: &'static Load<Fake> = Box::leak(Box::new(Load::new(Fake::default(), most)));
        load.host().serve(load);
        let manual = Manual::new(load).expect("the first");
        assert!(Manual::new(load).is_none(), "there is only one");
        Bench { load, manual }
    }

    fn host(&self) -> &'static Fake {
        self.load.host()
    }

    fn try_to(&mut self, command: Command<'_>) -> Result<Value, Fault> {
        let mut buffer = vec![0; 64 << 10];
        let mut writer = Writer::new(&mut buffer);
        let done = self.load.execute(&mut self.manual, command, &mut writer);
        assert!(!writer.is_full());
        match done {
            Ok(()) => Ok(serde_json::from_slice(writer.bytes()).expect("JSON")),
            Err(fault) => {
                assert!(writer.bytes().is_empty(), "a fault writes nothing");
                Err(fault)
            }
        }
    }

    fn run(&mut self, command: Command<'_>) -> Value {
        self.try_to(command).expect("the command is carried out")
    }

    fn alloc(&mut self, bytes: u64) -> NonNull<u8> {
        let reply = self.run(Command::Alloc { bytes });
        let digits = reply["address"].as_str().and_then(|text| text.strip_prefix("0x")).expect("an address");
        let address = usize::from_str_radix(digits, 16).expect("hexadecimal");
        NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("not null")
    }

    fn free(&mut self, bytes: u64) -> (u64, u64) {
        sum(&self.run(Command::Free { bytes: Some(bytes), unit: Unit::B }))
    }

    fn free_all(&mut self) -> Value {
        self.run(Command::Free { bytes: None, unit: Unit::B })
    }

    fn used(&mut self) -> (u64, u64) {
        sum(&self.run(Command::Used { unit: Unit::B }))
    }

    fn start(&mut self, plan: Plan<'_>) -> u64 {
        number(&self.run(Command::TestStart(plan)), "id")
    }

    fn test(&mut self, id: u64) -> Value {
        let list = self.run(Command::TestList { id: Some(id), unit: Unit::B });
        list["tests"][0].clone()
    }

    /// Waits until a test is as it should be; there is no limit but the runner's.
    fn wait_for(&mut self, id: u64, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let test = self.test(id);
            if is_so(&test) {
                return test;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn leave(mut self) -> Value {
        let reply = self.run(Command::Leave);
        let host = self.host();
        assert_eq!(host.mapped(), 0, "no bookkeeping stays");
        let deadline = Instant::now() + Duration::from_secs(60);
        while host.threads() > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(host.threads(), 0, "no thread stays");
        assert!(host.peak() <= self.load.budget().most());
        assert_eq!(self.load.budget().bookkeeping(), 0);
        reply
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn sum(value: &Value) -> (u64, u64) {
    (number(value, "bytes"), number(value, "chunks"))
}

const SECOND: u64 = 1_000_000_000;
const MEBI: u64 = 1 << 20;

fn plan() -> Plan<'static> {
    Plan {
        min: 16,
        max: 64,
        total: 4096,
        interval: (0, 0),
        time: 3600 * SECOND,
        sizes: Sizes::Uniform,
        seed: Some(1),
        check_content: None,
        realloc_percent: None,
    }
}

/// Somebody writes where it should not.
fn overwrite(chunk: NonNull<u8>, offset: usize, bytes: &[u8]) {
    for (place, &byte) in (offset..).zip(bytes) {
        // SAFETY: the tests' chunks are so large.
        unsafe { chunk.add(place).write_volatile(byte) };
    }
}

#[test]
fn what_is_allocated_is_held_until_it_is_freed() {
    let mut bench = Bench::new(MEBI);
    let baseline = bench.load.budget().held();
    bench.alloc(100);
    bench.alloc(3000);
    assert_eq!((bench.used(), bench.host().chunks()), ((3100, 2), (2, 3100)));
    assert_eq!(sum(&bench.run(Command::Used { unit: Unit::K })), (3, 2), "whole units, rounded down");
    assert_eq!(sum(&bench.free_all()), (3100, 2));
    assert_eq!((bench.used(), bench.host().chunks()), ((0, 0), (0, 0)));
    assert_eq!(bench.load.budget().held(), baseline);
    assert_eq!(sum(&bench.free_all()), (0, 0));
    bench.alloc(7);
    assert_eq!(sum(&bench.leave()), (7, 1));
}

#[test]
fn at_least_so_much_is_freed_smaller_chunks_first_and_then_the_smallest_larger_one() {
    let mut bench = Bench::new(1 << 30);
    for bytes in [50, 400, 60, 300, 2 * MEBI, 3 * MEBI] {
        bench.alloc(bytes);
    }
    // 60, then of 40 nothing is smaller: the smallest larger one is 50.
    assert_eq!(bench.free(100), (110, 2));
    assert_eq!(bench.free(1), (300, 1));
    assert_eq!(bench.free(2 * MEBI + 1), (2 * MEBI + 400, 2));
    assert_eq!(bench.free(u64::MAX), (3 * MEBI, 1), "no more than there is");
    assert_eq!(bench.free(1), (0, 0));
    bench.leave();
}

#[test]
fn a_resized_chunk_tells_the_difference_with_its_sign() {
    let mut bench = Bench::new(MEBI);
    assert_eq!(bench.try_to(Command::Realloc { bytes: 10, unit: Unit::B }), Err(Fault::NoChunk));
    bench.alloc(5000);
    let mut resize = |bytes, unit| bench.run(Command::Realloc { bytes, unit })["difference"].as_i64();
    assert_eq!(resize(2000, Unit::B), Some(-3000));
    assert_eq!(resize(5000, Unit::K), Some(2));
    assert_eq!(resize(2000, Unit::K), Some(-2));
    assert_eq!((bench.used(), bench.host().chunks()), ((2000, 1), (1, 2000)));
    bench.leave();
}

#[test]
fn random_sizes_make_up_the_total_exactly() {
    let mut bench = Bench::new(64 * MEBI);
    bench.alloc(8 * MEBI);
    bench.run(Command::Set(Setting::ReallocPercent, 50));
    let reply = bench.run(Command::RandomAlloc { min: 16, max: 5000, total: MEBI });
    assert_eq!(number(&reply, "bytes"), MEBI);
    let (allocations, reallocs) = (number(&reply, "allocations"), number(&reply, "reallocs"));
    assert!(reallocs > allocations / 4 && reallocs < allocations, "{reply}");
    assert_eq!(
        bench.used(),
        (9 * MEBI, 1 + allocations - reallocs),
        "the chunk that was there stays as it is"
    );
    bench.leave();
}

#[test]
fn what_nobody_waits_for_any_more_ends_with_what_it_has() {
    let mut bench = Bench::new(64 * MEBI);
    bench.host().leave_after(10);
    let reply = bench.run(Command::RandomAlloc { min: 16, max: 16, total: MEBI });
    assert_eq!((number(&reply, "allocations"), bench.used()), (10, (160, 10)));
    bench.leave();
}

#[test]
fn sizes_beyond_32_bits_are_refused_or_carried_out_but_never_cut() {
    let mut bench = Bench::new(8 << 30);
    for bytes in [9 << 30, 1 << 62, u64::MAX] {
        let refused = bench.try_to(Command::Alloc { bytes });
        assert!(matches!(refused, Err(Fault::TooMuch { .. })), "{refused:?}");
    }
    // Not written to but for a byte a page, so this is cheap enough only because the host maps lazily.
    let mut open = Bench::new(u64::MAX);
    assert_eq!(open.try_to(Command::Alloc { bytes: 1 << 41 }), Err(Fault::NoMemory { failed: 1 }));
    assert_eq!(open.used(), (0, 0));
    open.leave();
    bench.leave();
}

#[test]
fn a_failed_command_leaves_the_budget_as_it_was() {
    let mut bench = Bench::new(MEBI);
    bench.alloc(100);
    let before = bench.load.budget().held();
    bench.host().allow(0);
    assert_eq!(bench.try_to(Command::Alloc { bytes: 10 }), Err(Fault::NoMemory { failed: 1 }));
    let resized = bench.try_to(Command::Realloc { bytes: 10, unit: Unit::B });
    assert_eq!(resized, Err(Fault::NoMemory { failed: 1 }));
    bench.host().allow(u64::MAX);
    bench.host().refuse_maps(true);
    assert_eq!(bench.try_to(Command::TestStart(plan())), Err(Fault::NoMemory { failed: 1 }));
    let mut other = Bench::new(MEBI);
    other.host().refuse_maps(true);
    assert_eq!(other.try_to(Command::Alloc { bytes: 10 }), Err(Fault::NoMemory { failed: 1 }));
    other.leave();
    bench.host().refuse_maps(false);
    let refused = bench.try_to(Command::RandomAlloc { min: 2 * MEBI, max: 2 * MEBI, total: 4 * MEBI });
    assert_eq!(refused, Err(Fault::TooMuch { held: before, most: MEBI }));
    let sizes = Sizes::Table(b"[[1000,1]]");
    assert_eq!(bench.try_to(Command::TestStart(Plan { sizes, ..plan() })), Err(Fault::BadTable));
    bench.host().refuse_threads(true);
    let sizes = Sizes::Table(b"[[20,1]]");
    assert_eq!(bench.try_to(Command::TestStart(Plan { sizes, ..plan() })), Err(Fault::NoThread));
    bench.host().refuse_threads(false);
    assert_eq!(bench.run(Command::TestList { id: None, unit: Unit::B })["tests"], serde_json::json!([]));
    assert_eq!((bench.load.budget().held(), bench.used()), (before, (100, 1)));
    bench.leave();
}

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
fn an_overwritten_chunk_is_described_and_kept() {
    let mut bench = Bench::new(MEBI);
    bench.alloc(64);
    bench.run(Command::Set(Setting::CheckContent, 1));
    assert_eq!(number(&bench.run(Command::Get(Setting::CheckContent)), "value"), 1);
    let chunk = bench.alloc(100);
    let good = bench.alloc(100);
    let place = |offset| pattern::expected(chunk, offset);
    overwrite(chunk, 97, &[!place(97), place(98), !place(99)]);
    let held = bench.load.budget().held();

    let freed = bench.free_all();
    assert_eq!(sum(&freed), (164, 2), "all but the overwritten one");
    assert_eq!(number(&freed, "overwritten_count"), 1);
    let found = &freed["overwritten"][0];
    assert_eq!(found["address"], format!("{chunk:p}"));
    assert_eq!((number(found, "size"), number(found, "offset"), number(found, "length")), (100, 97, 3));
    let hex = |bytes: [u8; 3]| bytes.map(|byte| format!("{byte:02x}")).concat();
    assert_eq!(found["expected"], hex([place(97), place(98), place(99)]));
    assert_eq!(found["found"], hex([!place(97), place(98), !place(99)]));
    assert_eq!((&found["test"], number(found, "number")), (&Value::Null, 2));
    assert_eq!(found["stack"], serde_json::json!(["STACK1"]));

    assert_eq!((bench.used(), bench.host().chunks()), ((100, 1), (1, 100)), "it is kept");
    assert!(bench.load.budget().held() >= cost(100) && bench.load.budget().held() < held);
    let again = bench.free_all();
    assert_eq!((sum(&again), number(&again, "overwritten_count")), ((0, 0), 0), "it is told once");
    assert_eq!(
        number(&bench.run(Command::Check), "overwritten_count"),
        1,
        "but for a check, which tells all"
    );
    let status = bench.run(Command::Status);
    assert_eq!((sum(&status), number(&status, "checked")), ((100, 1), 2), "{good:p} and {chunk:p}");
    let left = bench.leave();
    assert_eq!((sum(&left), number(&left, "overwritten_count")), ((0, 0), 0));
}

#[test]
fn contents_are_looked_at_before_a_chunk_is_resized() {
    let mut bench = Bench::new(MEBI);
    bench.run(Command::Set(Setting::CheckContent, 1));
    let chunk = bench.alloc(1000);
    overwrite(chunk, 8, b"\x00");
    let reply = bench.run(Command::Realloc { bytes: 5000, unit: Unit::B });
    assert_eq!((reply["difference"].as_i64(), number(&reply, "overwritten_count")), (Some(0), 1));
    assert_eq!(bench.host().chunks(), (1, 1000), "it is as it was");
    assert_eq!(bench.try_to(Command::Realloc { bytes: 1, unit: Unit::B }), Err(Fault::NoChunk));
    // One that is as it should be is filled anew where it has moved to.
    bench.alloc(1000);
    for bytes in [20_000, 10, 333] {
        bench.run(Command::Realloc { bytes, unit: Unit::B });
        assert_eq!(number(&bench.run(Command::Check), "overwritten_count"), 1);
    }
    // Nor is one looked at that was resized while contents did not matter.
    bench.run(Command::Set(Setting::CheckContent, 0));
    bench.run(Command::Realloc { bytes: 4000, unit: Unit::B });
    assert_eq!(number(&bench.run(Command::Check), "checked"), 0);
    bench.leave();
}

#[test]
fn a_running_test_looks_at_its_own_chunks_when_asked() {
    let mut bench = Bench::new(MEBI);
    // One that sleeps most of the time, and one that never does.
    let still = Plan { min: 4000, max: 4000, total: 8000, check_content: Some(true), ..plan() };
    let id = bench.start(Plan { interval: (SECOND / 1000, SECOND / 1000), ..still });
    let busy = bench.start(Plan { check_content: Some(true), ..plan() });
    bench.wait_for(id, |test| number(test, "allocations") > 10);
    bench.wait_for(busy, |test| number(test, "overflows") > 2);
    let reply = bench.run(Command::Check);
    assert_eq!(number(&reply, "overwritten_count"), 0);
    bench.run(Command::TestStop { id });
    bench.run(Command::TestStop { id: busy });
    let held = number(&bench.test(id), "chunks") + number(&bench.test(busy), "chunks");
    assert_eq!(number(&bench.run(Command::Check), "checked"), held);
    bench.leave();
}

#[test]
fn a_tests_overwritten_chunk_names_the_test_whoever_finds_it() {
    let mut bench = Bench::new(MEBI);
    let one = Plan { min: 500, max: 500, total: 500, check_content: Some(true), ..plan() };
    // A test that holds one chunk when it is stopped.
    let id = bench.start(one);
    bench.wait_for(id, |test| number(test, "allocations") > 0);
    bench.run(Command::TestStop { id });
    let chunk = bench.host().any_chunk(500).expect("its chunk");
    // No byte of it may be what is there by chance.
    let wrong: [u8; 11] = std::array::from_fn(|offset| pattern::expected(chunk, offset as u64) ^ 1);
    overwrite(chunk, 0, &wrong);
    let destroyed = bench.run(Command::TestDestroy { id: Some(id) });
    assert_eq!((sum(&destroyed), number(&destroyed, "overwritten_count")), ((0, 0), 1));
    let found = &destroyed["overwritten"][0];
    assert_eq!((number(found, "test"), number(found, "offset"), number(found, "length")), (id, 0, 11));
    assert_eq!(found["found"], wrong.map(|byte| format!("{byte:02x}")).concat());
    assert_eq!(sum(&bench.run(Command::Status)), (500, 1), "it is still there");

    // One that runs finds it itself, and goes on. While it gets no memory, its chunks stay.
    let id = bench.start(Plan { min: 600, max: 600, total: 60_000, ..one });
    bench.wait_for(id, |test| number(test, "overflows") > 0 && number(test, "chunks") > 0);
    bench.host().allow(0);
    let errors = number(&bench.test(id), "errors");
    bench.wait_for(id, |test| number(test, "errors") > errors + 1);
    if let Some(chunk) = bench.host().any_chunk(600) {
        overwrite(chunk, 599, &[!pattern::expected(chunk, 599)]);
        let check = bench.run(Command::Check);
        assert_eq!(number(&check, "overwritten_count"), 2);
        assert_eq!(
            (number(&check["overwritten"][1], "test"), number(&check["overwritten"][1], "offset")),
            (id, 599)
        );
        let test = bench.test(id);
        assert_eq!((test["running"].as_bool(), number(&test, "overwritten")), (Some(true), 1));
        bench.host().allow(u64::MAX);
        let overflows = number(&test, "overflows");
        bench.wait_for(id, |test| number(test, "overflows") > overflows + 1);
        let destroyed = bench.run(Command::TestDestroy { id: Some(id) });
        assert_eq!(number(&destroyed, "overwritten_count"), 0, "it was found before");
        assert_eq!(bench.host().chunks(), (2, 1100), "both are still there");
    }
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

/// A command of a random sequence.
fn command() -> impl Strategy<Value = Command<'static>> {
    let bytes = || prop_oneof![3 => 1_u64..200, 2 => 1_u64..40_000, 1 => Just(u64::MAX)];
    prop_oneof![
        4 => bytes().prop_map(|bytes| Command::Alloc { bytes }),
        2 => bytes().prop_map(|bytes| Command::Free { bytes: Some(bytes), unit: Unit::B }),
        1 => Just(Command::Free { bytes: None, unit: Unit::B }),
        2 => bytes().prop_map(|bytes| Command::Realloc { bytes, unit: Unit::B }),
        1 => (1_u64..100, 0_u64..5000, 1_u64..9000)
            .prop_map(|(min, more, total)| Command::RandomAlloc { min, max: min + more, total }),
        1 => (0_u64..2).prop_map(|value| Command::Set(Setting::CheckContent, value)),
        1 => (0_u64..200).prop_map(|value| Command::Set(Setting::ReallocPercent, value)),
        1 => Just(Command::Check),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_commands_hold_what_they_say_and_never_more_than_they_may(
        commands in prop::collection::vec(command(), 1..60), most in 12_000_u64..400_000,
    ) {
        let mut bench = Bench::new(most);
        let (mut bytes, mut random) = (0_i128, false);
        for command in commands {
            match (command, bench.try_to(command)) {
                (Command::Alloc { bytes: more }, Ok(_)) => bytes += i128::from(more),
                (Command::Free { bytes: least, .. }, Ok(reply)) => {
                    let (freed, _) = sum(&reply);
                    prop_assert!(i128::from(freed) >= i128::from(least.unwrap_or(u64::MAX)).min(bytes));
                    bytes -= i128::from(freed);
                }
                (Command::Realloc { .. }, Ok(reply)) => {
                    bytes += i128::from(reply["difference"].as_i64().expect("a number"));
                }
                (Command::RandomAlloc { total, .. }, Ok(reply)) => {
                    prop_assert_eq!(number(&reply, "bytes"), total);
                    bytes += i128::from(total);
                }
                // What it allocated before it failed is held.
                (Command::RandomAlloc { .. }, Err(_)) => random = true,
                (_, Ok(reply)) => prop_assert!(reply["overwritten_count"].as_u64().is_none_or(|count| count == 0)),
                (_, Err(fault)) => prop_assert!(!matches!(fault, Fault::NoMemory { .. }), "{fault:?}"),
            }
            let (used, chunks) = bench.used();
            if std::mem::take(&mut random) {
                bytes = i128::from(used);
            }
            prop_assert_eq!(i128::from(used), bytes);
            prop_assert_eq!(bench.host().chunks(), (chunks, used));
            let budget = bench.load.budget();
            let exact = bench.host().cost() + budget.bookkeeping();
            prop_assert!(budget.held() == exact && exact <= most, "{} {exact} {most}", budget.held());
        }
        bench.leave();
    }
}

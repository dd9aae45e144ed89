//! Chunks whose contents are looked at.

use std::ptr::NonNull;

use serde_json::Value;

use super::{Bench, MEBI, SECOND, number, plan, sum};
use crate::budget::cost;
use crate::command::{Command, Fault, Plan, Setting, Unit};
use crate::pattern;

/// Somebody writes where it should not.
fn overwrite(chunk: NonNull<u8>, offset: usize, bytes: &[u8]) {
    for (place, &byte) in (offset..).zip(bytes) {
        // SAFETY: the tests' chunks are so large.
        unsafe { chunk.add(place).write_volatile(byte) };
    }
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

//! Chunks that commands allocate, resize and free.

use super::{Bench, MEBI, number, plan, sum};
use crate::command::{Command, Fault, Plan, Setting, Sizes, Unit};

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

//! The longer results: tests, overwritten chunks, the status.

use core::sync::atomic::Ordering;

use crate::command::Unit;
use crate::host::Host;
use crate::load::{Load, member};
use crate::manual::Manual;
use crate::overwritten::Record;
use crate::test::{Place, Test, bit};
use crate::tests::TESTS;
use crate::writer::Writer;

/// Overwritten chunks that a result describes; it counts all.
const DESCRIBED: usize = 32;
/// Room that is left for what comes behind descriptions.
const BEHIND: usize = 512;
/// Room that modules leave for descriptions.
const FOR_DESCRIPTIONS: usize = 64 << 10;

impl<H: Host> Load<H> {
    /// Members that describe overwritten chunks, those that the command `finder` found or all, and say how many there are.
    pub(crate) fn write_overwritten(&self, to: &mut Writer<'_>, finder: Option<u64>, count: u64) {
        if count > 0 {
            self.write_modules(to);
        }
        to.name("overwritten");
        to.begin_array();
        let ours = |record: &&Record| finder.is_none_or(|finder| record.finder == finder);
        for record in self.overwritten().records().filter(ours).take(DESCRIBED) {
            let mark = to.mark();
            self.write_record(to, record);
            if to.is_full() || to.room() < BEHIND {
                to.back(mark);
                break;
            }
        }
        to.end_array();
        member(to, "overwritten_count", count);
    }

    /// What modules frames may be in; nothing where these are so many that they would leave no room.
    fn write_modules(&self, to: &mut Writer<'_>) {
        let mark = to.mark();
        to.name("modules");
        to.begin_array();
        self.host().modules(to);
        to.end_array();
        if to.is_full() || to.room() < FOR_DESCRIPTIONS {
            to.back(mark);
        }
    }

    fn write_record(&self, to: &mut Writer<'_>, record: &Record) {
        to.begin_object();
        to.name("address");
        to.address(record.address);
        member(to, "size", record.bytes);
        member(to, "offset", record.difference.offset);
        member(to, "length", record.difference.length);
        to.name("expected");
        to.hex(record.expected());
        to.name("found");
        to.hex(record.found());
        to.name("test");
        match record.origin.test {
            0 => to.value(b"null"),
            id => to.number(id),
        }
        member(to, "number", record.number);
        let (stack, offset) = (record.origin.stack, record.difference.offset);
        self.host().describe(stack, offset, &record.surroundings, to);
        to.end_object();
    }

    /// The member `tests`: all or the one with this id, the newest first.
    pub(crate) fn write_tests(&self, to: &mut Writer<'_>, manual: &Manual, id: Option<u64>, unit: Unit) {
        to.name("tests");
        to.begin_array();
        let mut sorted = [None; TESTS];
        for (entry, test) in sorted.iter_mut().zip(self.tests(manual)) {
            *entry = Some(test);
        }
        sorted.sort_unstable_by_key(|entry| core::cmp::Reverse(entry.map_or(0, |(_, test)| test.id)));
        let now = self.host().now();
        for (place, test) in sorted.into_iter().flatten() {
            if id.is_none_or(|id| id == test.id) {
                write_test(to, place, test, now, unit);
            }
        }
        to.end_array();
    }

    /// Members that say what the load comes to.
    pub(crate) fn write_status(&self, to: &mut Writer<'_>, manual: &Manual) {
        let (mut present, mut checked, mut tests) = (manual.present(), manual.checked(), 0);
        for (_, test) in self.tests(manual) {
            present += test.counters.present();
            checked += test.counters.checked.get();
            tests += 1;
        }
        member(to, "tests", tests);
        member(to, "chunks", present.chunks);
        member(to, "bytes", present.bytes);
        member(to, "held", self.budget().held());
        member(to, "most", self.budget().most());
        member(to, "bookkeeping", self.budget().bookkeeping());
        member(to, "checked", checked);
        self.host().status(to);
        self.write_overwritten(to, None, self.overwritten().count());
    }
}

fn write_test(to: &mut Writer<'_>, place: &Place, test: &Test, now: u64, unit: Unit) {
    let running = place.word.load(Ordering::Acquire) & bit::RUNNING != 0;
    let until = if running { now } else { test.ended.load(Ordering::Relaxed) };
    let remaining = if running { test.end.saturating_sub(now) } else { 0 };
    let counters = &test.counters;
    let present = counters.present();
    to.begin_object();
    member(to, "id", test.id);
    to.name("run_time");
    to.seconds(until.saturating_sub(test.start));
    to.name("remaining");
    to.seconds(remaining);
    member(to, "allocations", counters.allocations.get());
    member(to, "reallocs", counters.reallocs.get());
    member(to, "errors", counters.errors.get());
    member(to, "overflows", counters.overflows.get());
    for (name, bytes) in [
        ("total_alloc", counters.allocated.get()),
        ("min", test.min),
        ("max", test.max),
        ("total", test.total),
        ("live", present.bytes),
    ] {
        member(to, name, bytes >> unit.shift());
    }
    member(to, "chunks", present.chunks);
    member(to, "checked", counters.checked.get());
    member(to, "overwritten", present.overwritten);
    to.name("running");
    to.boolean(running);
    to.end_object();
}

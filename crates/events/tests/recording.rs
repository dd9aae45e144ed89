//! Recordings: what is written is read back, whole or while it grows, and any bytes are survived.

mod judge;

use std::fs;
use std::path::Path;

use memtrial_events::merge::Merger;
use memtrial_events::recording::{Follower, Recording, RecordingError, Writer};
use memtrial_events::value::Missing;
use memtrial_events::{Class, Hit, Table, Value};
use proptest::prelude::*;

use crate::judge::recording::{event, judge, table};

fn value(class: Class) -> BoxedStrategy<Value> {
    let there = match class {
        Class::Signed(_) => any::<i64>().prop_map(Value::Signed).boxed(),
        Class::Float(_) => (-1e9..1e9).prop_map(Value::Float).boxed(),
        Class::Text => (proptest::collection::vec(any::<u8>(), 0..40), any::<bool>())
            .prop_map(|(bytes, cut)| Value::Text { bytes, cut })
            .boxed(),
        Class::Unsigned(_) | Class::Pointer => any::<u64>().prop_map(Value::Unsigned).boxed(),
    };
    let missing = proptest::sample::select(vec![Missing::Fault, Missing::Operand, Missing::Absent]);
    prop_oneof![8 => there, 1 => missing.prop_map(Value::Missing)].boxed()
}

/// An event and its values, a process and a thread, how long after the one before, and whether what is there is then
/// written.
type Step = (usize, Vec<Value>, u32, u32, u64, bool);

fn step() -> impl Strategy<Value = Step> {
    let events = table().events;
    (0..events.len()).prop_flat_map(move |number| {
        let values: Vec<_> =
            events[number].parameters.iter().map(|parameter| value(parameter.class)).collect();
        (Just(number), values, 1..3u32, 1..4u32, 1..1000u64, proptest::bool::weighted(0.1))
    })
}

fn hits(steps: &[Step]) -> Vec<(Hit, bool)> {
    let mut time = 1_000_000_000;
    let hit = |(event, values, pid, tid, after, flush): &Step| {
        time += after;
        let (event, values, stack) = (*event, values.clone(), None);
        (Hit { event, time, pid: *pid, tid: *tid, values, stack }, *flush)
    };
    steps.iter().map(hit).collect()
}

fn read(path: &Path) -> (Recording, Vec<Hit>, u64) {
    let recording = Recording::open(path).expect("a recording");
    let mut hits = recording.hits();
    let read = hits.by_ref().collect::<Result<Vec<Hit>, _>>().expect("the file can be read");
    let damaged = hits.damaged() + hits.absent();
    (recording, read, damaged)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_back(steps in proptest::collection::vec(step(), 0..300)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("recording");
        let table = table();
        let mut writer = Writer::create(&path, &table).expect("a writer");
        let mut follower = Follower::open(&path).expect("a follower");
        let mut merger = Merger::new();
        let mut written = Vec::new();
        for (hit, flush) in hits(&steps) {
            writer.hit(&table, &hit).expect("written");
            if flush {
                writer.flush().expect("written");
                follower.poll().expect("read").into_iter().for_each(|hit| merger.push(hit));
            }
            written.push(hit);
        }
        writer.lost(3);
        writer.flush().expect("written");
        follower.poll().expect("read").into_iter().for_each(|hit| merger.push(hit));
        let (recording, found, damaged) = read(&path);
        prop_assert_eq!(&found, &written);
        prop_assert_eq!(merger.finish().collect::<Vec<_>>(), written);
        prop_assert_eq!((damaged, follower.damaged()), (0, 0));
        prop_assert_eq!((recording.dropped(), follower.dropped()), (3, 3));
        prop_assert_eq!(recording.table().wall_offset, table.wall_offset);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        judge(&bytes);
    }
}

/// A recording of so many hits of two threads, with a text in each.
fn written(path: &Path, count: u64) -> Table {
    let table = table();
    let mut writer = Writer::create(path, &table).expect("a writer");
    for number in 0..count {
        let values = vec![Value::Text { bytes: format!("number {number}").into_bytes(), cut: false }];
        let hit =
            Hit { event: 2, time: 1000 + number, pid: 1, tid: (number % 2) as u32 + 1, values, stack: None };
        writer.hit(&table, &hit).expect("written");
    }
    writer.flush().expect("written");
    table
}

#[test]
fn a_thread_that_fills_chunks_is_read_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("recording");
    written(&path, 20_000);
    let (_, found, damaged) = read(&path);
    assert_eq!((found.len(), damaged), (20_000, 0));
    assert!(found.iter().zip(1000..).all(|(hit, time)| hit.time == time));
    let mut follower = Follower::open(&path).expect("a follower");
    assert_eq!(follower.poll().expect("read").len(), 20_000);
}

#[test]
fn a_recording_that_is_cut_anywhere_keeps_what_is_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, cut) = (folder.path().join("recording"), folder.path().join("cut"));
    written(&path, 6000);
    let bytes = fs::read(&path).expect("read");
    let mut most = 0;
    for length in (0..bytes.len()).step_by(4999) {
        fs::write(&cut, &bytes[..length]).expect("written");
        let Ok(recording) = Recording::open(&cut) else {
            assert!(length < 8192, "{length}");
            continue;
        };
        let mut hits = recording.hits();
        let found = hits.by_ref().filter(|hit| hit.is_ok()).count();
        assert!(found >= most && hits.damaged() + hits.absent() > 0, "{length}");
        most = found;
    }
    assert!(most > 4000, "{most}");
}

#[test]
fn a_text_that_is_null_or_too_long_and_events_that_come_later_are_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("recording");
    let mut table = table();
    let mut writer = Writer::create(&path, &table).expect("a writer");
    let hit = |event, time, value| Hit { event, time, pid: 1, tid: 1, values: vec![value], stack: None };
    let long = Value::Text { bytes: vec![b'x'; 5000], cut: false };
    writer.hit(&table, &hit(2, 1, Value::Unsigned(0))).expect("written");
    writer.hit(&table, &hit(2, 2, long)).expect("written");
    table.events.push(event("later", &[Class::Signed(2)]));
    writer.hit(&table, &hit(3, 3, Value::Signed(-5))).expect("written");
    writer.hit(&table, &hit(9, 4, Value::Signed(-5))).expect("written");
    writer.flush().expect("written");
    let (recording, found, _) = read(&path);
    let values: Vec<Value> = found.into_iter().flat_map(|hit| hit.values).collect();
    let cut = Value::Text { bytes: vec![b'x'; 1024], cut: true };
    assert_eq!(values, [Value::Unsigned(0), cut, Value::Signed(-5)]);
    assert_eq!(recording.dropped(), 1, "what is in no table is lost");
    assert_eq!(recording.table().events[3].full_name(), "test:later");
}

#[test]
fn events_of_hostile_names_do_not_spoil_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("recording");
    let mut hostile = event("a(b\n#\\", &[Class::Unsigned(4), Class::Text]);
    hostile.provider = "#x disable ".to_owned();
    hostile.parameters[0].text = "int (*f)(void), ".to_owned();
    hostile.parameters[0].name = "\"".to_owned();
    hostile.format = Some("%s \" \\ %".to_owned());
    let table = Table { events: vec![hostile.clone(), event("", &[Class::Float(4)])], wall_offset: -5 };
    let mut writer = Writer::create(&path, &table).expect("a writer");
    writer.flush().expect("written");
    let read = Recording::open(&path).expect("a recording");
    let classes = |table: &Table| -> Vec<Vec<Class>> {
        let of = |event: &memtrial_events::Event| {
            event.parameters.iter().map(|parameter| parameter.class).collect()
        };
        table.events.iter().map(of).collect()
    };
    assert_eq!(classes(read.table()), classes(&table));
}

#[test]
fn what_is_no_recording_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    for (bytes, expected) in [
        (&b""[..], "but empty"),
        (b"\x7fELF\x02\x01", "an ELF file"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"1@2.3:alloc\n", "but text"),
        (b"\x01\x02\x03", "data of another kind"),
        (b"mtevents\x01\0\0\0", "version 1"),
        (b"mtevents\x02\0\0\0", "cut"),
    ] {
        fs::write(&path, bytes).expect("written");
        let said = Recording::open(&path).expect_err("no recording").to_string();
        assert!(said.contains(expected), "{said}");
    }
    assert!(matches!(Recording::open(folder.path()), Err(RecordingError::Other { .. })));
    assert!(matches!(Recording::open(Path::new("/dev/zero")), Err(RecordingError::Other { .. })));
    assert!(matches!(Follower::open(&folder.path().join("none")), Err(RecordingError::Io { .. })));
}

#[test]
fn many_chunks_are_followed_part_by_part_and_given_back_once_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("recording");
    // Some 50 chunks of two threads.
    written(&path, 100_000);
    let mut follower = Follower::open(&path).expect("a follower");
    let (mut merger, mut found, mut read, mut parts) = (Merger::new(), Vec::new(), Vec::new(), 0);
    loop {
        let hits = follower.poll().expect("read");
        hits.into_iter().for_each(|hit| merger.push(hit));
        read.extend(follower.take_read());
        parts += 1;
        match follower.complete_until() {
            Some(until) => found.extend(merger.release(until)),
            None => break,
        }
    }
    found.extend(merger.finish());
    assert!(parts > 1 && found.len() == 100_000, "{parts} {}", found.len());
    assert!(found.iter().zip(1000..).all(|(hit, time)| hit.time == time));
    // All but the two that the threads could still write to.
    read.sort_unstable();
    read.dedup();
    assert_eq!(
        read.len() as u64 + 2,
        (fs::metadata(&path).expect("it is there").len() - read[0]).div_ceil(1 << 16)
    );
}

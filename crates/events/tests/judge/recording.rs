//! What must hold of any bytes that are taken for a recording; asked by a property test and by a fuzz target.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memtrial_events::recording::{Follower, Recording, Writer};
use memtrial_events::{Class, Event, Parameter, Table};
use memtrial_wire::recording::{CHUNK, HEAD};

/// An event with parameters of these classes.
pub fn event(name: &str, classes: &[Class]) -> Event {
    let parameter = |(number, class): (usize, &Class)| Parameter {
        name: format!("p{number}"),
        text: "unknown_t".to_owned(),
        class: *class,
    };
    Event {
        provider: "test".to_owned(),
        name: name.to_owned(),
        parameters: classes.iter().enumerate().map(parameter).collect(),
        format: None,
    }
}

/// Events with all classes of parameters.
pub fn table() -> Table {
    let classes = [
        Class::Signed(4),
        Class::Text,
        Class::Pointer,
        Class::Float(8),
        Class::Unsigned(8),
        Class::Text,
        Class::Float(4),
        Class::Unsigned(1),
    ];
    let events = vec![event("none", &[]), event("all", &classes), event("text", &[Class::Text])];
    Table { events, wall_offset: 1_700_000_000_000_000_000 }
}

/// Takes the bytes for a whole recording, for a table, and for a chunk.
pub fn judge(bytes: &[u8]) {
    // In memory where there is room, for a fuzzer's sake.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let file = folder.path().join("recording");
    fs::write(&file, bytes).expect("written");
    read(&file);

    // Recordings in order but for their table, and but for their chunks.
    let changed = in_order(&file, 0);
    changed.write_all_at(&(bytes.len() as u64).to_le_bytes(), 32).expect("written");
    changed.write_all_at(bytes, HEAD as u64).expect("written");
    read(&file);

    let changed = in_order(&file, 3);
    let mut chunks_at = [0; 8];
    changed.read_exact_at(&mut chunks_at, 40).expect("read");
    let chunks_at = u64::from_le_bytes(chunks_at);
    changed.write_all_at(bytes, chunks_at).expect("written");
    changed.write_all_at(bytes, chunks_at + CHUNK as u64).expect("written");
    read(&file);
}

/// A recording of no hits, which claims so many chunks.
fn in_order(file: &Path, chunks: u64) -> File {
    Writer::create(file, &table()).and_then(|mut writer| writer.flush()).expect("written");
    let whole = OpenOptions::new().read(true).write(true).open(file).expect("opened");
    whole.write_all_at(&chunks.to_le_bytes(), 56).expect("written");
    whole
}

/// Reads a file in both ways.
fn read(file: &Path) {
    let (recording, follower) = (Recording::open(file), Follower::open(file));
    assert_eq!(recording.is_ok(), follower.is_ok(), "{recording:?} {follower:?}");
    let (Ok(recording), Ok(mut follower)) = (recording, follower) else { return };
    let mut count = 0;
    for hit in recording.hits() {
        let hit = hit.expect("the file can be read");
        assert_eq!(hit.values.len(), recording.table().events[hit.event].parameters.len());
        count += 1;
    }
    let mut followed = follower.poll().expect("the file can be read").len();
    while follower.complete_until().is_some() {
        followed += follower.poll().expect("the file can be read").len();
    }
    assert_eq!(followed, count);
    assert!(follower.poll().expect("the file can be read").is_empty());
    assert_eq!(follower.dropped(), recording.dropped());
}

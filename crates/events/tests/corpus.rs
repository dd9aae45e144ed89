//! What the fuzzer has found to be worth keeping, judged again.

mod judge;

use std::path::Path;

/// Judges each file of a part of the corpus.
fn replay(part: &str, least: usize, judge: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(part);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus") {
        judge(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
        files += 1;
    }
    assert!(files >= least, "only {files} in {}", folder.display());
}

#[test]
fn every_description_of_the_corpus_is_read_rightly() {
    replay("description", 8, judge::description::judge);
}

#[test]
fn every_recording_of_the_corpus_is_survived() {
    replay("recording", 17, judge::recording::judge);
}

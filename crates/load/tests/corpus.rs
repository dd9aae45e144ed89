//! What the fuzzer has found to be worth keeping, judged again.

mod judge;

use std::path::Path;

#[test]
fn every_stream_of_the_corpus_is_answered_rightly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/request");
    let mut streams = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus") {
        judge::judge(&std::fs::read(entry.expect("an entry").path()).expect("a stream"));
        streams += 1;
    }
    assert!(streams >= 12, "only {streams} in {}", folder.display());
}

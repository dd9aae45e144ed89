//! What the fuzzer has found to be worth keeping, judged again.

mod judge;

use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus");
    let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.expect("an entry").path());
    let files: Vec<Vec<u8>> = entries.map(|entry| read(entry).expect("an input")).collect();
    assert!(files.len() >= 6, "only {} in {}", files.len(), folder.display());
    files
}

#[test]
fn all_notes_of_the_corpus_are_survived() {
    corpus("notes").iter().for_each(|bytes| judge::judge_notes(bytes));
}

#[test]
fn all_operands_of_the_corpus_are_survived() {
    corpus("operand").iter().for_each(|bytes| judge::judge_operands(&String::from_utf8_lossy(bytes)));
}

//! Any bytes in the section of the notes of static probes: nothing panics, and each note that is read makes sense.
#![no_main]

#[path = "../../crates/symbols/tests/judge/mod.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| judge::judge_notes(bytes));

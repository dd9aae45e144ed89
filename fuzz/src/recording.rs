//! Any bytes that a file may hold which is taken for a recording: nothing panics, and both readers find the same.
#![no_main]

#[path = "../../crates/events/tests/judge/recording.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| judge::judge(bytes));

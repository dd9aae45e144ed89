//! Any text for the arguments of a static probe: nothing panics, and each argument is understood or said not to be.
#![no_main]

#[path = "../../crates/symbols/tests/judge/mod.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| judge::judge_operands(&String::from_utf8_lossy(bytes)));

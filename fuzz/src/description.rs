//! Any text as a description of events: nothing panics, and what was understood can be written and read again.
#![no_main]

#[path = "../../crates/events/tests/judge/description.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|text: &[u8]| judge::judge(text));

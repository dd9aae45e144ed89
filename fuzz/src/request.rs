//! Any bytes that a client may send to the control socket: nothing panics, and the replies are those of the protocol.
#![no_main]

#[path = "../../crates/load/tests/judge/mod.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| judge::judge(stream));

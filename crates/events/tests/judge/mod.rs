//! What must hold of whatever the fuzzer makes; asked by it, by property tests, and of its corpus.
#![allow(dead_code, reason = "not every test judges everything")]

pub mod description;
pub mod recording;

//! Findings, the record of a run, and their renderings.
#![forbid(unsafe_code)]

pub mod json;
pub mod model;
pub mod store;
pub mod terminal;

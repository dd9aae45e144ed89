//! Findings, the record of a run, and their renderings.
#![forbid(unsafe_code)]

pub mod model;

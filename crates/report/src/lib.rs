//! Findings, the record of a run, and their renderings.
#![forbid(unsafe_code)]

pub mod csv;
pub mod doctor;
mod dump;
pub mod frames;
pub mod html;
pub mod json;
pub mod junit;
pub mod leak;
pub mod model;
pub mod results;
pub mod sarif;
pub mod store;
pub mod stress;
pub mod terminal;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod trial;
pub mod wording;

//! The parts of the harness, one concern each.

pub mod executable;
pub mod memtrial;
pub mod outcomes;
pub mod preload;
pub mod processes;
pub mod programs;
pub mod targets;
pub mod workshop;

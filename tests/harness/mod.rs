//! The parts of the harness, one concern each.

pub mod browser;
pub mod clients;
pub mod control_socket;
pub mod daemon;
pub mod executable;
pub mod hits;
pub mod leak_targets;
pub mod leaks;
pub mod memtrial;
pub mod outcomes;
pub mod packaged;
pub mod preload;
pub mod processes;
pub mod programs;
pub mod secure_shell;
pub mod stress;
pub mod stress_targets;
pub mod targets;
pub mod trace;
pub mod trace_targets;
pub mod workshop;

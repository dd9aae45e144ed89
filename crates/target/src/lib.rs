//! Starting, isolating, watching and ending the programs that are on trial.

pub mod attach;
mod bpf;
pub mod clock;
pub mod control;
pub mod copied;
pub mod crash;
mod descriptors;
pub mod files;
pub mod filter;
pub mod foreground;
pub mod interrupt;
pub mod isolation;
pub mod keeper;
pub mod launch;
pub mod limit;
pub mod live;
pub mod machine;
pub mod memory;
pub mod memory_of;
pub mod observe;
pub mod preflight;
pub mod probes;
pub mod processes;
pub mod rest;
pub mod scratch;
pub mod uprobes;
pub mod watch;

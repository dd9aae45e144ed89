//! Starting, isolating, watching and ending the programs that are on trial.

pub mod crash;
pub mod filter;
pub mod foreground;
pub mod isolation;
pub mod keeper;
pub mod launch;
pub mod memory;
pub mod preflight;
pub mod processes;
pub mod scratch;
pub mod watch;

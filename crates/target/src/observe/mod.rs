//! Looking at processes from outside, on this machine or another: what memory they hold, and commands run beside them.

mod action;
mod connection;
mod exit_sample;
mod glance;
mod here;
mod place;
mod procfs;
pub mod server;
mod settled;
mod shell;
mod ssh;
mod wire;

pub use exit_sample::run_to_exit;
pub use here::Here;
pub(crate) use here::{processes, stat_of};
pub use place::{ActionEnd, Area, Identity, ObserveError, Place, Reading};
pub(crate) use procfs::below;
pub use procfs::mapped;
pub use settled::{settled, settled_all};
pub use ssh::{SSH_VARIABLE, There, Way};

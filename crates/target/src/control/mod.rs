//! The control socket of an agent: how it comes into the process, and how it is talked to.

mod allocator;
mod client;
mod handover;
mod runtime;
mod session;

pub use client::{Client, ClientError};
pub(crate) use runtime::try_listen;
pub use runtime::{remove, socket_path};
pub use session::{ControlError, Expected, Session, agent_threads, clean_up, wait_for_threads};

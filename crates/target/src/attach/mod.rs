//! Getting a library into a running process, and the process's calls to it; and out of its way again.

mod access;
mod enter;
mod error;
mod image;
mod modules;
mod remote_call;
mod safe_point;
mod slots;
mod stack;
mod stopped;
mod tracee;

pub use access::{give_access, refused};
pub use enter::{Entered, call, enter};
pub use error::AttachError;
pub use slots::{Slots, definitions};
pub use stack::SafePoint;
pub use stopped::Stopped;
pub(crate) use tracee::can_trace;

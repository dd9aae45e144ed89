//! Following the blocks of a process from outside, by probes of the kernel on the functions of its allocator.
//!
//! Nothing of ours gets into the process but breakpoints, which the kernel puts into its copy of the code and takes
//! out again when the last descriptor is closed. At each call the kernel copies registers and the innermost part of
//! the stack into a ring, which is read and unwound here.

mod calls;
mod error;
mod events;
mod follow;
mod live;
mod program;
mod record;
mod ring;
mod site;
mod stacks;

pub use error::UprobeError;
pub use follow::Uprobes;
pub use live::{LiveBlock, LiveBlocks, StackCounts};

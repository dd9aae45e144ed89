//! Hits of static probes, from the kernel: a BPF program made for the operands of each site fetches the arguments, and a
//! ring brings them here. Nothing is left behind when the descriptors are closed, however this process ends.

mod attached;
mod code;
mod error;
mod hit;
mod layout;
mod ring;
mod stacks;
mod tracer;

use std::path::PathBuf;

use memtrial_symbols::probes::Site;

pub use error::ProbesError;
pub use hit::RawHit;
pub use stacks::ProcessStacks;
pub use tracer::{Tracer, Unwatched};

/// A site to be watched, in the file that it is in.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The file; for a process in a container through `/proc/PID/root`.
    pub file: PathBuf,
    /// Where it is, and its arguments.
    pub site: Site,
    /// Which of the arguments are addresses of texts, to be fetched too.
    pub texts: Vec<bool>,
}

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// Nothing: hits are counted in the kernel.
    Counts,
    /// Arguments.
    Arguments,
    /// Arguments, and the stack.
    Stacks,
}

//! Unwinding by .eh_frame without allocating: what the agent uses at every allocation.

mod rule;

pub use rule::{Cfa, FrameInfo, Rule};

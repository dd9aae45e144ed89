//! `memtrial stress`: load on the heap of a running process, or of an allocator by itself, and what came of it.

pub(crate) mod allocators;
pub mod answers;
mod ending;
mod findings;
mod loaded;
pub mod options;
pub mod overwrites;
mod plan;
mod probe;
mod sampling;
pub mod subject;
mod suspects;
#[cfg(test)]
mod testing;
pub mod trial;

//! `memtrial leak`: does it grow round after round, and which call stacks?

pub mod blocks;
pub mod comparison;
mod entry;
mod findings;
mod followed;
pub mod journal;
mod least_squares;
mod locate;
mod located;
pub mod looks;
mod maps;
pub mod options;
pub mod places;
mod program;
mod reach;
mod rounds;
mod seen;
pub mod series;
mod shape;
mod subject;
mod trend;
pub mod trial;
pub mod watched;

pub(crate) use followed::allocator_of;
pub use trial::{LeakError, Phase, Progress};

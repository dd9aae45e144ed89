//! `memtrial oom`: what happens when each single allocation fails?

mod compare;
mod confirm;
mod error;
mod findings;
mod judge;
pub mod lab;
pub mod options;
mod plan;
mod reference;
mod rerun;
mod snapshot;
pub mod trial;
pub mod under;

pub use error::OomError;
pub use trial::{Progress, run};

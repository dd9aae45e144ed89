//! `memtrial oom`: what happens when each single allocation fails?

pub mod campaign;
mod compare;
mod confirm;
mod findings;
mod judge;
pub mod lab;
pub mod options;
mod plan;
mod reference;
mod rerun;
mod snapshot;
pub mod under;

pub use campaign::{CampaignError, Progress, run};

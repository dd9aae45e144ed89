//! The trials: each plans, runs and judges; none prints.
#![forbid(unsafe_code)]

pub mod census;
pub mod leak;
pub mod oom;
pub mod redirect;
pub mod served;
pub mod signal;
pub mod stress;
pub mod trace;

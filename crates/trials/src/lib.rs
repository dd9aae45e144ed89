//! The trials: each plans, runs and judges; none prints.
#![forbid(unsafe_code)]

pub mod oom;

//! What the agent and the controller share: the layout of their memory, faults, and names of things.
#![no_std]
#![forbid(unsafe_code)]

pub mod decision;
pub mod fault;
pub mod glob;
pub mod layout;
pub mod line;
pub mod live;
pub mod recording;
pub mod site;
pub mod tracing;

//! `trace`: what a program and its allocator do, live.

pub mod attach;
pub mod backends;
pub mod catalog;
pub mod descriptions;
pub mod exec;
pub mod family;
pub mod listing;
pub mod live;
pub mod logging;
pub mod memory_events;
pub mod nearest;
pub mod outsiders;
pub mod site_stacks;
pub mod static_probes;
pub mod switch;
pub mod tree;

//! Events that memtrial traces: what they are called, what they carry, how they are selected, and how they are written
//! down. Nothing here looks at a process.
#![forbid(unsafe_code)]

pub mod description;
pub mod escape;
pub mod event;
pub mod format;
pub mod generate;
pub mod hit;
pub mod memory;
pub mod merge;
mod number;
pub mod pattern;
pub mod recording;
pub mod render;
pub mod value;

pub use event::{Class, Event, Parameter};
pub use hit::{Hit, Table};
pub use memory::memory;
pub use pattern::Selection;
pub use render::{render, render_into};
pub use value::Value;

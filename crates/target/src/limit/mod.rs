//! Limits on the memory of a running process: by a control group of its own, else by its address space.

mod address_space;
mod group;
mod hierarchy;
mod limited;

pub use limited::{Kind, LimitError, Limited, clean_up, record_of};

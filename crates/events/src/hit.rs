//! An event that happened.

use crate::event::Event;
use crate::value::Value;

/// An event that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Which: an index of the [`Table`].
    pub event: usize,
    /// When: nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The arguments, one for each parameter of the event.
    pub values: Vec<Value>,
    /// The call stack, innermost frame first, as text, if it was asked for.
    pub stack: Option<Vec<String>>,
}

/// What the hits of a trace refer to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The events.
    pub events: Vec<Event>,
    /// What is added to CLOCK_MONOTONIC to get the time of day, in nanoseconds since 1970.
    pub wall_offset: i64,
}

impl Table {
    /// The time of day of a hit: seconds since 1970, and microseconds.
    #[must_use]
    pub fn wall(&self, time: u64) -> (u64, u32) {
        let nanoseconds = time.saturating_add_signed(self.wall_offset);
        (nanoseconds / 1_000_000_000, (nanoseconds % 1_000_000_000 / 1000) as u32)
    }
}

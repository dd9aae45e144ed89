//! The memory events: those that the agent tells of.

use crate::description::{DescriptionError, qemu};
use crate::event::Event;

/// Who provides them.
pub const PROVIDER: &str = "memtrial";

/// The file that describes them.
pub const FILE: &str = include_str!("../memory.events");

/// The memory events in the order of their numbers. One that is compiled out (`disable`) keeps its number.
///
/// # Panics
/// Never: that the file can be read is tested.
#[must_use]
pub fn memory() -> Vec<Event> {
    entries().expect("memory.events").into_iter().map(|entry| entry.event).collect()
}

/// All that the file says of them.
///
/// # Errors
/// When the file is damaged, which it is not.
pub fn entries() -> Result<Vec<qemu::Entry>, DescriptionError> {
    let mut entries = qemu::entries(FILE)?;
    for entry in &mut entries {
        PROVIDER.clone_into(&mut entry.event.provider);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_events_are_described() {
        let events = memory();
        assert!(events.len() <= 64, "the agent has 64 bits for them");
        assert_eq!(events[0].full_name(), "memtrial:alloc");
        let (entries, format) = (entries().expect("memory.events"), |event: &Event| event.format.is_some());
        assert!(entries.iter().all(|entry| !entry.comment.is_empty() && format(&entry.event)));
    }
}

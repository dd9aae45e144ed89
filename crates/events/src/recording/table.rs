//! The table of a recording: its events as text, one a line, in the order of their numbers.

use crate::description::qemu;
use crate::event::{Class, Event, Parameter};

/// Reads a table.
pub(super) fn read(text: &str) -> Result<Vec<Event>, String> {
    qemu::parse(text).map_err(|error| format!("its table: {error}"))
}

/// The line of an event, with its end.
pub(super) fn line(event: &Event) -> String {
    let classes =
        |event: &Event| -> Vec<Class> { event.parameters.iter().map(|parameter| parameter.class).collect() };
    let reads_as_meant = |line: &str| {
        read(line).is_ok_and(|events| matches!(&events[..], [read] if classes(read) == classes(event)))
    };
    let mut line = qemu::write(event) + "\n";
    // Types and formats come from files that anybody wrote: an event that is read as something else would make the whole
    // recording unreadable.
    if !reads_as_meant(&line) {
        line = qemu::write(&plain(event)) + "\n";
    }
    line
}

/// The event with nothing in it that could be read as something else; types are made of the classes.
fn plain(event: &Event) -> Event {
    let letters = |name: &str| -> String {
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
    };
    let classes = event.parameters.iter().map(|parameter| parameter.class);
    let parameter = |(number, class)| Parameter { name: format!("arg{number}"), text: String::new(), class };
    Event {
        provider: letters(&event.provider),
        name: letters(&event.name),
        parameters: (1..).zip(classes).map(parameter).collect(),
        format: None,
    }
}

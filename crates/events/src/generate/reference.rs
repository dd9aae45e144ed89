//! The reference of the memory events, a page of the book.

use std::fmt::Write;

use super::{Described, NOTICE};

pub(super) fn make(events: &[Described]) -> String {
    let mut made = format!(
        "# Memory events

<!-- {NOTICE} -->

What the agent tells of under `memtrial trace`, of any program. Provider is `memtrial`: `memtrial:alloc` and `alloc`
are the same. `caller` is the address that the call returns to.

| event | when | what it carries |
|---|---|---|
"
    );
    for described in events {
        let event = described.event();
        let parameters: Vec<_> = event
            .parameters
            .iter()
            .map(|parameter| format!("`{} {}`", parameter.text, parameter.name).replace("* ", "*"))
            .collect();
        let disabled = if described.disabled() { " Compiled out." } else { "" };
        let _ = writeln!(
            made,
            "| `{}` | {}{disabled} | {} |",
            event.name,
            described.entry.comment,
            parameters.join(", ")
        );
    }
    made
}

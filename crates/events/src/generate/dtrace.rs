//! A provider file of DTrace: names and types of the agent's static probes, for `memtrial trace --events` and others.

use std::fmt::Write;

use super::{Described, NOTICE};
use crate::memory::PROVIDER;

pub(super) fn make(events: &[Described]) -> String {
    let mut made = format!("/* {NOTICE} */\nprovider {PROVIDER} {{\n");
    for described in events.iter().filter(|described| !described.disabled()) {
        let event = described.event();
        let parameters: Vec<_> = event
            .parameters
            .iter()
            .map(|parameter| format!("{} {}", parameter.text, parameter.name).replace("* ", "*"))
            .collect();
        let _ = write!(
            made,
            "    /* {} */\n    probe {}({});\n",
            described.entry.comment,
            event.name,
            parameters.join(", ")
        );
    }
    made.push_str("};\n");
    made
}

//! A script for bpftrace, which prints each memory event as memtrial does.

use std::fmt::Write;

use super::{As, Described, NOTICE, Printed};
use crate::event::Class;
use crate::memory::PROVIDER;

/// What comes before all events.
const HEAD: &str = r#"// bpftrace memtrial.bt FILE, where FILE is the agent's file, memtrial-agent.so in the folder that a running memtrial has
// in /dev/shm. A hexadecimal 0 is 0x0 here, a text that is NULL is empty, and texts end where bpftrace cuts them.
"#;

pub(super) fn make(events: &[Described]) -> String {
    let mut made = format!("#!/usr/bin/env bpftrace\n// {NOTICE}\n{HEAD}");
    for described in events.iter().filter(|described| !described.disabled()) {
        let event = described.event();
        let (mut format, mut values) = (String::new(), String::new());
        for piece in &described.pieces {
            match piece {
                Printed::Text(text) => format.push_str(&text.replace('%', "%%")),
                Printed::Value(argument, kind) => {
                    let class = event.parameters[*argument].class;
                    let (directive, value) = value(*argument, *kind, class);
                    format.push_str(&directive);
                    let _ = write!(values, ", {value}");
                }
            }
        }
        let _ = write!(
            made,
            "\n// {}\nusdt:$1:{PROVIDER}:{name} {{\n    printf(\"%d@%s:{name} {format}\\n\", pid, strftime(\"%s.%f\", nsecs){values});\n}}\n",
            described.entry.comment,
            name = event.name,
        );
    }
    made
}

/// A directive, and what it prints. bpftrace takes all arguments as 64 bits without sign.
fn value(argument: usize, kind: As, class: Class) -> (String, String) {
    let value = format!("arg{argument}");
    let long = if matches!(class, Class::Signed(4) | Class::Unsigned(4)) { "" } else { "l" };
    let cast = match class {
        Class::Signed(4) => format!("(int32){value}"),
        Class::Unsigned(4) => format!("(uint32){value}"),
        Class::Signed(_) => format!("(int64){value}"),
        _ => value.clone(),
    };
    match kind {
        As::Decimal if matches!(class, Class::Signed(_)) => (format!("%{long}d"), cast),
        As::Decimal => (format!("%{long}u"), cast),
        As::Hex => (format!("%{long}x"), cast),
        As::HexPrefixed => (format!("0x%{long}x"), cast),
        As::Pointer => ("%p".to_owned(), value),
        As::Text => ("%s".to_owned(), format!("str({value})")),
    }
}

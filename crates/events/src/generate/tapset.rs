//! A tapset for SystemTap, which gives names to the arguments of the agent's static probes.

use std::fmt::Write;

use super::{Described, NOTICE};
use crate::event::Class;
use crate::memory::PROVIDER;

/// Words of SystemTap's language, which can't be the name of a variable.
const WORDS: [&str; 21] = [
    "break", "catch", "continue", "delete", "else", "for", "foreach", "function", "global", "if", "in",
    "limit", "long", "next", "private", "probe", "return", "self", "string", "try", "while",
];

pub(super) fn make(events: &[Described]) -> String {
    let mut made = format!(
        "# {NOTICE}\n# The file of the agent is the script's first argument: stap -I FOLDER SCRIPT FILE\n"
    );
    for described in events.iter().filter(|described| !described.disabled()) {
        let event = described.event();
        let name = &event.name;
        let _ = write!(
            made,
            "\n# {}\nprobe {PROVIDER}.{name} = process(@1).mark(\"{name}\")\n{{\n",
            described.entry.comment
        );
        for (number, parameter) in event.parameters.iter().enumerate() {
            let argument = format!("$arg{}", number + 1);
            let value = match parameter.class {
                Class::Text => format!("{argument} ? user_string({argument}, \"<fault>\") : \"(null)\""),
                _ => argument,
            };
            let end = if WORDS.contains(&parameter.name.as_str()) { "_" } else { "" };
            let _ = writeln!(made, "  {}{end} = {value};", parameter.name);
        }
        made.push_str("}\n");
    }
    made
}

//! Answers of the agent as the original's tool prints them: a number, records in braces, or nothing.

use std::fmt::Write;

use memtrial_report::terminal;
use memtrial_report::wording::{plural, printable};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_trials::stress::answers::Status;
use memtrial_trials::stress::overwrites::describe;
use serde_json::{Map, Value};

/// The fields of a test: what the original calls them, and what they are called in the answer.
const TEST: [(&str, &str); 11] = [
    ("ID", "id"),
    ("run time (s)", "run_time"),
    ("remaining (s)", "remaining"),
    ("allocations", "allocations"),
    ("reallocs", "reallocs"),
    ("errors", "errors"),
    ("overflows", "overflows"),
    ("total alloc", "total_alloc"),
    ("min", "min"),
    ("max", "max"),
    ("total", "total"),
];

/// What is printed of the answer to a method, without what it says of overwritten chunks.
pub fn text(method: &str, result: &Value) -> String {
    match method {
        "mt.mem_alloc"
        | "mt.mem_rnd_alloc"
        | "mt.mem_test_stop"
        | "mt.mem_test_destroy"
        | "mt.mem_test_destroy_all"
        | "cfg.set_now_int" => String::new(),
        "mt.mem_free" | "mt.mem_used" | "memtrial.leave" => line(result, "bytes"),
        "mt.mem_realloc" => line(result, "difference"),
        "mt.mem_test_start" => line(result, "id"),
        "mt.mem_check" => line(result, "checked"),
        "cfg.get" => line(result, "value"),
        "mt.mem_test_list" => list(result, "tests").iter().map(test).collect(),
        "help" => methods(result),
        _ => fields(result),
    }
}

/// How many overwritten chunks the answer reports.
pub fn overwritten_count(result: &Value) -> u64 {
    let listed = list(result, "overwritten").len() as u64;
    result.get("overwritten_count").and_then(Value::as_u64).unwrap_or(listed)
}

/// A paragraph for each overwritten chunk of the answer; nothing if there are none. Coloured, as reports are.
pub fn overwritten(result: &Value, symbolizer: &mut Symbolizer) -> String {
    let chunks = describe(&Status::of(result), symbolizer);
    let mut text: String =
        chunks.iter().map(|overwrite| format!("\n{}", terminal::stress::chunk(overwrite))).collect();
    let more = overwritten_count(result).saturating_sub(chunks.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "\n{} more overwritten", plural(more, "chunk"));
    }
    text
}

fn line(result: &Value, name: &str) -> String {
    format!("{}\n", word(result, name))
}

/// A member as one word; texts without their quotes.
fn word(object: &Value, name: &str) -> String {
    match object.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
    }
}

fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn test(test: &Value) -> String {
    let mut text = String::from("{\n");
    for (title, name) in TEST {
        // Times are whole seconds, as in the original.
        let shown = match test.get(name) {
            Some(number) if number.is_f64() => format!("{:.0}", number.as_f64().unwrap_or(0.0).trunc()),
            _ => word(test, name),
        };
        let _ = writeln!(text, "\t{title:<13}: {shown}");
    }
    text + "}\n"
}

/// Members that are single values, a line each.
fn fields(result: &Value) -> String {
    let empty = Map::new();
    let members = result.as_object().unwrap_or(&empty);
    let single = |value: &Value| !value.is_array() && !value.is_object();
    let members: Vec<&String> =
        members.iter().filter(|(_, value)| single(value)).map(|(name, _)| name).collect();
    let width = members.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    members.iter().map(|name| format!("{:<width$} : {}\n", printable(name), word(result, name))).collect()
}

fn methods(result: &Value) -> String {
    let method = |method: &Value| format!("{}\n    {}\n", word(method, "usage"), word(method, "help"));
    list(result, "methods").iter().map(method).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// What is said of overwritten chunks, without colours.
    fn told(result: &Value) -> String {
        anstream::adapter::strip_str(&overwritten(result, &mut Symbolizer::new())).to_string()
    }

    #[test]
    fn a_test_is_printed_in_the_originals_form() {
        let test = json!({
            "id": 2, "run_time": 1471.625, "remaining": 2128.375, "allocations": 1749, "reallocs": 0, "errors": 24,
            "overflows": 2, "total_alloc": 69_614_530, "min": 15360, "max": 65536, "total": 25_600_000, "live": 1,
        });
        let expected = "{\n\tID           : 2\n\trun time (s) : 1471\n\tremaining (s): 2128\n\tallocations  : 1749\n\
                        \treallocs     : 0\n\terrors       : 24\n\toverflows    : 2\n\ttotal alloc  : 69614530\n\
                        \tmin          : 15360\n\tmax          : 65536\n\ttotal        : 25600000\n}\n";
        assert_eq!(text("mt.mem_test_list", &json!({ "tests": [test] })), expected);
        assert_eq!(text("mt.mem_test_list", &json!({ "tests": [] })), "");
    }

    #[test]
    fn a_command_prints_a_number_or_nothing() {
        assert_eq!(text("mt.mem_alloc", &json!({ "bytes": 10, "address": "0x1" })), "");
        assert_eq!(text("mt.mem_free", &json!({ "bytes": 10, "chunks": 1 })), "10\n");
        assert_eq!(text("mt.mem_realloc", &json!({ "difference": -24 })), "-24\n");
        assert_eq!(text("mt.mem_test_start", &json!({ "id": 3 })), "3\n");
        assert_eq!(text("cfg.set_now_int", &json!({})), "");
        assert_eq!(text("cfg.get", &json!({ "value": 1 })), "1\n");
        let status = json!({ "pid": 7, "tests": 0, "overwritten": [], "overwritten_count": 0 });
        assert_eq!(
            text("memtrial.status", &status),
            "overwritten_count : 0\npid               : 7\ntests             : 0\n"
        );
    }

    #[test]
    fn methods_are_printed_with_their_usage() {
        let method = json!({ "name": "mt.mem_used", "usage": "mt.mem_used [UNIT]", "help": "Bytes held." });
        assert_eq!(text("help", &json!({ "methods": [method] })), "mt.mem_used [UNIT]\n    Bytes held.\n");
    }

    #[test]
    fn an_overwritten_chunk_is_a_paragraph() {
        let result = json!({ "bytes": 0, "overwritten_count": 3, "overwritten": [{
            "address": "0x7f00", "size": 64, "offset": 0, "length": 8, "expected": "ff80", "found": "4141",
            "test": null, "number": 4, "stack": ["/lib/a\u{1b}.so+0x10"],
            "suspects": [{ "relation": "before", "address": "0x7ee0", "size": 24, "site": "3fa91c02", "stack": ["/b+0x1"] }],
        }]});
        let expected = "\noverwritten\n  chunk of 64 B at 0x7f00 (allocation 4, by a command): 8 bytes from offset 0 are not \
                        as it was\n";
        let text = told(&result);
        assert!(text.starts_with(expected), "{text}");
        for part in [
            "    +0x0      ff 80                    41 41                    |AA|\n",
            "  just before it lies a block of 24 B at 0x7ee0 (site 3fa91c02), allocated in\n    #0  ? [b+0x1]\n",
            "  the chunk was allocated in\n    #0  ? [a\u{fffd}.so+0x10]\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing\n{text}");
        }
        assert!(text.ends_with("\n\n2 chunks more overwritten\n"), "{text}");
        assert_eq!(told(&json!({ "overwritten": [], "overwritten_count": 0 })), "");
    }

    const ESCAPE: char = '\u{1b}';

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        let names = prop_oneof![
            Just("tests"),
            Just("overwritten"),
            Just("overwritten_count"),
            Just("suspects"),
            Just("stack"),
            Just("methods"),
            Just("run_time")
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..4).prop_map(|members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_answer_makes_trouble(result in any_json(), method in "mt.mem_test_list|help|mt.mem_used|memtrial.status") {
            let all = text(&method, &result) + &told(&result);
            prop_assert!(!all.contains(ESCAPE));
        }
    }
}

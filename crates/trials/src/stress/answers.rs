//! What the agent answers, read: its tests added up, its state, and the chunks that it found overwritten.

use std::collections::HashMap;

use serde_json::Value;

/// All tests together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// How long the longest of them has run, in seconds.
    pub run_time: f64,
    /// Allocations tried, those that resized a chunk among them.
    pub allocations: u64,
    /// Those that resized a chunk.
    pub reallocs: u64,
    /// Those that failed.
    pub errors: u64,
    /// How often all was freed.
    pub overflows: u64,
    /// Bytes allocated in all.
    pub allocated: u64,
    /// Bytes in chunks.
    pub live: u64,
    /// Chunks.
    pub chunks: u64,
    /// Chunks that were found overwritten.
    pub overwritten: u64,
    /// Tests that still run.
    pub running: u64,
}

/// The answer to `mt.mem_test_list` without a unit.
#[must_use]
pub fn totals(answer: &Value) -> Totals {
    let tests = answer.get("tests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sum = |name: &str| tests.iter().fold(0u64, |sum, test| sum.saturating_add(number(test, name)));
    let seconds = |test: &Value| test.get("run_time").and_then(Value::as_f64).unwrap_or(0.0);
    let runs = |test: &&Value| match test.get("running") {
        Some(Value::Bool(runs)) => *runs,
        other => other.and_then(Value::as_u64) == Some(1),
    };
    Totals {
        run_time: tests.iter().map(seconds).fold(0.0, f64::max),
        allocations: sum("allocations"),
        reallocs: sum("reallocs"),
        errors: sum("errors"),
        overflows: sum("overflows"),
        allocated: sum("total_alloc"),
        live: sum("live"),
        chunks: sum("chunks"),
        overwritten: sum("overwritten"),
        running: tests.iter().filter(runs).count() as u64,
    }
}

/// The answer to `memtrial.status`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// Bytes that the load holds, with its bookkeeping.
    pub held: u64,
    /// Memory of the agent's own.
    pub bookkeeping: u64,
    /// Arenas of the target's, of a glibc, that chunks lie in; 0: they lie apart from the target's blocks.
    pub arenas: u64,
    /// Chunks whose contents were looked at.
    pub checked: u64,
    /// Chunks that were found overwritten so far: the first of them.
    pub overwritten: Vec<Entry>,
    /// How many there are.
    pub overwritten_count: u64,
    /// Build ids of modules that frames are in, by their paths.
    pub build_ids: HashMap<String, Vec<u8>>,
}

impl Status {
    /// Reads the answer; that of another method, as far as it has the same members.
    #[must_use]
    pub fn of(answer: &Value) -> Status {
        let entries = answer.get("overwritten").and_then(Value::as_array);
        let modules = answer.get("modules").and_then(Value::as_array);
        let build_id = |module: &Value| Some((text(module, "path"), bytes(&text(module, "build_id"))?));
        Status {
            held: number(answer, "held"),
            bookkeeping: number(answer, "bookkeeping"),
            arenas: number(answer, "arenas"),
            checked: number(answer, "checked"),
            overwritten: entries.into_iter().flatten().map(Entry::of).collect(),
            overwritten_count: number(answer, "overwritten_count"),
            build_ids: modules.into_iter().flatten().filter_map(build_id).collect(),
        }
    }
}

/// A chunk that was found overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// As `0x7f00`.
    pub address: String,
    /// Of the chunk, in bytes.
    pub size: u64,
    /// First byte that is not as it was.
    pub offset: u64,
    /// Bytes from there to the last one that is not as it was.
    pub length: u64,
    /// What should be there, in hexadecimal.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// Whose it is.
    pub test: Option<u64>,
    /// Which allocation of its owner, from 1.
    pub number: u64,
    /// Frames as `PATH+0xOFFSET`, innermost first.
    pub stack: Vec<String>,
    /// Blocks of the target's that may have to do with it.
    pub suspects: Vec<Suspected>,
}

/// A block of the target's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suspected {
    /// `before` or `freed`.
    pub relation: String,
    /// As `0x7f00`.
    pub address: String,
    /// In bytes.
    pub size: u64,
    /// Id of its site.
    pub site: String,
    /// Frames as `PATH+0xOFFSET`, innermost first.
    pub stack: Vec<String>,
}

impl Entry {
    fn of(value: &Value) -> Entry {
        let suspects = value.get("suspects").and_then(Value::as_array);
        Entry {
            address: text(value, "address"),
            size: number(value, "size"),
            offset: number(value, "offset"),
            length: number(value, "length"),
            expected: text(value, "expected"),
            found: text(value, "found"),
            test: value.get("test").and_then(Value::as_u64),
            number: number(value, "number"),
            stack: texts(value, "stack"),
            suspects: suspects.into_iter().flatten().map(Suspected::of).collect(),
        }
    }
}

impl Suspected {
    fn of(value: &Value) -> Suspected {
        Suspected {
            relation: text(value, "relation"),
            address: text(value, "address"),
            size: number(value, "size"),
            site: text(value, "site"),
            stack: texts(value, "stack"),
        }
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    value.get(name).map(strings).unwrap_or_default()
}

/// The texts of a list.
pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn tests_are_added_up() {
        let test = |run_time: f64, running: Value| {
            json!({"id": 1, "run_time": run_time, "remaining": 0.5, "allocations": 10, "reallocs": 2, "errors": 1,
                "overflows": 3, "total_alloc": 1u64 << 40, "live": 100, "chunks": 4, "overwritten": 1, "running": running})
        };
        let all = totals(&json!({"tests": [test(1.25, json!(true)), test(1.5, json!(0))]}));
        let expected = Totals {
            run_time: 1.5,
            allocations: 20,
            reallocs: 4,
            errors: 2,
            overflows: 6,
            allocated: 2 << 40,
            live: 200,
            chunks: 8,
            overwritten: 2,
            running: 1,
        };
        assert_eq!(all, expected);
        assert_eq!(totals(&json!(null)), Totals::default());
    }

    #[test]
    fn overwritten_chunks_are_read_with_their_suspects() {
        let status = Status::of(&json!({"held": 5, "bookkeeping": 7, "checked": 9, "overwritten_count": 40,
            "overwritten": [{"address": "0x10", "size": 24, "offset": 0, "length": 4, "expected": "ff", "found": "00",
                "test": null, "number": 3, "stack": ["/bin/x+0x10", 5],
                "suspects": [{"relation": "before", "address": "0x0", "size": 8, "site": "ab", "stack": []}]}],
            "modules": [{"path": "/bin/x", "build_id": "0aff"}, {"path": "/bin/y", "build_id": "zz"}, 5]}));
        assert_eq!(status.build_ids["/bin/x"], [10, 255]);
        assert_eq!(status.build_ids.get("/bin/y"), None);
        assert_eq!(
            (status.held, status.bookkeeping, status.checked, status.overwritten_count),
            (5, 7, 9, 40)
        );
        let entry = &status.overwritten[0];
        assert_eq!((entry.test, entry.number, entry.stack.len()), (None, 3, 1));
        assert_eq!((entry.suspects[0].relation.as_str(), entry.suspects[0].site.as_str()), ("before", "ab"));
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(text in r#"\{"(tests|overwritten)":\[?(\{"(live|size|suspects)":(-?[0-9]{1,25}|\[1\]|"x")\},?)?\]?\}"#) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = (totals(&value), Status::of(&value));
            }
        }
    }
}

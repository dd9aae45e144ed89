//! The envelope of JSON-RPC 2.0 replies, and what errors are called in it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::command::Fault;
use crate::writer::Writer;

/// An error's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It is not JSON.
    Parse = -32700,
    /// It is no request.
    Invalid = -32600,
    /// There is no such method.
    Unknown = -32601,
    /// The parameters are wrong.
    Parameters = -32602,
    /// The answer can't be given.
    Internal = -32603,
    /// The allocator had no memory.
    NoMemory = -32000,
    /// It would hold more than it may.
    TooMuch = -32001,
    /// No chunk is there to be resized.
    NoChunk = -32002,
    /// There is no such test.
    NoTest = -32003,
    /// All places for tests are taken.
    TooManyTests = -32004,
    /// No thread could be started.
    NoThread = -32005,
    /// The agent is leaving.
    Leaving = -32006,
}

/// Begins a reply; its `result` or `error` comes next, then the end of the object.
pub fn begin(writer: &mut Writer<'_>, id: &[u8]) {
    writer.begin_object();
    writer.name("jsonrpc");
    writer.text("2.0");
    writer.name("id");
    writer.value(id);
}

/// Writes a reply that is an error; the message is in parts.
pub fn error(writer: &mut Writer<'_>, id: &[u8], code: Code, message: &[&str]) {
    begin(writer, id);
    writer.name("error");
    writer.begin_object();
    writer.name("code");
    writer.signed(code as i64);
    writer.name("message");
    writer.texts(message);
    writer.end_object();
    writer.end_object();
}

/// Writes the reply to a command that was not carried out.
pub fn fault(writer: &mut Writer<'_>, id: &[u8], method: &str, fault: Fault) {
    let mut numbers = [Digits::default(); 2];
    let [first, second] = &mut numbers;
    let (code, [a, b, c, d, e]) = match fault {
        Fault::NoMemory { failed: 0 | 1 } => {
            (Code::NoMemory, ["the allocator had no memory", "", "", "", ""])
        }
        Fault::NoMemory { failed } => {
            (Code::NoMemory, ["the allocator had no memory, ", first.write(failed), " times", "", ""])
        }
        Fault::TooMuch { held, most } => (
            Code::TooMuch,
            [
                "more would be held than may be: ",
                first.write(held),
                " bytes are, with what is needed to know of them, and ",
                second.write(most),
                " may be",
            ],
        ),
        Fault::NoChunk => (Code::NoChunk, ["there is no chunk to resize", "", "", "", ""]),
        Fault::NoTest { id } => (Code::NoTest, ["there is no test ", first.write(id), "", "", ""]),
        Fault::TooManyTests { most } => {
            (Code::TooManyTests, ["there are ", first.write(most), " tests, and can't be more", "", ""])
        }
        Fault::NoThread => (Code::NoThread, ["no thread could be started", "", "", "", ""]),
        Fault::Leaving => (Code::Leaving, ["the agent is leaving", "", "", "", ""]),
        Fault::BadTable => {
            (Code::Parameters, ["sizes is not a table that has a size from MIN to MAX", "", "", "", ""])
        }
    };
    error(writer, id, code, &[method, ": ", a, b, c, d, e]);
}

/// Room for a number's digits.
#[derive(Debug, Clone, Copy, Default)]
struct Digits([u8; 20]);

impl Digits {
    fn write(&mut self, mut number: u64) -> &str {
        let mut first = self.0.len();
        for digit in self.0.iter_mut().rev() {
            *digit = b'0'.saturating_add((number % 10) as u8);
            first = first.saturating_sub(1);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        core::str::from_utf8(self.0.get(first..).unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_errors_with_a_code_and_a_message() {
        for (what, code, message) in [
            (Fault::NoMemory { failed: 12 }, -32000, "m: the allocator had no memory, 12 times"),
            (
                Fault::TooMuch { held: 0, most: u64::MAX },
                -32001,
                "m: more would be held than may be: 0 bytes are, with what is needed to know of them, and \
                 18446744073709551615 may be",
            ),
            (Fault::NoChunk, -32002, "m: there is no chunk to resize"),
            (Fault::NoTest { id: 100 }, -32003, "m: there is no test 100"),
            (Fault::TooManyTests { most: 64 }, -32004, "m: there are 64 tests, and can't be more"),
            (Fault::NoThread, -32005, "m: no thread could be started"),
            (Fault::Leaving, -32006, "m: the agent is leaving"),
            (Fault::BadTable, -32602, "m: sizes is not a table that has a size from MIN to MAX"),
        ] {
            let mut buffer = [0; 300];
            let mut writer = Writer::new(&mut buffer);
            fault(&mut writer, b"\"x\"", "m", what);
            let reply: serde_json::Value = serde_json::from_slice(writer.bytes()).expect("JSON");
            let expected =
                serde_json::json!({"jsonrpc": "2.0", "id": "x", "error": {"code": code, "message": message}});
            assert_eq!(reply, expected);
        }
    }
}

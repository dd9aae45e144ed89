//! From what was found in the input to the complete reply.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::arguments;
use crate::command::{Command, Fault};
use crate::framing::{Found, What};
use crate::json::Token;
use crate::methods::{self, METHODS, Method};
use crate::reply::{self, Code};
use crate::request::{NO_ID, Request};
use crate::value::Value;
use crate::writer::{Mark, Writer};

/// What is to be done with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is to be sent.
    Nothing,
    /// What was written is to be sent.
    Send,
    /// What was written is to be sent, and the connection to be closed.
    SendAndClose,
}

/// Carries out a command and writes its result, one JSON value; [`Command::Help`] does not come here. What is written before a
/// fault is taken back.
pub type Execute<'e> = dyn FnMut(Command<'_>, &mut Writer<'_>) -> Result<(), Fault> + 'e;

/// Room for the part of a message that the peer has sent, in bytes.
const QUOTED: usize = 64;

/// What stands before the length in a reply's header.
const HEADER: &[u8] = b"Content-Length: ";

/// As long as any header of a reply.
const LONGEST_HEADER: &[u8] = b"Content-Length: 18446744073709551615\r\n\r\n";

/// Answers what was `found`, into a new `writer`: the reply ends with a newline, or has a header.
///
/// A result that has no room is replaced by an error. Nothing is done for which not even that has room: then, and for the
/// rest of its batch, one error without an id is the answer. With less than 300 bytes there may be no answer at all, and the
/// connection is closed.
pub fn answer(found: &Found<'_>, writer: &mut Writer<'_>, execute: &mut Execute<'_>) -> Answer {
    let start = writer.mark();
    if found.framed {
        writer.raw(LONGEST_HEADER);
    }
    let body = writer.mark();
    let before = writer.bytes().len();
    let mut close = false;
    match found.what {
        What::Request(json) => match Value::parse(json) {
            Ok(value) => Exchange { writer, execute }.value(value),
            Err(error) => not_json(writer, error.what.words()),
        },
        What::NotJson(error) => not_json(writer, error.what.words()),
        What::TooLong => {
            close = true;
            reply::error(writer, NO_ID, Code::Invalid, &["the request is longer than 64 KiB"]);
        }
        What::BadHeader => {
            close = true;
            reply::error(writer, NO_ID, Code::Invalid, &["the header is not one of Content-Length"]);
        }
    }
    let length = writer.bytes().len().saturating_sub(before);
    if length == 0 && !writer.is_full() {
        writer.back(start);
        return Answer::Nothing;
    }
    if !found.framed {
        writer.raw(b"\n");
    }
    if writer.is_full() {
        writer.back(start);
        return Answer::SendAndClose;
    }
    if found.framed {
        header(writer, start, body, length);
    }
    if close { Answer::SendAndClose } else { Answer::Send }
}

fn not_json(writer: &mut Writer<'_>, why: &str) {
    reply::error(writer, NO_ID, Code::Parse, &["not JSON: ", why]);
}

/// Writes the header for a body of `length` bytes in place of the longest one, from `start` to `body`.
fn header(writer: &mut Writer<'_>, start: Mark, body: Mark, length: usize) {
    let mut text = [0; LONGEST_HEADER.len()];
    let mut header = Writer::new(&mut text);
    header.raw(HEADER);
    header.number(length as u64);
    header.raw(b"\r\n\r\n");
    writer.replace(start, body, header.bytes());
}

/// What became of one request.
#[derive(PartialEq, Eq)]
enum Done {
    /// It was answered, or takes no answer.
    Yes,
    /// It has not been done, as not even an error has room.
    NoRoom,
}

struct Exchange<'x, 'b, 'e> {
    writer: &'x mut Writer<'b>,
    execute: &'x mut Execute<'e>,
}

impl Exchange<'_, '_, '_> {
    fn value(&mut self, value: Value<'_>) {
        if value.first() != Token::BeginArray {
            if self.request(value) == Done::NoRoom {
                cut_off(self.writer);
            }
            return;
        }
        let start = self.writer.mark();
        self.writer.begin_array();
        let before = self.writer.bytes().len();
        let mut empty = true;
        for value in value.elements() {
            empty = false;
            if self.request(value) == Done::NoRoom {
                cut_off(self.writer);
                break;
            }
        }
        if empty {
            self.writer.back(start);
            reply::error(self.writer, NO_ID, Code::Invalid, &["an empty batch"]);
        } else if self.writer.bytes().len() == before && !self.writer.is_full() {
            // Notifications only.
            self.writer.back(start);
        } else {
            self.writer.end_array();
        }
    }

    fn request(&mut self, value: Value<'_>) -> Done {
        let start = self.writer.mark();
        let request = match Request::read(value) {
            Ok(request) => request,
            Err(invalid) => {
                reply::error(self.writer, invalid.id, Code::Invalid, &["not a request: ", invalid.why]);
                return self.kept_or_back(start);
            }
        };
        let Some(id) = request.id else {
            self.carry_out(&request, NO_ID);
            self.writer.back(start);
            return Done::Yes;
        };
        too_long(self.writer, id, true);
        if self.kept_or_back(start) == Done::NoRoom {
            return Done::NoRoom;
        }
        self.writer.back(start);
        let executed = self.carry_out(&request, id);
        if self.kept_or_back(start) == Done::NoRoom {
            too_long(self.writer, id, executed);
        }
        Done::Yes
    }

    /// Takes back what was written since `start` unless it, and what may have to come after it, has room.
    fn kept_or_back(&mut self, start: Mark) -> Done {
        let end = self.writer.mark();
        cut_off(self.writer);
        self.writer.raw(b"]\n");
        let full = self.writer.is_full();
        self.writer.back(if full { start } else { end });
        if full { Done::NoRoom } else { Done::Yes }
    }

    /// Writes the reply; says whether a command was carried out.
    fn carry_out(&mut self, request: &Request<'_>, id: &[u8]) -> bool {
        let mut quoted = [0; QUOTED];
        let Some(method) = methods::find(request.method) else {
            let name = request.method.start(&mut quoted).0;
            let message = ["there is no method \"", name, "\"; \"help\" lists them"];
            reply::error(self.writer, id, Code::Unknown, &message);
            return false;
        };
        let command = match arguments::command(method, request.parameters) {
            Ok(command) => command,
            Err(unfit) => {
                let [a, b, c] = unfit.words(&mut quoted);
                let message = [method.name, ": ", a, b, c, "; usage: ", method.usage];
                reply::error(self.writer, id, Code::Parameters, &message);
                return false;
            }
        };
        let start = self.writer.mark();
        reply::begin(self.writer, id);
        self.writer.name("result");
        let result = match command {
            Command::Help(name) => {
                help(self.writer, name);
                Ok(())
            }
            command => (self.execute)(command, self.writer),
        };
        match result {
            Ok(()) => {
                self.writer.end_object();
                true
            }
            Err(fault) => {
                self.writer.back(start);
                reply::fault(self.writer, id, method.name, fault);
                false
            }
        }
    }
}

/// The reply instead of one that had no room.
fn too_long(writer: &mut Writer<'_>, id: &[u8], executed: bool) {
    let what = if executed { "; the command was carried out" } else { "" };
    reply::error(writer, id, Code::Internal, &["the answer is too long", what]);
}

/// The reply instead of all for which there is no room any more.
fn cut_off(writer: &mut Writer<'_>) {
    let message = "the answer is too long; this command and those after it were not carried out";
    reply::error(writer, NO_ID, Code::Internal, &[message]);
}

fn help(writer: &mut Writer<'_>, name: Option<&str>) {
    let asked = |method: &&Method| name.is_none_or(|name| name == method.name);
    writer.begin_object();
    writer.name("methods");
    writer.begin_array();
    for method in METHODS.iter().filter(asked) {
        writer.begin_object();
        writer.name("name");
        writer.text(method.name);
        writer.name("usage");
        writer.text(method.usage);
        writer.name("help");
        writer.text(method.help);
        writer.end_object();
    }
    writer.end_array();
    writer.end_object();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use serde_json::json;

    /// The reply to a request, by an executor that writes a text of so many bytes, or has no chunk to resize.
    fn reply_to(request: &[u8], framed: bool, room: usize, text: usize) -> (Answer, String) {
        let mut buffer = vec![0; room];
        let mut writer = Writer::new(&mut buffer);
        let found = Found { framed, what: What::Request(request) };
        let answer = answer(&found, &mut writer, &mut |command, writer| {
            writer.text(&"x".repeat(text));
            if let Command::Realloc { .. } = command { Err(Fault::NoChunk) } else { Ok(()) }
        });
        (answer, String::from_utf8(writer.bytes().to_vec()).expect("UTF-8"))
    }

    fn json_for(request: &str) -> serde_json::Value {
        let (answer, reply) = reply_to(request.as_bytes(), false, 10_000, 1);
        assert_eq!(answer, Answer::Send);
        assert!(reply.ends_with('\n'));
        serde_json::from_str(&reply).expect("JSON")
    }

    #[test]
    fn a_command_is_answered_with_its_result_or_fault() {
        assert_eq!(
            reply_to(b"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"mt.mem_check\"}", false, 1000, 2),
            (Answer::Send, "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"xx\"}\n".into())
        );
        let reply = json_for("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"mt.mem_realloc\",\"params\":[1]}");
        let error = json!({"code": -32002, "message": "mt.mem_realloc: there is no chunk to resize"});
        assert_eq!(reply, json!({"jsonrpc": "2.0", "id": 1, "error": error}));
    }

    #[test]
    fn mistakes_have_the_codes_of_the_protocol() {
        for (request, code, message) in [
            ("{", -32700, "not JSON: it ends too early"),
            ("[]", -32600, "an empty batch"),
            ("1", -32600, "not a request: it is not an object"),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"mt.mem\"}",
                -32601,
                "there is no method \"mt.mem\"; \"help\" lists them",
            ),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"mt.mem_alloc\"}",
                -32602,
                "mt.mem_alloc: SIZE is missing; usage: mt.mem_alloc SIZE [b|k|m|g]",
            ),
        ] {
            assert_eq!(json_for(request)["error"], json!({"code": code, "message": message}), "{request}");
        }
    }

    #[test]
    fn a_request_with_a_header_gets_a_reply_with_a_header() {
        let request = b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"mt.mem_check\"}";
        let (answer, reply) = reply_to(request, true, 1000, 1);
        assert_eq!(answer, Answer::Send);
        let body = "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"x\"}";
        assert_eq!(reply, format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    #[test]
    fn notifications_are_carried_out_without_a_reply() {
        let one = "{\"jsonrpc\":\"2.0\",\"method\":\"mt.mem_check\"}";
        for request in [one.to_string(), format!("[{one},{one}]"), one.replace("mt.mem_check", "nothing")] {
            for framed in [true, false] {
                let reply = reply_to(request.as_bytes(), framed, 1000, 5000);
                assert_eq!(reply, (Answer::Nothing, String::new()));
            }
        }
    }

    #[test]
    fn a_batch_is_answered_in_order() {
        let reply = json_for(
            "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"mt.mem_check\"}, 2, \
             {\"jsonrpc\":\"2.0\",\"method\":\"mt.mem_check\"}, \
             {\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"help\",\"params\":{\"method\":\"mt.mem_check\"}}]",
        );
        assert_eq!(reply.as_array().map(Vec::len), Some(3));
        assert_eq!((&reply[0]["result"], &reply[1]["error"]["code"]), (&json!("x"), &json!(-32600)));
        assert_eq!(reply[2]["result"]["methods"][0]["usage"], json!("mt.mem_check"));
    }

    #[test]
    fn help_lists_every_method() {
        let reply = json_for("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"help\"}");
        assert_eq!(reply["result"]["methods"].as_array().map(Vec::len), Some(METHODS.len()));
    }

    #[test]
    fn a_result_without_room_is_replaced_by_an_error() {
        let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"mt.mem_check\"}";
        for framed in [true, false] {
            let (answer, reply) = reply_to(request, framed, 500, 500);
            assert_eq!(answer, Answer::Send);
            assert!(
                reply.contains("\"id\":1,\"error\":{\"code\":-32603,\"message\":\"the answer is too long")
            );
        }
    }

    #[test]
    fn a_batch_without_room_says_where_it_was_cut_off() {
        let one = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"mt.mem_check\"}";
        let request = format!("[{}]", [one; 100].join(","));
        let (answer, reply) = reply_to(request.as_bytes(), false, 1000, 10);
        assert_eq!(answer, Answer::Send);
        let replies: Vec<serde_json::Value> = serde_json::from_str(&reply).expect("JSON");
        let (last, before) = replies.split_last().expect("replies");
        assert!(before.len() > 5 && before.iter().all(|reply| reply["result"] == json!("xxxxxxxxxx")));
        assert_eq!((&last["id"], &last["error"]["code"]), (&json!(null), &json!(-32603)));
    }

    #[test]
    fn with_hardly_any_room_the_connection_is_closed_without_a_panic() {
        let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"help\"}";
        for room in 0..400 {
            for framed in [true, false] {
                let (answer, reply) = reply_to(request, framed, room, 0);
                assert!(answer == Answer::Send || reply.is_empty(), "{room} {reply}");
                assert!(answer == Answer::Send || room < 300, "{room}");
            }
        }
    }
}

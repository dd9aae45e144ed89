//! Judges what the input's parser and the replies make of any stream of bytes, beside serde_json.

use memtrial_load::command::{Command, Fault, Sizes};
use memtrial_load::framing::{Found, Input, What};
use memtrial_load::serve::{Answer, answer};
use memtrial_load::table;
use memtrial_load::writer::Writer;
use serde_json::Value;

/// Room for the reply to any request that a test or a fuzzer makes.
const ROOM: usize = 4 << 20;

/// Sends `stream` at once and in small pieces, and judges each reply.
///
/// # Panics
/// When something is wrong.
pub fn judge(stream: &[u8]) {
    let mut large = vec![0; ROOM];
    let whole = run(stream, stream.len(), &mut large);
    // Replies that have hardly any room, so that many of them are cut off.
    let mut small = vec![0; 400];
    let pieces = run(stream, 3, &mut small);
    assert_eq!(whole, pieces, "the same is found however the stream is cut");
}

/// Returns all that was found.
fn run(stream: &[u8], piece: usize, room: &mut [u8]) -> Vec<(bool, Option<Vec<u8>>)> {
    let mut buffer = vec![0; 4096];
    let mut input = Input::new(&mut buffer);
    let mut all = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let place = input.room();
        let some = piece.min(rest.len()).min(place.len());
        assert!(some > 0, "there is always room");
        place[..some].copy_from_slice(&rest[..some]);
        input.came(some);
        rest = &rest[some..];
        while let Some(found) = input.next_request() {
            judge_reply(&found, room);
            all.push(kept(&found));
        }
    }
    if let Some(found) = input.end() {
        judge_reply(&found, room);
        all.push(kept(&found));
    }
    all
}

fn kept(found: &Found<'_>) -> (bool, Option<Vec<u8>>) {
    (found.framed, if let What::Request(json) = found.what { Some(json.to_vec()) } else { None })
}

fn judge_reply(found: &Found<'_>, room: &mut [u8]) {
    let large = room.len() == ROOM;
    let mut writer = Writer::new(room);
    let mut commands = 0;
    let answer = answer(found, &mut writer, &mut |command, writer| {
        commands += 1;
        execute(command, writer)
    });
    let reply = std::str::from_utf8(writer.bytes()).expect("a reply is UTF-8");
    let replies = if reply.is_empty() { Vec::new() } else { replies(reply, found.framed) };
    let What::Request(json) = found.what else {
        assert_eq!(answer == Answer::Send, matches!(found.what, What::NotJson(_)));
        assert_eq!((commands, replies.len()), (0, 1));
        return;
    };
    let requests = match serde_json::from_slice(json) {
        Ok(Value::Array(requests)) if !requests.is_empty() => requests,
        Ok(request) => vec![request],
        Err(error) if error.to_string().contains("number out of range") => return,
        Err(_) => vec![Value::Null],
    };
    assert!(commands <= requests.len());
    if answer == Answer::SendAndClose {
        assert!(!large && replies.is_empty());
        return;
    }
    let ids: Vec<Value> = requests.iter().filter_map(expected_id).collect();
    assert_eq!(answer == Answer::Nothing, ids.is_empty());
    assert!(replies.len() <= ids.len(), "no more replies than requests");
    for (number, reply) in replies.iter().enumerate() {
        let last = number + 1 == replies.len();
        let cut_off = last && !large && reply["id"].is_null() && reply["error"]["code"] == -32603;
        // An array that lies too deep is read by serde_json only.
        let not_json = reply["error"]["code"] == -32700;
        assert!(reply["id"] == ids[number] || cut_off || not_json, "ids are echoed");
        assert!(last || !not_json);
        assert!(reply.get("result").is_some() != reply.get("error").is_some());
        assert!(!large || reply["error"]["code"] != -32603);
        if last && !cut_off && !not_json {
            assert_eq!(replies.len(), ids.len(), "every request is answered");
        }
    }
}

fn replies(reply: &str, framed: bool) -> Vec<Value> {
    let body = if framed {
        let (header, body) = reply.split_once("\r\n\r\n").expect("a header");
        assert_eq!(header, format!("Content-Length: {}", body.len()));
        body
    } else {
        reply.strip_suffix('\n').expect("a newline")
    };
    assert!(!body.contains('\n'), "a reply is one line");
    match serde_json::from_str(body) {
        Ok(Value::Array(replies)) => replies,
        Ok(reply) => vec![reply],
        // The id of a request, as it was sent.
        Err(error) if error.to_string().contains("number out of range") => Vec::new(),
        Err(error) => panic!("{error}: {body}"),
    }
}

/// The id that the reply must have; none if there is to be no reply.
fn expected_id(request: &Value) -> Option<Value> {
    let Value::Object(members) = request else { return Some(Value::Null) };
    let id = members.get("id");
    if id.is_some_and(|id| !(id.is_null() || id.is_number() || id.is_string())) {
        return Some(Value::Null);
    }
    let valid = members.get("jsonrpc") == Some(&"2.0".into())
        && members.get("method").is_some_and(Value::is_string)
        && members.get("params").is_none_or(|params| params.is_array() || params.is_object());
    match id {
        None if valid => None,
        None => Some(Value::Null),
        Some(id) => Some(id.clone()),
    }
}

/// An executor that checks what it is given, and answers in every way there is.
fn execute(command: Command<'_>, writer: &mut Writer<'_>) -> Result<(), Fault> {
    writer.begin_object();
    match command {
        Command::Help(_) => panic!("help is answered from the table"),
        Command::Alloc { bytes } | Command::Realloc { bytes, .. } => {
            assert!(bytes > 0);
            if bytes > 1 << 40 {
                return Err(Fault::NoMemory { failed: 2 });
            }
        }
        Command::RandomAlloc { min, max, total } => {
            assert!(0 < min && min <= max && max <= total);
            return Err(Fault::TooMuch { held: total, most: max });
        }
        Command::TestStart(plan) => {
            assert!(0 < plan.min && plan.min <= plan.max && plan.max <= plan.total && plan.time > 0);
            assert!(plan.interval == (0, 0) || 0 < plan.interval.0);
            assert!(plan.interval.0 <= plan.interval.1 && plan.interval.1 <= plan.time);
            assert!(plan.realloc_percent.is_none_or(|percent| percent <= 90));
            if let Sizes::Table(json) = plan.sizes {
                let rows: Vec<_> = table::rows(json).collect();
                assert!((1..=1024).contains(&rows.len()) && rows.iter().all(|row| row.0 > 0 && row.1 > 0));
                assert_eq!(serde_json::from_slice::<Vec<(u64, u64)>>(json).expect("a table"), rows);
            }
        }
        Command::TestStop { id } => return Err(Fault::NoTest { id }),
        Command::TestList { .. } => {
            writer.name("long");
            writer.text(&"\u{1}".repeat(200));
        }
        Command::Set(_, value) => assert!(value <= 90),
        _ => {}
    }
    writer.end_object();
    Ok(())
}

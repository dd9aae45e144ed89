//! Finding one request after another in what a connection brings, however it is cut into pieces.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::json::{Error, Place, Reader, Wrong};

/// Longest request, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// Longest header, in bytes.
pub const LONGEST_HEADER: usize = 1024;

/// What the first line of a header begins with, in any case.
const HEADER: &[u8] = b"content-";

/// The input of a connection: JSON values one after another, or such with a `Content-Length` header each.
///
/// A value without header is an object or an array, and ends where that ends. Where it stops being JSON, the rest of the line
/// is left out, and the next request is looked for after it.
#[derive(Debug)]
pub struct Input<'b> {
    buffer: &'b mut [u8],
    /// What has come and is not used yet.
    start: usize,
    end: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before a request.
    Between,
    /// In one without header, which has been read so far.
    Bare(Place),
    /// In a header.
    Header,
    /// Behind a header that says so many bytes.
    Body(usize),
    /// In a line that is left out.
    LeftOut,
    /// After something behind which no request can be found any more.
    Closed,
}

/// Something that takes an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'b> {
    /// Whether it has a header, and the reply takes one as well.
    pub framed: bool,
    /// What it is.
    pub what: What<'b>,
}

/// What was found in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'b> {
    /// A request, which with a header need not be JSON.
    Request(&'b [u8]),
    /// Something that is not JSON.
    NotJson(Error),
    /// A request that is longer than it may be. The connection is to be closed.
    TooLong,
    /// A header that can't be understood. The connection is to be closed.
    BadHeader,
}

/// What there is to do next: nothing before more comes, go on, or tell of something, of which so many bytes are the request.
enum Step {
    More,
    On,
    Tell { framed: bool, what: What<'static> },
    Request { framed: bool, length: usize },
}

impl<'b> Input<'b> {
    /// Input that is kept in `buffer` until it is used. No request can be longer than that, or than [`LONGEST`].
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Input<'b> {
        Input { buffer, start: 0, end: 0, state: State::Between }
    }

    /// Where the next bytes are to be put. Not empty if [`Input::next`] found nothing more before.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that so many bytes have been put there.
    pub fn came(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.buffer.len());
    }

    /// The next request; none before more comes.
    pub fn next_request(&mut self) -> Option<Found<'_>> {
        loop {
            match self.step() {
                Step::More => return None,
                Step::On => {}
                Step::Tell { framed, what } => return Some(Found { framed, what }),
                Step::Request { framed, length } => {
                    let start = self.start;
                    self.use_up(length);
                    self.state = State::Between;
                    let json = self.buffer.get(start..self.start).unwrap_or_default();
                    return Some(Found { framed, what: What::Request(json) });
                }
            }
        }
    }

    /// What is to be said when nothing more will come: that a request is not complete.
    pub fn end(&mut self) -> Option<Found<'_>> {
        let at = self.end.saturating_sub(self.start);
        let framed = match core::mem::replace(&mut self.state, State::Closed) {
            State::Between | State::LeftOut | State::Closed => return None,
            State::Bare(_) => false,
            State::Header | State::Body(_) => true,
        };
        Some(Found { framed, what: What::NotJson(Error { what: Wrong::Ends, at }) })
    }

    fn use_up(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
    }

    /// The unused bytes, but no more than `most`; whether there could not be more.
    fn unused(&self, most: usize) -> (&[u8], bool) {
        let most = most.min(self.buffer.len());
        let unused = self.buffer.get(self.start..self.end).unwrap_or_default();
        (unused.get(..most).unwrap_or(unused), unused.len() >= most)
    }

    fn step(&mut self) -> Step {
        match self.state {
            State::Between => self.between(),
            State::Bare(place) => self.bare(place),
            State::Header => self.header(),
            State::Body(length) if self.unused(length).1 => Step::Request { framed: true, length },
            State::Body(_) => Step::More,
            State::LeftOut => self.leave_out(),
            State::Closed => {
                self.start = self.end;
                Step::More
            }
        }
    }

    fn between(&mut self) -> Step {
        let (unused, _) = self.unused(usize::MAX);
        let space = unused.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        let first = unused.get(space).copied();
        self.use_up(space);
        match first {
            None => return Step::More,
            Some(b'{' | b'[') => self.state = State::Bare(Place::START),
            Some(b'c' | b'C') => self.state = State::Header,
            Some(_) => return self.not_json(Error { what: Wrong::Byte, at: 0 }),
        }
        Step::On
    }

    fn bare(&mut self, place: Place) -> Step {
        let (unused, most) = self.unused(LONGEST);
        let mut reader = Reader::new(unused, place);
        let error = loop {
            if reader.place().is_complete() {
                return Step::Request { framed: false, length: reader.place().at() };
            }
            if let Err(error) = reader.token() {
                break error;
            }
        };
        if error.what != Wrong::Ends {
            return self.not_json(error);
        }
        if most {
            return self.close(false, What::TooLong);
        }
        self.state = State::Bare(reader.place());
        Step::More
    }

    fn header(&mut self) -> Step {
        let (unused, most) = self.unused(LONGEST_HEADER);
        let alike = unused.iter().zip(HEADER).take_while(|(byte, letter)| byte.eq_ignore_ascii_case(letter));
        let alike = alike.count();
        if alike < HEADER.len() {
            return match unused.get(alike) {
                Some(_) => self.not_json(Error { what: Wrong::Byte, at: alike }),
                None if most => self.close(true, What::BadHeader),
                None => Step::More,
            };
        }
        let mut length = None;
        let mut used: usize = 0;
        for line in unused.split_inclusive(|&byte| byte == b'\n') {
            used = used.saturating_add(line.len());
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let line = line.trim_ascii_end();
            if line.is_empty() {
                let Some(length) = length else { return self.close(true, What::BadHeader) };
                if length > LONGEST.min(self.buffer.len()) {
                    return self.close(true, What::TooLong);
                }
                self.use_up(used);
                self.state = State::Body(length);
                return Step::On;
            }
            match field(line) {
                Some(Field::Length(bytes)) if length.is_none() => length = Some(bytes),
                Some(Field::Other) => {}
                _ => return self.close(true, What::BadHeader),
            }
        }
        if most { self.close(true, What::BadHeader) } else { Step::More }
    }

    fn not_json(&mut self, error: Error) -> Step {
        self.use_up(error.at);
        self.state = State::LeftOut;
        Step::Tell { framed: false, what: What::NotJson(error) }
    }

    fn close(&mut self, framed: bool, what: What<'static>) -> Step {
        self.state = State::Closed;
        Step::Tell { framed, what }
    }

    fn leave_out(&mut self) -> Step {
        let (unused, _) = self.unused(usize::MAX);
        let Some(line) = unused.split_inclusive(|&byte| byte == b'\n').next() else { return Step::More };
        let length = line.len();
        if line.ends_with(b"\n") {
            self.state = State::Between;
        }
        self.use_up(length);
        Step::On
    }
}

enum Field {
    Length(usize),
    Other,
}

/// Reads a line of a header.
fn field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.get(1..)?.trim_ascii();
    if !name.eq_ignore_ascii_case(b"content-length") {
        return (!name.is_empty()).then_some(Field::Other);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |length: usize, digit: &u8| {
        length.saturating_mul(10).saturating_add(usize::from(digit.saturating_sub(b'0')))
    };
    Some(Field::Length(value.iter().fold(0, digit)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use proptest::prelude::*;

    type Told = (bool, Result<Vec<u8>, &'static str>);

    /// All that is found when `stream` comes in pieces that end at `cuts`.
    fn found(stream: &[u8], cuts: &[usize], buffer: usize) -> Vec<Told> {
        let mut buffer = vec![0; buffer];
        let mut input = Input::new(&mut buffer);
        let mut all = Vec::new();
        let mut keep = |found: Found<'_>| {
            all.push((
                found.framed,
                match found.what {
                    What::Request(json) => Ok(json.to_vec()),
                    What::NotJson(error) => Err(error.what.words()),
                    What::TooLong => Err("too long"),
                    What::BadHeader => Err("header"),
                },
            ));
        };
        let mut rest = stream;
        for next in cuts.iter().copied().chain([usize::MAX]) {
            let (mut piece, after) = rest.split_at(next.min(rest.len()));
            rest = after;
            while !piece.is_empty() {
                let room = input.room();
                let some = room.len().min(piece.len());
                assert!(some > 0, "there is always room");
                room[..some].copy_from_slice(&piece[..some]);
                input.came(some);
                piece = &piece[some..];
                while let Some(found) = input.next_request() {
                    keep(found);
                }
            }
        }
        input.end().map(&mut keep);
        assert_eq!(input.end(), None);
        all
    }

    fn bare(json: &str) -> Told {
        (false, Ok(json.into()))
    }

    #[test]
    fn requests_end_where_their_value_ends() {
        let stream = b" {\"a\":\"}\"}[1]\r\n\n{} ";
        assert_eq!(found(stream, &[], 100), [bare("{\"a\":\"}\"}"), bare("[1]"), bare("{}")]);
    }

    #[test]
    fn a_header_says_how_long_a_request_is() {
        let stream = b"Content-Length: 2\r\n\r\n{}\ncontent-type: x\r\ncontent-length:4\n\nnope[]";
        assert_eq!(
            found(stream, &[], 100),
            [(true, Ok(b"{}".into())), (true, Ok(b"nope".into())), bare("[]")]
        );
    }

    #[test]
    fn the_rest_of_a_line_that_is_not_json_is_left_out() {
        let byte = || (false, Err(Wrong::Byte.words()));
        assert_eq!(found(b"hello {} {}\n{}", &[], 100), [byte(), bare("{}")]);
        assert_eq!(found(b"{\"a\":x} {}\n{}", &[], 100), [byte(), bare("{}")]);
        assert_eq!(found(b"cat {}\n{}", &[], 100), [byte(), bare("{}")]);
        assert_eq!(found(b"{\"a\n{}", &[], 100), [(false, Err(Wrong::Control.words())), bare("{}")]);
    }

    #[test]
    fn nothing_is_read_after_a_header_that_can_not_be_understood() {
        for stream in [
            "Content-Length: x\r\n\r\n{}",
            "Content-Length: -1\r\n\r\n{}",
            "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            "Content-Type: x\r\n\r\n{}",
            "Content-Length\r\n\r\n{}",
        ] {
            assert_eq!(found(stream.as_bytes(), &[], 2000), [(true, Err("header"))], "{stream}");
        }
        let long = format!("Content-Type: {}", "x".repeat(LONGEST_HEADER));
        assert_eq!(found(long.as_bytes(), &[], 2000), [(true, Err("header"))]);
    }

    #[test]
    fn a_request_may_be_as_long_as_said_and_no_longer() {
        let text = |length: usize| format!("[\"{}\"]", "x".repeat(length - 4));
        let size = LONGEST + LONGEST_HEADER;
        assert_eq!(found(text(LONGEST).as_bytes(), &[5], size), [bare(&text(LONGEST))]);
        assert_eq!(found(text(LONGEST + 1).as_bytes(), &[], size), [(false, Err("too long"))]);
        let header = |length: usize| format!("Content-Length: {length}\r\n\r\n{}", text(length));
        assert_eq!(found(header(LONGEST).as_bytes(), &[], size), [(true, Ok(text(LONGEST).into()))]);
        assert_eq!(found(header(LONGEST + 1).as_bytes(), &[], size), [(true, Err("too long"))]);
        let huge = b"Content-Length: 99999999999999999999999999\r\n\r\n";
        assert_eq!(found(huge, &[], size), [(true, Err("too long"))]);
    }

    #[test]
    fn a_header_that_the_buffer_can_not_hold_is_not_waited_for() {
        assert_eq!(found(b"Content-Length: 2\r\n\r\n{}", &[], 1), [(true, Err("header"))]);
        assert_eq!(found(b"Content-Length: 2\r\n\r\n{}", &[], 12), [(true, Err("header"))]);
    }

    #[test]
    fn what_is_not_complete_at_the_end_is_told() {
        for (stream, framed) in [("{\"a\"", false), ("Content-Length: 9\r\n\r\n{}", true), ("Cont", true)] {
            assert_eq!(found(stream.as_bytes(), &[], 100), [(framed, Err(Wrong::Ends.words()))], "{stream}");
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            "{\"jsonrpc\":\"2.0\",\"id\":1}",
            "[1,2.5e3,\"\\u00e9\\\"]\"]",
            "{}",
            "[]",
            "[tru",
            "\"",
            "Content-Length: 2\r\n\r\n{}",
            "content-length:7\nContent-Type: a\n\n[\"a\n\"]",
            "Content-Length: 300\r\n\r\n",
            "Content-Length: 1",
            "Content-Type: x\r\n\r\n",
            "\r\n",
            "\n",
            "\n\n",
            " ",
            "cat",
            "{",
            "]",
        ]);
        prop_oneof![
            4 => known.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..8),
        ]
    }

    proptest! {
        #[test]
        fn the_same_is_found_however_the_stream_is_cut(
            pieces in prop::collection::vec(piece(), 0..20),
            cuts in prop::collection::vec(1..30usize, 0..200),
            size in 1..300usize,
        ) {
            let stream = pieces.concat();
            let one_by_one = vec![1; stream.len()];
            let whole = found(&stream, &[], size);
            prop_assert_eq!(&found(&stream, &cuts, size), &whole);
            prop_assert_eq!(&found(&stream, &one_by_one, size), &whole);
        }
    }
}

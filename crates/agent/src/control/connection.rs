//! One client of the control socket: what has come from it, and what it has not taken yet.

use memtrial_load::framing::{Found, Input};
use memtrial_load::serve::{self, Answer, Execute};
use memtrial_load::writer::Writer;

use crate::system;

use super::sockets::{self, EAGAIN, EINTR, POLLIN, POLLOUT};

/// Room for a request, with its header; a multiple of the page size, as all of these.
const REQUEST: usize = 72 << 10;
/// Room for an answer.
const ANSWER: usize = 256 << 10;
/// Requests of one client that are answered before others have their turn.
const TURN: usize = 16;

/// How a connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for the other end.
    Open,
    /// It has more to do at once.
    Busy,
    /// It is over.
    Over,
}

/// A connection.
pub struct Connection {
    socket: u64,
    memory: *mut u8,
    input: Input<'static>,
    /// Which bytes of the answer were not sent yet.
    unsent: (usize, usize),
    /// Whether it ends once they are.
    ending: bool,
}

impl Connection {
    /// Takes over a connection that was accepted; `None` if there is no memory for it.
    pub fn open(socket: u64) -> Option<Connection> {
        let memory = system::map_private(REQUEST + ANSWER).ok();
        let Some(memory) = memory else {
            system::close(socket);
            return None;
        };
        // SAFETY: the first part of a new mapping, which is unmapped by `close` alone, together with the input.
        let buffer = unsafe { core::slice::from_raw_parts_mut(memory, REQUEST) };
        Some(Connection { socket, memory, input: Input::new(buffer), unsent: (0, 0), ending: false })
    }

    /// Its descriptor.
    pub fn socket(&self) -> u64 {
        self.socket
    }

    /// Its descriptor, and what it waits for.
    pub fn waits_for(&self) -> (i32, i16) {
        (self.socket as i32, if self.unsent.0 < self.unsent.1 { POLLOUT } else { POLLIN })
    }

    /// Reads, carries out and answers, as far as it goes without waiting.
    pub fn go_on(&mut self, execute: &mut Execute<'_>) -> State {
        for _ in 0..TURN {
            if !self.flush() {
                return State::Over;
            }
            if self.unsent.0 < self.unsent.1 {
                return State::Open;
            }
            if self.ending {
                return State::Over;
            }
            if !self.answer_next(execute) {
                match self.read(execute) {
                    State::Busy => {}
                    state => return state,
                }
            }
        }
        State::Busy
    }

    /// Answers the next request, if a whole one is there.
    fn answer_next(&mut self, execute: &mut Execute<'_>) -> bool {
        let Some(found) = self.input.next_request() else { return false };
        (self.unsent, self.ending) = answered(&found, self.memory, execute);
        true
    }

    /// Reads what has come.
    fn read(&mut self, execute: &mut Execute<'_>) -> State {
        match system::read(self.socket, self.input.room()) {
            // Of a request that was cut off is still said what is wrong with it.
            Ok(0) => match self.input.end() {
                Some(found) => {
                    (self.unsent, _) = answered(&found, self.memory, execute);
                    self.ending = true;
                    State::Busy
                }
                None => State::Over,
            },
            Ok(bytes) => {
                self.input.came(bytes);
                State::Busy
            }
            Err(EINTR) => State::Busy,
            Err(EAGAIN) => State::Open,
            Err(_) => State::Over,
        }
    }

    /// Sends what there is room for; says whether the other end is still there.
    fn flush(&mut self) -> bool {
        while self.unsent.0 < self.unsent.1 {
            let length = self.unsent.1 - self.unsent.0;
            // SAFETY: the part for answers, as far as it was written.
            let rest =
                unsafe { core::slice::from_raw_parts(self.memory.add(REQUEST + self.unsent.0), length) };
            match sockets::send(self.socket, rest) {
                Ok(sent) => self.unsent.0 += sent,
                Err(EINTR) => {}
                Err(EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Ends it, once the other end has had the chance to take what it was told.
    pub fn close(mut self) {
        self.flush();
        system::close(self.socket);
        system::unmap(self.memory as u64, REQUEST + ANSWER);
    }
}

/// Answers what was found in the input of the connection that has this memory: which bytes of the answer are to be sent, and
/// whether the connection then ends.
fn answered(found: &Found<'_>, memory: *mut u8, execute: &mut Execute<'_>) -> ((usize, usize), bool) {
    // SAFETY: the part of the connection's memory behind the input, which nothing else refers to now.
    let room = unsafe { core::slice::from_raw_parts_mut(memory.add(REQUEST), ANSWER) };
    let mut writer = Writer::new(room);
    let answer = serve::answer(found, &mut writer, execute);
    let length = if answer == Answer::Nothing { 0 } else { writer.bytes().len() };
    ((0, length), answer == Answer::SendAndClose)
}

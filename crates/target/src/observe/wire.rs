//! What memtrial and its copy on another machine say to each other: JSON behind its length in eight hex digits.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::place::{ActionEnd, Area, Identity, ObserveError, Reading};

/// Bytes in front of each message: its length and a newline.
const HEADER: usize = 9;

/// No message is longer: a map of a million mappings is not.
const LONGEST: usize = 1 << 29;

/// What is asked of the copy.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Request {
    Identity(i32),
    Named(String),
    Tree(i32),
    Reading(Identity),
    Glance(Identity),
    Areas(Identity),
    Run {
        command: String,
        limit_ms: u64,
    },
    /// Ends the action that is running, which then is answered; by itself it has no answer.
    Stop,
}

/// What the copy answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Without being asked: it is there.
    Hello,
    Identity(Identity),
    Identities(Vec<Identity>),
    Reading(Reading),
    Areas(Vec<Area>),
    Ran(ActionEnd, String),
    Failed(Failure),
}

/// An error, as it is sent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Failure {
    Gone(i32),
    Replaced(i32),
    Forbidden { pid: i32, errno: Option<i32>, error: String },
    Io { what: String, errno: Option<i32>, error: String },
}

impl From<ObserveError> for Failure {
    fn from(error: ObserveError) -> Failure {
        match error {
            ObserveError::Gone(pid) => Failure::Gone(pid),
            ObserveError::Replaced(pid) => Failure::Replaced(pid),
            ObserveError::Forbidden { pid, error } => {
                Failure::Forbidden { pid, errno: error.raw_os_error(), error: error.to_string() }
            }
            ObserveError::Io { what, error } => {
                Failure::Io { what, errno: error.raw_os_error(), error: error.to_string() }
            }
            // Nothing is asked over a connection there.
            ObserveError::Lost { host, why } | ObserveError::Refused { host, why } => {
                Failure::Io { what: host, errno: None, error: why }
            }
        }
    }
}

impl From<Failure> for ObserveError {
    fn from(failure: Failure) -> ObserveError {
        let rebuilt = |errno: Option<i32>, error| {
            errno.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
        };
        match failure {
            Failure::Gone(pid) => ObserveError::Gone(pid),
            Failure::Replaced(pid) => ObserveError::Replaced(pid),
            Failure::Forbidden { pid, errno, error } => {
                ObserveError::Forbidden { pid, error: rebuilt(errno, error) }
            }
            Failure::Io { what, errno, error } => ObserveError::Io { what, error: rebuilt(errno, error) },
        }
    }
}

/// A message as it is sent.
pub(super) fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let mut frame = format!("{:08x}\n", text.len()).into_bytes();
    frame.extend(text);
    Ok(frame)
}

/// Sends a message.
pub(super) fn write(output: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    output.write_all(&framed(message)?)?;
    output.flush()
}

/// Receives a message, and takes no byte behind it; `None` at the end.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut header = [0; HEADER];
    match input.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    // Not reserved at once: the length is only what somebody says.
    let mut text = Vec::new();
    let length = length(&header)?;
    if input.take(length as u64).read_to_end(&mut text)? < length {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Takes the first message off what was received; `None` as long as it is not whole.
pub(super) fn take<T: DeserializeOwned>(received: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(header) = received.first_chunk::<HEADER>() else { return Ok(None) };
    let end = HEADER + length(header)?;
    let Some(text) = received.get(HEADER..end) else { return Ok(None) };
    let message = serde_json::from_slice(text)?;
    received.drain(..end);
    Ok(Some(message))
}

fn length(header: &[u8; HEADER]) -> io::Result<usize> {
    let digits = header.strip_suffix(b"\n").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let length = digits.and_then(|digits| usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    length.filter(|&length| length <= LONGEST).ok_or_else(|| {
        let text = String::from_utf8_lossy(header).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("expected the length of a message, not {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_are_the_same_on_both_sides() {
        let denied = || io::Error::from_raw_os_error(libc::EACCES);
        let errors = [
            ObserveError::Gone(3),
            ObserveError::Replaced(4),
            ObserveError::Forbidden { pid: 5, error: denied() },
            ObserveError::Io { what: "cannot list /proc".to_owned(), error: denied() },
            ObserveError::Io { what: "cannot understand it".to_owned(), error: io::Error::other("odd") },
        ];
        for error in errors {
            let text = error.to_string();
            let back = ObserveError::from(Failure::from(error));
            assert_eq!(back.to_string(), text);
        }
    }

    #[test]
    fn a_message_that_is_none_is_an_error() {
        assert!(take::<Request>(&mut b"Welcome to this machine!".to_vec()).is_err());
        assert!(take::<Request>(&mut b"ffffffff\n".to_vec()).is_err());
        assert!(take::<Request>(&mut b"00000002\n{]".to_vec()).is_err());
        assert!(matches!(take::<Request>(&mut b"000000".to_vec()), Ok(None)));
        assert!(matches!(read::<Request>(&mut &b"00000009\nxx"[..]), Ok(None)));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_received(command: String, limit_ms: u64, cut in 0usize..20) {
            let request = Request::Run { command, limit_ms };
            let frame = framed(&request).expect("it can be written");
            let twice = [frame.as_slice(), &frame].concat();
            let mut input = twice.as_slice();
            let first: Option<Request> = read(&mut input).expect("read");
            prop_assert_eq!(first.as_ref(), Some(&request));
            prop_assert_eq!(input, frame.as_slice());
            let mut received = twice[..twice.len() - cut.clamp(1, frame.len())].to_vec();
            prop_assert_eq!(take::<Request>(&mut received).expect("whole"), Some(request));
            prop_assert!(matches!(take::<Request>(&mut received), Ok(None)));
        }

        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>) {
            let _ = read::<Request>(&mut bytes.as_slice());
            let _ = take::<Answer>(&mut bytes);
        }
    }
}

//! A client of control sockets that sends whatever a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::memtrial::LIMIT;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
    id: u64,
}

impl Connection {
    /// To the socket at this path.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    #[track_caller]
    pub fn to(path: &Path) -> Connection {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(LIMIT)).expect("the limit is not zero");
        stream.set_write_timeout(Some(LIMIT)).expect("the limit is not zero");
        let answers = BufReader::new(stream.try_clone().expect("a descriptor is free"));
        Connection { stream, answers, id: 0 }
    }

    /// Sends these bytes; the other side may have closed the connection already.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The next line of the answers, read as JSON; `None` at their end.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn answer(&mut self) -> Option<Value> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).ok()?;
        (length > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// An answer in a frame of its own, as it was sent.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn framed(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).expect("there is an answer");
            match line.trim_end() {
                "" => break,
                header => {
                    let number = header.strip_prefix("Content-Length: ").and_then(|text| text.parse().ok());
                    length = number.unwrap_or_else(|| panic!("that is no header: {header}"));
                }
            }
        }
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).expect("it is as long as it says");
        serde_json::from_slice(&body).expect("it is JSON")
    }

    /// Sends a request; its result, or code and message of its error.
    ///
    /// # Errors
    /// The protocol's.
    ///
    /// # Panics
    /// When there is no answer to it.
    #[track_caller]
    pub fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, (i64, String)> {
        self.id += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.id, "method": method, "params": parameters });
        self.send(format!("{request}\n"));
        let answer = self.answer().unwrap_or_else(|| panic!("no answer to {request}"));
        assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
        assert_eq!(answer["id"], self.id, "{answer}");
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(error(&answer)),
        }
    }

    /// The result of a request that must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|(code, message)| panic!("{method}: {code} {message}"))
    }
}

/// Code and message of an answer that is an error.
///
/// # Panics
/// When it is none.
#[must_use]
#[track_caller]
pub fn error(answer: &Value) -> (i64, String) {
    let error = &answer["error"];
    let code = error["code"].as_i64().unwrap_or_else(|| panic!("that is no error: {answer}"));
    (code, error["message"].as_str().unwrap_or_default().to_owned())
}

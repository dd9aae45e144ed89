//! A client of the control socket: JSON-RPC 2.0, a request and a reply on a line each.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::runtime;

/// A connection to a control socket.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    patience: Duration,
    /// The id of the next request.
    next: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent answers that it can't, or won't.
    #[error("{message}")]
    Fault {
        /// The code (JSON-RPC 2.0, 5.1).
        code: i64,
        /// Why.
        message: String,
    },
    /// Nobody answers any more: the process has ended, or the agent has left it.
    #[error("the agent does not answer any more")]
    Gone,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
    /// What came is no answer.
    #[error("the agent's answer can't be read: {0}")]
    Nonsense(String),
    /// The socket can't be used.
    #[error("{what}: {error}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
}

impl Client {
    /// Connects to the socket at `path`; answers may take as long as `patience`.
    ///
    /// # Errors
    /// When nobody listens there, or the socket is another user's.
    pub fn connect(path: &Path, patience: Duration) -> Result<Client, ClientError> {
        let failed = |error| ClientError::Io { what: format!("connect to {}", path.display()), error };
        let stream = runtime::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(patience)).map_err(failed)?;
        stream.set_write_timeout(Some(patience)).map_err(failed)?;
        Ok(Client { stream: BufReader::new(stream), patience, next: 1 })
    }

    /// Asks; `parameters` is an array or an object.
    ///
    /// # Errors
    /// See [`ClientError`]. After any but [`ClientError::Fault`] the connection is of no use any more.
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, ClientError> {
        let id = self.next;
        self.next += 1;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters});
        let line = format!("{request}\n");
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(|error| self.broken("ask the agent", error))?;
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        match read.map_err(|error| self.broken("hear the agent", error))? {
            0 => Err(ClientError::Gone),
            _ => result_of(&line, id),
        }
    }

    fn broken(&self, what: &str, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Late(self.patience),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                ClientError::Gone
            }
            _ => ClientError::Io { what: what.to_owned(), error },
        }
    }
}

/// What a reply to the request `id` says.
fn result_of(line: &str, id: u64) -> Result<Value, ClientError> {
    let nonsense = |why: &str| ClientError::Nonsense(format!("{why}: {}", line.trim_end()));
    let mut reply: Value = serde_json::from_str(line).map_err(|error| nonsense(&error.to_string()))?;
    if reply.get("id").and_then(Value::as_u64) != Some(id) {
        return Err(nonsense("it is not to what was asked"));
    }
    if let Some(error) = reply.get("error") {
        let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Err(ClientError::Fault { code, message });
    }
    match reply.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(nonsense("neither result nor error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_result_or_a_fault_and_to_what_was_asked() {
        let result = result_of(r#"{"jsonrpc":"2.0","id":3,"result":{"bytes":7}}"#, 3);
        assert_eq!(result.unwrap()["bytes"], 7);
        let fault = result_of(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32003,"message":"no test 9"}}"#, 3);
        assert!(matches!(fault, Err(ClientError::Fault { code: -32003, message }) if message == "no test 9"));
        for wrong in [r#"{"jsonrpc":"2.0","id":4,"result":1}"#, r#"{"id":3}"#, "[", ""] {
            assert!(matches!(result_of(wrong, 3), Err(ClientError::Nonsense(_))), "{wrong}");
        }
    }
}

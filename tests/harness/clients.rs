//! Clients of packaged daemons that compare every answer with what it has to be.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::memtrial::LIMIT;
use super::processes::wait_for;

/// What a client does in a round, which is numbered; it says what is wrong with the answer.
pub type Round = Box<dyn FnMut(u64) -> Result<(), String> + Send>;

/// A client that makes round after round until it is told to stop.
pub struct Client {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Client {
    /// Starts.
    #[must_use]
    pub fn start(mut round: Round) -> Client {
        let (rounds, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&rounds), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.load(Ordering::Relaxed);
                round(number).map_err(|error| format!("round {number}: {error}"))?;
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        });
        Client { rounds, stop, thread }
    }

    /// Rounds made so far.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits for so many rounds from now on, or for the first wrong answer.
    ///
    /// # Panics
    /// When they don't come.
    pub fn wait(&self, more: u64) {
        let enough = self.rounds() + more;
        wait_for(&format!("{more} rounds of a client"), || {
            (self.rounds() >= enough || self.thread.is_finished()).then_some(())
        });
    }

    /// Stops.
    ///
    /// # Errors
    /// What was wrong with an answer.
    ///
    /// # Panics
    /// When the client has panicked.
    pub fn stop(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a client does not panic")
    }
}

/// A connection to a port, read by lines and by numbers of bytes.
struct Talk {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Talk {
    fn to(port: u16) -> Result<Talk, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
        let answers = BufReader::new(stream.try_clone().map_err(|error| error.to_string())?);
        Ok(Talk { stream, answers })
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        self.stream.write_all(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line.trim_end().to_owned())
    }

    /// Reads as much as this, and compares.
    fn expect(&mut self, text: &str) -> Result<(), String> {
        let mut bytes = vec![0; text.len()];
        self.answers.read_exact(&mut bytes).map_err(|error| format!("{error} instead of {text:?}"))?;
        let found = String::from_utf8_lossy(&bytes);
        if found == text { Ok(()) } else { Err(format!("{found:?} instead of {text:?}")) }
    }
}

/// A text that is different for each number, from a few bytes to some thousand.
fn text(number: u64) -> String {
    format!("<{number}>").repeat(1 + usize::try_from(number * 37 % 700).unwrap_or(0))
}

/// Sets keys of redis, and gets others that were set before.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn redis(port: u16) -> Round {
    let mut talk = Talk::to(port).expect("it is ready");
    let mut known = HashMap::new();
    Box::new(move |number| {
        let (key, value) = (number % 211, text(number));
        talk.send(&format!("SET key:{key} {value}\r\n"))?;
        talk.expect("+OK\r\n")?;
        known.insert(key, value);
        for key in [key, number * 7 % 211] {
            talk.send(&format!("GET key:{key}\r\n"))?;
            match known.get(&key) {
                Some(value) => talk.expect(&format!("${}\r\n{value}\r\n", value.len()))?,
                None => talk.expect("$-1\r\n")?,
            }
        }
        Ok(())
    })
}

/// The same with memcached.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn memcached(port: u16) -> Round {
    let mut talk = Talk::to(port).expect("it is ready");
    Box::new(move |number| {
        let (key, value) = (number % 211, text(number));
        talk.send(&format!("set key:{key} 0 0 {}\r\n{value}\r\nget key:{key}\r\n", value.len()))?;
        talk.expect(&format!("STORED\r\nVALUE key:{key} 0 {}\r\n{value}\r\nEND\r\n", value.len()))
    })
}

/// Fetches a file from a web server, each time on a connection of its own.
#[must_use]
pub fn web(port: u16, path: &'static str, contents: String) -> Round {
    Box::new(move |_| {
        let mut talk = Talk::to(port)?;
        talk.send(&format!("GET /{path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))?;
        let status = talk.line()?;
        if !status.ends_with("200 OK") {
            return Err(status);
        }
        while !talk.line()?.is_empty() {}
        talk.expect(&contents)
    })
}

/// Asks a name server for the address of `answer.test`.
///
/// # Panics
/// When there is no loopback interface.
#[must_use]
pub fn names(port: u16) -> Round {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a loopback interface");
    socket.connect(("127.0.0.1", port)).expect("it is ready");
    socket.set_read_timeout(Some(LIMIT)).expect("the limit is not zero");
    Box::new(move |number| {
        let [.., high, low] = number.to_be_bytes();
        let mut question = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x06answer\x04test\0\0\x01\0\x01");
        socket.send(&question).map_err(|error| error.to_string())?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).map_err(|error| error.to_string())?;
        let right = answer[..2] == [high, low] && answer[3] & 15 == 0;
        let address = answer[..length].ends_with(&[0, 4, 192, 0, 2, 7]);
        if right && address { Ok(()) } else { Err(format!("{:?}", &answer[..length])) }
    })
}

/// A session of `psql`, open for many queries.
pub struct Session {
    child: Child,
    queries: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// With the server on this port.
    ///
    /// # Panics
    /// When `psql` can't be started.
    #[must_use]
    pub fn to(port: u16) -> Session {
        let mut psql = Command::new("psql");
        psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "tester", "-d", "postgres", "-XAtq"]);
        let mut child = psql
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("psql: {error}; ./test installs it"));
        let queries = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Session { child, queries, answers }
    }

    /// The one line that answers a query.
    ///
    /// # Errors
    /// When the session has ended.
    pub fn ask(&mut self, query: &str) -> Result<String, String> {
        writeln!(self.queries, "{query};").map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        if line.is_empty() { Err("the session has ended".to_owned()) } else { Ok(line.trim_end().to_owned()) }
    }

    /// Queries that sort, join and put texts together.
    #[must_use]
    pub fn rounds(mut self) -> Round {
        Box::new(move |number| {
            let rows = 1 + number * 131 % 5000;
            let query = format!(
                "select sum(a), count(distinct a % 7), length(string_agg(repeat('x', a % 50), '' order by a desc)) \
                 from generate_series(1, {rows}) a"
            );
            let length: u64 = (1..=rows).map(|a| a % 50).sum();
            let right = format!("{}|{}|{length}", rows * (rows + 1) / 2, rows.min(7));
            let answer = self.ask(&query)?;
            if answer == right { Ok(()) } else { Err(format!("{answer} instead of {right}")) }
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

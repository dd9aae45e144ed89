//! The processes of another machine, as its own shell reads them from /proc.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::action::Tail;
use super::connection::{ANSWER, Connection, Received, Waited};
use super::here::{check, failure, identified};
use super::place::{ActionEnd, Area, Identity, ObserveError, Reading};
use super::procfs::{self, Stat};
use super::wire::{self, Answer};

/// What the other shell runs.
const SCRIPT: &str = include_str!("shell.sh");

/// For how long an action and all below it may take to end when they are ended: the shell starts dozens of processes for
/// that, which take long on a busy machine.
pub(super) const ENDING: Duration = Duration::from_secs(120);

/// For how long its last words may be under way after the news of its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Most bytes copied in one piece.
const PIECE: usize = 1 << 20;

/// The loop of [`SCRIPT`] on the other side.
#[derive(Debug)]
pub(super) struct Shell {
    boundary: String,
    /// What machine it says it is, as `x86_64`.
    architecture: String,
    pid: i32,
    actions: u32,
}

/// What one command of a request printed, and its status, or another word in place of that.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    text: Vec<u8>,
    status: String,
}

impl Shell {
    /// Starts the loop in the shell at the other end of the connection. What was printed there before is skipped.
    pub fn start(connection: &mut Connection) -> Result<Shell, ObserveError> {
        let boundary = boundary()
            .map_err(|error| ObserveError::Io { what: "cannot read /dev/urandom".to_owned(), error })?;
        connection.send(SCRIPT.replace("@BOUNDARY@", &boundary).as_bytes())?;
        let part =
            connection.wait(ANSWER, |connection| Ok(take_part(&mut connection.received, &boundary)))?;
        let mut words = part.status.split(' ').skip(1);
        let architecture = words.next().unwrap_or_default().to_owned();
        let pid = words.next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        connection.is_up = true;
        Ok(Shell { boundary, architecture, pid, actions: 0 })
    }

    /// Has a copy of the program `file` run in the loop's place; why not, if it can't: then the loop is as it was.
    pub fn hand_over(
        &self,
        connection: &mut Connection,
        file: &Path,
    ) -> Result<Result<(), String>, ObserveError> {
        let ours = std::env::consts::ARCH;
        if self.architecture != ours {
            return Ok(Err(format!("that machine is {}, this one {ours}", self.architecture)));
        }
        let opened = File::open(file).and_then(|file| file.metadata().map(|facts| (file, facts.len())));
        let (mut program, length) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(format!("cannot read {}: {error}", file.display()))),
        };
        if self.parts(connection, "prepare", 1)?[0].status != "0" {
            return Ok(Err("no folder there can be written to and allows executables".to_owned()));
        }
        connection.send(format!("take {length}\n").as_bytes())?;
        let mut piece = vec![0; PIECE];
        let mut left = length;
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
            match program.read(&mut piece[..wanted]) {
                Ok(0) => return Err(connection.failed(Some("the copy of memtrial became shorter"))),
                Ok(read) => {
                    connection.send(&piece[..read])?;
                    left -= read as u64;
                }
                Err(error) => return Err(connection.failed(Some(&error.to_string()))),
            }
        }
        connection.wait(ANSWER, |connection| match connection.received.bytes.first() {
            None => Ok(None),
            Some(b'\n') => Ok(take_part(&mut connection.received, &self.boundary)
                .map(|part| Err(format!("it can't be run there: status {}", part.status)))),
            Some(_) => match wire::take(&mut connection.received.bytes) {
                Ok(hello) => Ok(hello.map(|_: Answer| Ok(()))),
                Err(error) => Err(connection.failed(Some(&error.to_string()))),
            },
        })
    }

    /// The process with this pid.
    pub fn identity(&self, connection: &mut Connection, pid: i32) -> Result<Identity, ObserveError> {
        let parts = self.parts(connection, &format!("part cat /proc/{pid}/stat"), 1)?;
        identified(stat_in(&parts[0], pid)?)
    }

    /// All processes with this name.
    pub fn named(&self, connection: &mut Connection, name: &str) -> Result<Vec<Identity>, ObserveError> {
        if name.contains('\0') {
            return Ok(Vec::new());
        }
        let request = format!(
            "part cat /proc/[0-9]*/stat; part ls -l /proc/[0-9]*/exe; part grep -l -F -e {} /proc/[0-9]*/cmdline",
            quoted(name)
        );
        let parts = self.parts(connection, &request, 3)?;
        let all = procfs::stats(&parts[0].text);
        let executables = executables(&parts[1].text);
        let candidates: Vec<i32> =
            String::from_utf8_lossy(&parts[2].text).lines().filter_map(pid_in).collect();
        let request: Vec<String> =
            candidates.iter().map(|pid| format!("part cat /proc/{pid}/cmdline")).collect();
        let arguments = self.parts(connection, &request.join("; "), candidates.len())?;
        let by_argument = candidates.iter().zip(arguments);
        let by_argument = by_argument.filter(|(_, part)| procfs::first_argument(&part.text) == name);
        let mut pids: Vec<i32> = by_argument.map(|(&pid, _)| pid).collect();
        pids.extend(executables.iter().filter(|(_, file)| file == name).map(|(pid, _)| *pid));
        let own = procfs::below(&all, self.pid);
        let is_own = |stat: &Stat| own.iter().any(|own| own.pid == stat.pid);
        let has_name = |stat: &&Stat| stat.name == name || pids.contains(&stat.pid);
        let found = all.iter().filter(has_name).filter(|stat| !stat.has_ended() && !is_own(stat));
        sorted(found.cloned().collect())
    }

    /// A process and all below it.
    pub fn tree(&self, connection: &mut Connection, pid: i32) -> Result<Vec<Identity>, ObserveError> {
        let parts = self.parts(connection, "part cat /proc/[0-9]*/stat", 1)?;
        let all = procfs::stats(&parts[0].text);
        let family = procfs::below(&all, pid).into_iter().cloned();
        match family.clone().find(|stat| stat.pid == pid) {
            Some(stat) if !stat.has_ended() => sorted(family.filter(|stat| !stat.has_ended()).collect()),
            _ => Err(ObserveError::Gone(pid)),
        }
    }

    /// What a process holds.
    pub fn reading(&self, connection: &mut Connection, process: &Identity) -> Result<Reading, ObserveError> {
        let pid = process.pid;
        let request = |file| {
            format!(
                "part cat /proc/{pid}/stat; part cat /proc/{pid}/{file}; part wc -l /proc/{pid}/maps; \
                 part ls /proc/{pid}/fd; part cat /proc/{pid}/stat"
            )
        };
        let mut parts = self.parts(connection, &request("smaps_rollup"), 5)?;
        let now = self.same(process, &parts)?;
        // Before Linux 4.14 there is none.
        if parts[1].error().is_some_and(|error| error.raw_os_error() == Some(libc::ENOENT)) {
            parts = self.parts(connection, &request("smaps"), 5)?;
            self.same(process, &parts)?;
        }
        for part in &parts[1..4] {
            part.error().map_or(Ok(()), |error| Err(failure(process, error)))?;
        }
        let nothing = || failure(process, io::Error::from_raw_os_error(libc::ESRCH));
        let figures = procfs::figures(&parts[1].text).ok_or_else(nothing)?;
        let count = String::from_utf8_lossy(&parts[2].text);
        let mappings =
            count.split_ascii_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or(0);
        let descriptors = parts[3].text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(Reading { mappings, threads: now.threads, descriptors, ..figures })
    }

    /// The mappings of a process.
    pub fn areas(&self, connection: &mut Connection, process: &Identity) -> Result<Vec<Area>, ObserveError> {
        let pid = process.pid;
        let request =
            format!("part cat /proc/{pid}/stat; part cat /proc/{pid}/smaps; part cat /proc/{pid}/stat");
        let parts = self.parts(connection, &request, 3)?;
        self.same(process, &parts)?;
        parts[1].error().map_or(Ok(()), |error| Err(failure(process, error)))?;
        Ok(procfs::areas(&parts[1].text))
    }

    /// Runs a command. That a signal ended it can't be told from a status of 128 plus its number.
    pub fn run(
        &mut self,
        connection: &mut Connection,
        command: &str,
        limit: Duration,
    ) -> Result<(ActionEnd, String), ObserveError> {
        if command.contains('\0') {
            return Ok((ActionEnd::NotStarted("it has a NUL byte in it".to_owned()), String::new()));
        }
        self.actions += 1;
        connection.said.clear();
        let mark = format!("{}.{:010}", self.boundary, self.actions);
        connection.send(format!("action {mark} {}\n", quoted(command)).as_bytes())?;
        let boundary = self.boundary.clone();
        let ended = |connection: &mut Connection| Ok(take_part(&mut connection.received, &boundary));
        let end = match connection.wait_or_stop(limit, ended)? {
            Waited::For(part) => {
                part.end().ok_or_else(|| connection.failed(Some("an answer that was not asked for")))?
            }
            waited => {
                connection.send(b"stop; answer stopped\n")?;
                // The end of the action and the answer come in any order.
                connection.wait_in_any_case(ENDING, ended)?;
                connection.wait_in_any_case(ENDING, ended)?;
                if waited == Waited::Interrupted { ActionEnd::Interrupted } else { ActionEnd::TimedOut }
            }
        };
        let last = format!("\n{boundary}\n");
        let whole = |connection: &mut Connection| Ok(find(&connection.said, last.as_bytes()));
        // An action that closed it for good, or goes on writing, has said enough.
        let length = match connection.wait_or_stop(LAST_WORDS, whole)? {
            Waited::For(length) => length,
            _ => find(&connection.said, last.as_bytes()).unwrap_or(connection.said.len()),
        };
        let mut tail = Tail::default();
        tail.push(&connection.said[..length]);
        connection.said.clear();
        Ok((end, tail.text()))
    }

    /// The process, which must be the one meant in the first part and in the last one.
    fn same(&self, process: &Identity, parts: &[Part]) -> Result<Stat, ObserveError> {
        for part in parts.iter().rev().step_by(parts.len().saturating_sub(1).max(1)) {
            check(process, stat_in(part, process.pid)?)?;
        }
        stat_in(&parts[0], process.pid)
    }

    /// Sends a line of shell and receives as many parts as it answers with.
    fn parts(
        &self,
        connection: &mut Connection,
        line: &str,
        number: usize,
    ) -> Result<Vec<Part>, ObserveError> {
        connection.send(format!("{line}\n").as_bytes())?;
        let part = |connection: &mut Connection| Ok(take_part(&mut connection.received, &self.boundary));
        (0..number).map(|_| connection.wait(ANSWER, part)).collect()
    }
}

impl Part {
    /// What the command complained of in its last line, if it failed.
    fn error(&self) -> Option<io::Error> {
        if self.status == "0" {
            return None;
        }
        let text = String::from_utf8_lossy(&self.text);
        let known = [
            ("No such file or directory", libc::ENOENT),
            ("No such process", libc::ESRCH),
            ("Permission denied", libc::EACCES),
            ("Operation not permitted", libc::EPERM),
        ];
        let errno = known.iter().find(|(words, _)| text.contains(words)).map(|(_, errno)| *errno);
        let last = text.lines().last().unwrap_or_default().to_owned();
        Some(errno.map_or_else(|| io::Error::other(last), io::Error::from_raw_os_error))
    }

    /// How the action ended that this is the news of.
    fn end(&self) -> Option<ActionEnd> {
        let status: i32 = self.status.strip_prefix("end ")?.parse().ok()?;
        Some(if (129..160).contains(&status) {
            ActionEnd::Signal(status - 128)
        } else {
            ActionEnd::Exit(status)
        })
    }
}

/// A word that nobody can guess.
fn boundary() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Takes the first part off what was received; `None` as long as it is not whole.
fn take_part(received: &mut Received, boundary: &str) -> Option<Part> {
    let line = format!("\n{boundary} ");
    let Some(text) = find(&received.bytes[received.searched..], line.as_bytes()) else {
        // It may have come in part.
        received.searched = received.bytes.len().saturating_sub(line.len());
        return None;
    };
    let text = received.searched + text;
    received.searched = text;
    let begin = text + line.len();
    let length = received.bytes[begin..].iter().position(|&byte| byte == b'\n')?;
    let status = String::from_utf8_lossy(&received.bytes[begin..begin + length]).into_owned();
    let part = Part { text: received.bytes[..text].to_vec(), status };
    received.bytes.drain(..=begin + length);
    received.searched = 0;
    Some(part)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// A word of shell that holds just this text, in one line.
fn quoted(text: &str) -> String {
    let mut word = String::from("\"$(printf %b '");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b" _-./,=:".contains(&byte) {
            word.push(char::from(byte));
        } else {
            word.push_str(&format!("\\0{byte:03o}"));
        }
    }
    word.push_str("')\"");
    word
}

fn stat_in(part: &Part, pid: i32) -> Result<Stat, ObserveError> {
    let what = || format!("cannot read /proc/{pid}/stat");
    match part.error() {
        Some(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
            Err(ObserveError::Gone(pid))
        }
        Some(error) => Err(ObserveError::Io { what: what(), error }),
        None => procfs::stat(&part.text).ok_or_else(|| ObserveError::Io {
            what: what(),
            error: io::Error::from(io::ErrorKind::InvalidData),
        }),
    }
}

/// Pids and the file names of what they run, from what `ls -l` prints.
fn executables(text: &[u8]) -> Vec<(i32, String)> {
    let text = String::from_utf8_lossy(text);
    let links = text.lines().filter_map(|line| line.split_once(" -> "));
    let named = links.filter_map(|(link, file)| {
        let path = link.rsplit(' ').next()?;
        Some((pid_in(path)?, procfs::file_name(file).to_owned()))
    });
    named.collect()
}

/// The pid in a path as `/proc/7/exe`.
fn pid_in(path: &str) -> Option<i32> {
    path.strip_prefix("/proc/")?.split('/').next()?.parse().ok()
}

fn sorted(mut stats: Vec<Stat>) -> Result<Vec<Identity>, ObserveError> {
    stats.sort_unstable_by_key(|stat| stat.pid);
    stats.into_iter().map(identified).collect()
}

/// The file that is copied there may not be a folder, or anything else without a length of its own.
pub(super) fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn parts_are_taken_once_they_are_whole() {
        let bytes = b"Welcome!\n\nB hello x86_64 7\n12 (a) S\n\nB 0\n\nB 1".to_vec();
        let mut received = Received { bytes, searched: 0 };
        let part = |text: &str, status: &str| Part { text: text.into(), status: status.to_owned() };
        assert_eq!(take_part(&mut received, "B"), Some(part("Welcome!\n", "hello x86_64 7")));
        assert_eq!(take_part(&mut received, "B"), Some(part("12 (a) S\n", "0")));
        assert_eq!(take_part(&mut received, "B"), None);
        received.bytes.push(b'\n');
        assert_eq!(take_part(&mut received, "B"), Some(part("", "1")));
        assert_eq!(take_part(&mut received, "B"), None);
    }

    #[test]
    fn what_commands_complain_of_is_understood() {
        let error =
            |text: &str| Part { text: text.into(), status: "1".to_owned() }.error().expect("it failed");
        assert_eq!(
            error("cat: /proc/1/smaps_rollup: Permission denied\n").raw_os_error(),
            Some(libc::EACCES)
        );
        assert_eq!(
            error("cat: /proc/9/stat: No such file or directory\n").raw_os_error(),
            Some(libc::ENOENT)
        );
        assert_eq!(error("cat: read error: No such process\n").raw_os_error(), Some(libc::ESRCH));
        assert_eq!(error("x\ncat: on fire\n").to_string(), "cat: on fire");
    }

    #[test]
    fn links_to_executables_are_understood() {
        let text = b"ls: cannot read symbolic link '/proc/2/exe': No such file or directory\n\
            lrwxrwxrwx 1 root root 0 Nov 21 17:43 /proc/7/exe -> /opt/a b/server (deleted)\n\
            lrwxrwxrwx 1 root root 0 Nov 21 17:43 /proc/2/exe\n";
        assert_eq!(executables(text), [(7, "server".to_owned())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_quoted_is_one_word_and_one_line(text in "[^\0]{0,40}") {
            let word = quoted(&text);
            prop_assert!(!word.contains('\n'));
            let shown = Command::new("/bin/sh").args(["-c", &format!("printf '%s.' {word}")]).output();
            let shown = String::from_utf8_lossy(&shown.expect("a shell").stdout).into_owned();
            // A shell takes newlines off the end of what a command prints.
            prop_assert_eq!(shown, format!("{}.", text.trim_end_matches('\n')));
        }

        #[test]
        fn parts_are_the_same_however_they_come(texts in prop::collection::vec("[B \n0a]{0,9}", 1..4), cut in 1usize..9) {
            let boundary = "BOUNDARY";
            let sent: String = texts.iter().map(|text| format!("{text}\n{boundary} 0\n")).collect();
            let mut received = Received::default();
            let mut taken = Vec::new();
            for piece in sent.as_bytes().chunks(cut) {
                received.bytes.extend_from_slice(piece);
                while let Some(part) = take_part(&mut received, boundary) {
                    taken.push(String::from_utf8_lossy(&part.text).into_owned());
                }
            }
            prop_assert_eq!(taken, texts);
            prop_assert!(received.bytes.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = executables(&bytes);
            let _ = take_part(&mut Received { bytes, searched: 0 }, "B");
        }
    }
}

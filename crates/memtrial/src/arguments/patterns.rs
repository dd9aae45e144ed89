//! Patterns that begin with `-`, told from options.
//!
//! The parser of the command line either refuses them or, once it was told to take them, takes all options behind them for
//! patterns, too. So they are marked before it sees them: words of `memtrial trace` that begin with one `-` and are not
//! all made of letters that are options.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::Command;

/// Stands before a pattern that begins with `-`. No argument of a process can have it.
const MARK: char = '\0';

/// The words of a command line, with patterns marked.
pub fn marked(words: impl IntoIterator<Item = OsString>, mut command: Command) -> Vec<OsString> {
    command.build();
    let mut words: Vec<OsString> = words.into_iter().collect();
    let Some((trace, at)) = next_command(&command, &words, 1) else { return words };
    if trace.get_name() != "trace" {
        return words;
    }
    let Some((command, start)) = next_command(trace, &words, at) else { return words };
    let mut is_value = false;
    for word in words.iter_mut().skip(start) {
        if word == "--" {
            break;
        }
        if !is_value && is_pattern(command, word) {
            let mut bytes = vec![MARK as u8];
            bytes.extend(word.as_bytes());
            *word = OsString::from_vec(bytes);
        }
        is_value = !is_value && takes_value(command, word);
    }
    words
}

/// A pattern, its mark taken away.
#[expect(clippy::unnecessary_wraps, reason = "what the parser of the command line wants")]
pub fn pattern(word: &str) -> Result<String, Infallible> {
    Ok(word.strip_prefix(MARK).unwrap_or(word).to_owned())
}

/// The command that is named at `at` or, behind options, later; and where the words behind it begin.
fn next_command<'a>(above: &'a Command, words: &[OsString], mut at: usize) -> Option<(&'a Command, usize)> {
    while let Some(word) = words.get(at) {
        if !word.as_bytes().starts_with(b"-") {
            return Some((above.find_subcommand(word)?, at + 1));
        }
        at += if takes_value(above, word) { 2 } else { 1 };
    }
    None
}

fn is_pattern(command: &Command, word: &OsString) -> bool {
    let Some(text) = word.to_str() else { return word.as_bytes().starts_with(b"-") };
    let Some(letters) = text.strip_prefix('-').filter(|rest| !rest.is_empty() && !rest.starts_with('-'))
    else {
        return false;
    };
    !letters.chars().all(|letter| command.get_arguments().any(|option| option.get_short() == Some(letter)))
}

/// Whether the word is an option whose value is the next word.
fn takes_value(command: &Command, word: &OsString) -> bool {
    let Some(text) = word.to_str() else { return false };
    let options = || command.get_arguments().filter(|option| option.get_action().takes_values());
    if let Some(name) = text.strip_prefix("--") {
        return options().any(|option| option.get_long() == Some(name));
    }
    // Of several letters the last can be one that takes a value.
    let last = text.strip_prefix('-').and_then(|letters| letters.chars().last());
    last.is_some_and(|last| options().any(|option| option.get_short() == Some(last)))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::arguments::trace::{self, List, Run};
    use crate::arguments::{Arguments, Command as Chosen};

    fn parsed(line: &str) -> trace::Command {
        let words = line.split(' ').map(OsString::from);
        let arguments = Arguments::try_parse_from(marked(words, Arguments::command()));
        match arguments.unwrap_or_else(|error| panic!("{line}: {error}")).command {
            Chosen::Trace(trace) => trace.command,
            other => panic!("{other:?}"),
        }
    }

    fn list(line: &str) -> List {
        match parsed(line) {
            trace::Command::List(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn run(line: &str) -> Run {
        match parsed(line) {
            trace::Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_are_options_wherever_they_stand() {
        for line in [
            "memtrial trace list postgres -vnc* q* -v --json",
            "memtrial trace list -v --json postgres -vnc* q*",
            "memtrial --color never trace list postgres --json -vnc* -v q*",
            "memtrial --color=never trace list --json postgres -vnc* q* -v",
        ] {
            let list = list(line);
            assert_eq!(
                (list.words, list.verbose, list.json),
                (vec!["postgres".to_owned(), "-vnc*".to_owned(), "q*".to_owned()], true, true),
                "{line}"
            );
        }
    }

    #[test]
    fn values_of_options_are_no_patterns() {
        let run = run("memtrial trace run qemu -o* -o out -qio* --count -q --pid 7 x*");
        assert_eq!(run.patterns, ["-o*", "-qio*", "x*"]);
        assert_eq!(run.writing.output.as_deref(), Some("out".as_ref()));
        assert!(run.writing.count && run.writing.quiet);
        assert_eq!(run.pid, [7]);
    }

    #[test]
    fn what_belongs_to_a_program_is_left_alone() {
        match parsed("memtrial trace exec -free memtrial:* -- ls -xyz") {
            trace::Command::Exec(exec) => {
                assert_eq!(exec.patterns, ["-free", "memtrial:*"]);
                assert_eq!(exec.command, ["ls", "-xyz"]);
            }
            other => panic!("{other:?}"),
        }
        let words = ["memtrial", "oom", "-xyz", "--", "trace", "list", "-abc"].map(OsString::from);
        assert_eq!(marked(words.clone(), Arguments::command()), words);
    }
}

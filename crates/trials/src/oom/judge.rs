//! The oracles: what was observed of an injection, turned into a verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;

use memtrial_report::model::{Difference, End, Grade, Verdict};
use memtrial_target::crash::Crash;
use regex::bytes::Regex;

use crate::signal;

use super::compare;

/// The outputs of the reference run, and which of them can be compared.
#[derive(Debug)]
pub struct Expected {
    /// How it ended.
    pub end: End,
    /// All of its stdout; `None` if two reference runs differed in it.
    pub stdout: Option<Vec<u8>>,
    /// All of its stderr; `None` if two reference runs differed in it.
    pub stderr: Option<Vec<u8>>,
    /// The files that both reference runs wrote alike.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Whether it met fault signals: then a fault signal is nothing special.
    pub meets_faults: bool,
}

/// What the user expects of injections.
#[derive(Debug, Default)]
pub struct Expectations {
    /// Exit statuses allowed; empty: any.
    pub exit: Vec<i32>,
    /// What stderr must match when the status is a failure.
    pub stderr: Option<Regex>,
}

/// What an injection did.
#[derive(Debug)]
pub struct Observed<'a> {
    /// How its first process ended.
    pub end: End,
    /// What it wrote to stdout itself, and at which byte of the whole that begins.
    pub stdout: (&'a [u8], usize),
    /// What it wrote to stderr itself, and at which byte of the whole that begins.
    pub stderr: (&'a [u8], usize),
    /// The files it wrote; `None` where that was not looked at.
    pub files: Option<&'a BTreeMap<PathBuf, Vec<u8>>>,
    /// The fault signals its processes met.
    pub crashes: &'a [Crash],
    /// What the check command said, if it failed.
    pub damage: Option<&'a str>,
    /// Whether the allocation was failed at all.
    pub reached: bool,
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The outcome judged.
    pub verdict: Verdict,
    /// For `silent`.
    pub grade: Option<Grade>,
    /// For `silent`: where output differs.
    pub difference: Option<Difference>,
    /// A sentence more.
    pub note: Option<String>,
    /// Which of the crashes it rests on.
    pub crash: Option<usize>,
}

impl Judgement {
    fn plain(verdict: Verdict) -> Judgement {
        Judgement { verdict, grade: None, difference: None, note: None, crash: None }
    }

    fn noted(verdict: Verdict, note: impl Into<String>) -> Judgement {
        Judgement { note: Some(note.into()), ..Judgement::plain(verdict) }
    }
}

/// Judges one injection.
#[must_use]
pub fn judge(observed: &Observed<'_>, expected: &Expected, expectations: &Expectations) -> Judgement {
    if !observed.reached {
        return Judgement::plain(Verdict::Unreached);
    }
    match observed.end {
        End::Timeout => return Judgement::plain(Verdict::Hung),
        End::Flood => return Judgement::noted(Verdict::Hung, "it wrote without end"),
        _ => {}
    }
    if let Some(judgement) = judge_crashes(observed, expected) {
        return judgement;
    }
    if let Some(damage) = observed.damage {
        return Judgement::noted(Verdict::Damaged, damage);
    }
    match observed.end {
        End::Signal(signal::ABORT) => judge_abort(observed, None),
        End::Signal(signal) if !matches!(expected.end, End::Signal(same) if same == signal) => {
            Judgement::noted(Verdict::Crashed, format!("ended by {}", signal::name(signal)))
        }
        End::Exit(status) => judge_exit(status, observed, expected, expectations),
        _ => judge_output(observed, expected),
    }
}

/// Fault signals count unless the program recovered and ended as ever.
fn judge_crashes(observed: &Observed<'_>, expected: &Expected) -> Option<Judgement> {
    let counts = |crash: &Crash| match crash.signal {
        signal::ABORT => crash.fatal,
        _ => crash.fatal || (crash.by_kernel && !expected.meets_faults),
    };
    let (index, crash) = observed.crashes.iter().enumerate().find(|(_, crash)| counts(crash))?;
    let recovered = !crash.fatal && judge_output(observed, expected).verdict == Verdict::Tolerated;
    if recovered && observed.end == expected.end {
        return None;
    }
    let mut judgement = match crash.signal {
        signal::ABORT => judge_abort(observed, crash.message.as_deref()),
        _ => Judgement::plain(Verdict::Crashed),
    };
    if !matches!(observed.end, End::Signal(_)) {
        let whose =
            if crash.fatal { "a child process met the signal" } else { "its own handler caught the signal" };
        judgement.note = Some(whose.to_owned());
    }
    judgement.crash = Some(index);
    Some(judgement)
}

/// An abort is a decision, a failed assertion, or the allocator's own check: the message tells which.
fn judge_abort(observed: &Observed<'_>, message: Option<&str>) -> Judgement {
    let said = String::from_utf8_lossy(observed.stderr.0);
    let texts = [message.unwrap_or(""), &said];
    let line = |marks: &[&str]| {
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.into_iter().find(|line| marks.iter().any(|mark| line.contains(mark))).map(str::to_owned)
    };
    if let Some(line) = line(HEAP_CHECKS) {
        return Judgement::noted(Verdict::Corrupted, line);
    }
    if let Some(line) = line(ASSERTIONS) {
        return Judgement::noted(Verdict::Asserted, line);
    }
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
    Judgement { note: last, ..Judgement::plain(Verdict::Aborted) }
}

/// What glibc, jemalloc, tcmalloc and mimalloc say when they find their heap damaged.
const HEAP_CHECKS: &[&str] = &[
    "double free",
    "free(): ",
    "malloc(): ",
    "realloc(): ",
    "calloc(): ",
    "munmap_chunk(): ",
    "malloc_consolidate(): ",
    "corrupted size vs. prev_size",
    "corrupted double-linked list",
    "malloc_printerr",
    "<jemalloc>: ",
    "Attempt to free invalid pointer",
    "mimalloc: error: ",
    "*** stack smashing detected ***",
];

/// What failed assertions say: glibc's `assert`, and the same made by hand as GLib's or SQLite's.
const ASSERTIONS: &[&str] = &["Assertion `", "Assertion '", "assertion failed", "Assertion failed"];

fn judge_exit(
    status: i32,
    observed: &Observed<'_>,
    expected: &Expected,
    expectations: &Expectations,
) -> Judgement {
    if !expectations.exit.is_empty() && !expectations.exit.contains(&status) {
        let note = format!("exit status {status}, which --expect-exit does not have");
        return Judgement::noted(Verdict::Misreported, note);
    }
    let as_ever = expected.end == End::Exit(status);
    if status != 0 && (!as_ever || judge_output(observed, expected).verdict == Verdict::Silent) {
        return match &expectations.stderr {
            Some(pattern) if !pattern.is_match(observed.stderr.0) => {
                Judgement::noted(Verdict::Misreported, "stderr does not match --expect-stderr")
            }
            _ => Judgement::plain(Verdict::Handled),
        };
    }
    if !as_ever {
        let note = "exit status 0, where the reference run reports a failure";
        return Judgement {
            grade: Some(grade(observed, expected)),
            ..Judgement::noted(Verdict::Silent, note)
        };
    }
    judge_output(observed, expected)
}

/// Compares stdout and files with the reference run's.
fn judge_output(observed: &Observed<'_>, expected: &Expected) -> Judgement {
    let (stdout, from) = observed.stdout;
    let in_stdout =
        expected.stdout.as_ref().and_then(|reference| compare::difference("stdout", reference, stdout, from));
    let in_files = || {
        let files = observed.files?;
        expected.files.iter().find_map(|(path, reference)| {
            let written = files.get(path).map_or(&[][..], Vec::as_slice);
            compare::difference(&path.display().to_string(), reference, written, 0)
        })
    };
    match in_stdout.or_else(in_files) {
        None => Judgement::plain(Verdict::Tolerated),
        Some(difference) => Judgement {
            grade: Some(grade(observed, expected)),
            difference: Some(difference),
            ..Judgement::plain(Verdict::Silent)
        },
    }
}

/// Whether it said anything on stderr that the reference run did not.
fn grade(observed: &Observed<'_>, expected: &Expected) -> Grade {
    let (said, from) = observed.stderr;
    let as_ever = match &expected.stderr {
        Some(reference) => reference.get(from..).unwrap_or(&[]) == said,
        None => said.is_empty(),
    };
    if as_ever { Grade::NotAWord } else { Grade::Complained }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(status: i32) -> Expected {
        Expected {
            end: End::Exit(status),
            stdout: Some(b"out\n".to_vec()),
            stderr: Some(Vec::new()),
            files: BTreeMap::new(),
            meets_faults: false,
        }
    }

    fn observed<'a>(end: End, stdout: &'a [u8], stderr: &'a [u8]) -> Observed<'a> {
        Observed {
            end,
            stdout: (stdout, 0),
            stderr: (stderr, 0),
            files: None,
            crashes: &[],
            damage: None,
            reached: true,
        }
    }

    fn verdict(observed: &Observed<'_>, reference: i32) -> (Verdict, Option<Grade>) {
        let judgement = judge(observed, &expected(reference), &Expectations::default());
        (judgement.verdict, judgement.grade)
    }

    #[test]
    fn exit_status_and_output_tell_handled_tolerated_and_silent_apart() {
        assert_eq!(verdict(&observed(End::Exit(1), b"", b""), 0).0, Verdict::Handled);
        assert_eq!(verdict(&observed(End::Exit(0), b"out\n", b"warning"), 0).0, Verdict::Tolerated);
        let silent = observed(End::Exit(0), b"ou", b"");
        assert_eq!(verdict(&silent, 0), (Verdict::Silent, Some(Grade::NotAWord)));
        let complained = observed(End::Exit(0), b"ou", b"no memory");
        assert_eq!(verdict(&complained, 0), (Verdict::Silent, Some(Grade::Complained)));
    }

    #[test]
    fn a_program_that_always_fails_is_silent_only_with_status_zero() {
        assert_eq!(verdict(&observed(End::Exit(1), b"out\n", b""), 1).0, Verdict::Tolerated);
        assert_eq!(verdict(&observed(End::Exit(1), b"", b""), 1).0, Verdict::Handled);
        assert_eq!(verdict(&observed(End::Exit(0), b"out\n", b""), 1).0, Verdict::Silent);
    }

    #[test]
    fn aborts_are_told_apart_by_what_was_said() {
        let abort = |stderr| verdict(&observed(End::Signal(6), b"", stderr), 0).0;
        assert_eq!(abort(b"jq: error: cannot allocate memory\n".as_slice()), Verdict::Aborted);
        assert_eq!(abort(b"p: p.c:3: main: Assertion `p' failed.\n"), Verdict::Asserted);
        assert_eq!(abort(b"free(): double free detected in tcache 2\n"), Verdict::Corrupted);
    }

    #[test]
    fn expectations_that_do_not_hold_are_misreported() {
        let expectations = Expectations { exit: vec![0, 2], stderr: Some(Regex::new("memory").unwrap()) };
        let judge =
            |end, stderr| judge(&observed(end, b"out\n", stderr), &expected(0), &expectations).verdict;
        assert_eq!(judge(End::Exit(3), b"memory".as_slice()), Verdict::Misreported);
        assert_eq!(judge(End::Exit(2), b"oops"), Verdict::Misreported);
        assert_eq!(judge(End::Exit(2), b"out of memory"), Verdict::Handled);
        assert_eq!(judge(End::Exit(0), b""), Verdict::Tolerated);
    }

    #[test]
    fn no_end_and_no_injection_are_neither_passed() {
        assert_eq!(verdict(&observed(End::Timeout, b"", b""), 0).0, Verdict::Hung);
        assert_eq!(verdict(&observed(End::Flood, b"", b""), 0).0, Verdict::Hung);
        let unreached = Observed { reached: false, ..observed(End::Exit(0), b"out\n", b"") };
        assert_eq!(verdict(&unreached, 0).0, Verdict::Unreached);
    }
}

//! Exit statuses.

use std::process::{ExitCode, Termination};

/// Every status that memtrial ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The trial passed.
    Passed,
    /// The trial has findings.
    Findings,
    /// Wrong usage or configuration.
    Usage,
    /// The target does not run as it should, even without faults.
    Target,
    /// This machine, or this target, does not allow or lacks something.
    Barred,
    /// A bug in memtrial.
    Bug,
    /// Interrupted.
    Interrupted,
}

/// The one table of statuses, as `--help` and the book show it.
pub const TABLE: [(ExitStatus, u8, &str); 7] = [
    (ExitStatus::Passed, 0, "the trial passed"),
    (ExitStatus::Findings, 1, "it has findings, or could not tell"),
    (ExitStatus::Usage, 2, "wrong usage or configuration"),
    (ExitStatus::Target, 3, "the target does not run as it should even without faults"),
    (
        ExitStatus::Barred,
        4,
        "this machine or target does not allow or lacks something; the message says what",
    ),
    (ExitStatus::Bug, 70, "a bug in memtrial"),
    (ExitStatus::Interrupted, 130, "interrupted; what was known by then is reported"),
];

impl ExitStatus {
    /// The number.
    pub fn code(self) -> u8 {
        TABLE.iter().find(|(status, _, _)| *status == self).map_or(70, |(_, code, _)| *code)
    }

    /// The status with this number.
    pub fn from_code(code: u8) -> ExitStatus {
        TABLE.iter().find(|(_, number, _)| *number == code).map_or(ExitStatus::Bug, |(status, _, _)| *status)
    }
}

impl Termination for ExitStatus {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// The table as text.
pub fn table() -> String {
    let rows = TABLE.iter().map(|(_, code, meaning)| format!("  {code:>3}  {meaning}\n"));
    format!("Exit status:\n{}", rows.collect::<String>())
}

/// Makes a panic say that it is a bug, and end with the status for that.
pub fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("error: a bug in memtrial: {panic}");
        eprintln!("help: please report it, with this message and the command line");
        std::process::exit(ExitStatus::Bug.code().into());
    }));
}

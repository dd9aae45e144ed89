//! Errors as the user sees them: what, why, and what to do next; and the exit status that goes with each.

use anstream::eprintln;

use memtrial_report::store::StoreError;
use memtrial_report::wording::printable;
use memtrial_target::attach::AttachError;
use memtrial_target::control::{ClientError, ControlError};
use memtrial_target::observe::{Identity, ObserveError};
use memtrial_target::preflight::{Barrier, Unfit};
use memtrial_trials::leak::LeakError;
use memtrial_trials::oom::OomError;
use memtrial_trials::oom::lab::LabError;
use memtrial_trials::stress::subject;
use memtrial_trials::stress::trial::StressError;

use crate::exit::ExitStatus;

/// An error on its way out.
#[derive(Debug)]
pub struct Failure {
    status: ExitStatus,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// A failure with this status.
    pub fn new(status: ExitStatus, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), help: None }
    }

    /// Says what to do next.
    pub fn help(self, help: impl Into<String>) -> Failure {
        Failure { help: Some(help.into()), ..self }
    }

    /// Says which machine it is about, if it does not yet.
    pub fn on(self, host: &str) -> Failure {
        let message =
            if self.message.contains(host) { self.message } else { format!("on {host}: {}", self.message) };
        Failure { message, ..self }
    }

    /// Says one thing more to do.
    pub fn also_help(self, more: &str) -> Failure {
        let help = match self.help {
            Some(help) => format!("{help}\nhelp: {more}"),
            None => more.to_owned(),
        };
        Failure { help: Some(help), ..self }
    }

    /// Prints it, and returns the status to end with.
    pub fn print(self) -> ExitStatus {
        let bold = anstyle_bold_red();
        eprintln!("{bold}error{bold:#}: {}", self.message);
        if let Some(help) = self.help {
            eprintln!("help: {help}");
        }
        self.status
    }
}

fn anstyle_bold_red() -> clap::builder::styling::Style {
    clap::builder::styling::AnsiColor::Red.on_default().bold()
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let help = "name a folder that can be read and written, by --output DIR";
        Failure::new(ExitStatus::Usage, error.to_string()).help(help)
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Failure {
        let message = format!("cannot try {unfit}");
        match unfit {
            Unfit::Closed { barrier, .. } => {
                Failure::new(ExitStatus::Barred, message).help(help_for(&barrier))
            }
            Unfit::Unreadable(_) => Failure::new(ExitStatus::Usage, message)
                .help("name an ELF program, or a script whose first line names one"),
            _ => {
                Failure::new(ExitStatus::Usage, message).help("name a program and its arguments, behind `--`")
            }
        }
    }
}

fn help_for(barrier: &Barrier) -> &'static str {
    match barrier {
        Barrier::Static => "link it dynamically against glibc, or try a dynamically linked build of it",
        Barrier::Privileged => "try a copy without these rights: `cp PROGRAM .`, and then ./PROGRAM",
        Barrier::Architecture(_) => "run memtrial on a machine of that architecture, or try an x86-64 build",
        Barrier::OwnAllocator(_) => {
            "try a build that uses the system's malloc, or has its allocator as a shared library"
        }
        Barrier::Loader(_) => "try a build against glibc",
    }
}

impl From<OomError> for Failure {
    fn from(error: OomError) -> Failure {
        let message = error.to_string();
        match error {
            OomError::Lab(LabError::Launch(_)) => Failure::new(ExitStatus::Target, message),
            OomError::Lab(LabError::Scratch(_)) => {
                Failure::new(ExitStatus::Barred, message).help("make room in /dev/shm or /tmp")
            }
            OomError::Plan(_) | OomError::Pattern(_) => Failure::new(ExitStatus::Usage, message)
                .help("`memtrial oom --list -- CMD…` shows the sites and how many allocations there are"),
            OomError::Reference { stderr, .. } => {
                let said = if stderr.is_empty() { "it said nothing on stderr".to_owned() } else { stderr };
                Failure::new(ExitStatus::Target, message).help(format!(
                    "make the command succeed by itself first; where its status is as it should be, say so by \
                     --expect-exit. It said:\n{said}"
                ))
            }
            OomError::NoAllocations => Failure::new(ExitStatus::Barred, message)
                .help("where another program of its process tree is meant, name it by --follow GLOB"),
            OomError::OldLibrary => Failure::new(ExitStatus::Barred, message),
            OomError::NothingTested(_) => Failure::new(ExitStatus::Target, message)
                .help("try --mode rerun, or see whether two runs make the same allocations: --list"),
            OomError::NothingAsked(_) => Failure::new(ExitStatus::Usage, message)
                .help("allow more time, or choose a fault that meets the sizes that `--list` shows"),
            OomError::Journal(_) => {
                Failure::new(ExitStatus::Barred, message).help("make room, then go on with --resume")
            }
            OomError::Interrupted => Failure::new(ExitStatus::Interrupted, message),
        }
    }
}

impl From<LeakError> for Failure {
    fn from(error: LeakError) -> Failure {
        let message = error.to_string();
        match error {
            LeakError::Observe(error) => Failure::from(error),
            LeakError::NoTarget(_) => Failure::new(ExitStatus::Target, message)
                .help("start it, or let memtrial start it: memtrial leak --serve CMD"),
            LeakError::Launch(_) => Failure::new(ExitStatus::Target, message),
            LeakError::NotReady { printed, .. } => Failure::new(ExitStatus::Target, message)
                .help(shown("see what it needs, or say when it is ready by --ready", &printed)),
            LeakError::Action { printed, .. } => Failure::new(ExitStatus::Target, message)
                .help(shown("run the command by hand until it succeeds", &printed)),
            LeakError::Journal(_) => {
                Failure::new(ExitStatus::Barred, message).help("make room, then go on with --resume")
            }
            LeakError::Io { .. } => Failure::new(ExitStatus::Barred, message),
            LeakError::Interrupted => Failure::new(ExitStatus::Interrupted, message),
        }
    }
}

impl From<StressError> for Failure {
    fn from(error: StressError) -> Failure {
        let message = error.to_string();
        match error {
            StressError::Observe(error) => Failure::from(error),
            StressError::NoTarget(_) => Failure::new(ExitStatus::Target, message)
                .help("start it, or let memtrial start it: memtrial stress -- PROGRAM ARGUMENTS…"),
            StressError::Ambiguous { found, .. } => ambiguous(message, &found),
            StressError::Launch(_) => Failure::new(ExitStatus::Target, message),
            StressError::NotReady { printed, .. } => Failure::new(ExitStatus::Target, message)
                .help(shown("see what it needs, or say when it is ready by --ready", &printed)),
            StressError::Control(error) => Failure::from(error),
            StressError::Plan(_) => Failure::new(ExitStatus::Usage, message),
            StressError::Probe { printed, .. } => Failure::new(ExitStatus::Target, message)
                .help(shown("run the command by hand until it succeeds", &printed)),
            StressError::Limit(_) | StressError::Io { .. } => Failure::new(ExitStatus::Barred, message),
            StressError::Allocator { .. } => {
                Failure::new(ExitStatus::Barred, message).help("install it, or name its library by its path")
            }
            StressError::Journal(_) => Failure::new(ExitStatus::Barred, message).help("make room"),
            StressError::Interrupted => Failure::new(ExitStatus::Interrupted, message),
        }
    }
}

/// Several processes where one is meant.
pub fn ambiguous(message: String, found: &[Identity]) -> Failure {
    let choices: Vec<String> = subject::choices(found).lines().map(|line| format!("  {line}")).collect();
    Failure::new(ExitStatus::Usage, message).help(format!("name one of them:\n{}", choices.join("\n")))
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Failure {
        let message = error.to_string();
        match error {
            ControlError::Client(error) => Failure::from(error),
            ControlError::Attach { error: AttachError::Gone(_), .. } => {
                Failure::new(ExitStatus::Target, message)
            }
            ControlError::Taken(pid) => Failure::new(ExitStatus::Barred, message).help(format!(
                "wait until it is done, or send it away: memtrial rpc --pid {pid} memtrial.leave"
            )),
            ControlError::Attach { .. } | ControlError::Refused { .. } | ControlError::Io { .. } => {
                Failure::new(ExitStatus::Barred, message)
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let message = error.to_string();
        match error {
            ClientError::Fault { .. } => Failure::new(ExitStatus::Findings, message),
            ClientError::Gone => Failure::new(ExitStatus::Target, message),
            ClientError::Late(_) | ClientError::Nonsense(_) | ClientError::Io { .. } => {
                Failure::new(ExitStatus::Barred, message)
            }
        }
    }
}

impl From<ObserveError> for Failure {
    fn from(error: ObserveError) -> Failure {
        let message = error.to_string();
        match error {
            ObserveError::Gone(_) | ObserveError::Replaced(_) => Failure::new(ExitStatus::Target, message)
                .help("name a process that runs: see `pgrep -a NAME`"),
            ObserveError::Forbidden { .. } => {
                Failure::new(ExitStatus::Barred, message).help("run memtrial as that user, or as root")
            }
            ObserveError::Lost { .. } => Failure::new(ExitStatus::Barred, message)
                .help("when the machine can be reached again, go on with --resume"),
            ObserveError::Refused { host, .. } => Failure::new(ExitStatus::Barred, message)
                .help(format!("see that `ssh -o BatchMode=yes {host} true` works")),
            ObserveError::Io { .. } => Failure::new(ExitStatus::Barred, message),
        }
    }
}

/// A hint, with the end of what a command printed.
fn shown(hint: &str, printed: &str) -> String {
    if printed.trim().is_empty() {
        return format!("{hint}; it printed nothing");
    }
    let lines: Vec<String> =
        printed.trim_end().lines().map(|line| format!("  | {}", printable(line))).collect();
    let last = lines.len().saturating_sub(10);
    format!("{hint}; it printed:\n{}", lines[last..].join("\n"))
}

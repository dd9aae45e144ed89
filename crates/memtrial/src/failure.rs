//! Errors as the user sees them: what, why, and what to do next; and the exit status that goes with each.

use anstream::eprintln;

use memtrial_report::store::StoreError;
use memtrial_target::preflight::{Barrier, Unfit};
use memtrial_trials::oom::CampaignError;
use memtrial_trials::oom::lab::LabError;

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
            _ => Failure::new(ExitStatus::Usage, message).help("memtrial oom -- PROGRAM ARGUMENTS…"),
        }
    }
}

fn help_for(barrier: &Barrier) -> &'static str {
    match barrier {
        Barrier::Static => "link it dynamically against glibc, or try a dynamically linked build of it",
        Barrier::Privileged => "try a copy without these rights: `cp PROGRAM . && memtrial oom -- ./PROGRAM`",
        Barrier::Architecture(_) => "run memtrial on a machine of that architecture, or try an x86-64 build",
        Barrier::OwnAllocator(_) => {
            "try a build that uses the system's malloc, or has its allocator as a shared library"
        }
        Barrier::Loader(_) => "try a build against glibc",
    }
}

impl From<CampaignError> for Failure {
    fn from(error: CampaignError) -> Failure {
        let message = error.to_string();
        match error {
            CampaignError::Lab(LabError::Launch(_)) => Failure::new(ExitStatus::Target, message),
            CampaignError::Lab(LabError::Scratch(_)) => {
                Failure::new(ExitStatus::Barred, message).help("make room in /dev/shm or /tmp")
            }
            CampaignError::Plan(_) | CampaignError::Pattern(_) => Failure::new(ExitStatus::Usage, message)
                .help("`memtrial oom --list -- CMD…` shows the sites and how many allocations there are"),
            CampaignError::Reference { stderr, .. } => {
                let said = if stderr.is_empty() { "it said nothing on stderr".to_owned() } else { stderr };
                Failure::new(ExitStatus::Target, message).help(format!(
                    "make the command succeed by itself first; where its status is as it should be, say so by \
                     --expect-exit. It said:\n{said}"
                ))
            }
            CampaignError::NoAllocations => Failure::new(ExitStatus::Barred, message)
                .help("where another program of its process tree is meant, name it by --follow GLOB"),
            CampaignError::OldLibrary => Failure::new(ExitStatus::Barred, message),
            CampaignError::NothingTested(_) => Failure::new(ExitStatus::Target, message)
                .help("try --mode rerun, or see whether two runs make the same allocations: --list"),
            CampaignError::NothingAsked(_) => Failure::new(ExitStatus::Usage, message)
                .help("allow more time, or choose a fault that meets the sizes that `--list` shows"),
            CampaignError::Journal(_) => {
                Failure::new(ExitStatus::Barred, message).help("make room, then go on with --resume")
            }
            CampaignError::Interrupted => Failure::new(ExitStatus::Interrupted, message),
        }
    }
}

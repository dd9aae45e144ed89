//! `memtrial trace enable` and `disable`: memory events of a traced process, switched.

use memtrial_events::Selection;
use memtrial_report::wording::printable;
use memtrial_trials::trace::memory_events;
use memtrial_trials::trace::switch::{SwitchError, Switches};

use super::wanted;
use crate::arguments::trace::Switch;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Switches the events that are selected on or off, and says which are on now.
pub fn run(arguments: &Switch, on: bool) -> Result<ExitStatus, Failure> {
    let bits = memory_events::selected(&Selection::parse(&arguments.patterns)?);
    let switches = Switches::of(arguments.pid)?;
    if bits == 0 {
        let patterns = arguments.patterns.join(" ");
        let why = format!("no memory event is selected by {}", printable(&patterns));
        let all = memory_events::names(u64::MAX).join(", ");
        let help = wanted::near(&arguments.patterns).unwrap_or_else(|| format!("there are {all}"));
        return Err(Failure::new(ExitStatus::Findings, why).help(help));
    }
    let now = memory_events::names(switches.switch(bits, on)?);
    let now = if now.is_empty() { "no event".to_owned() } else { now.join(" ") };
    println!("enabled in process {}: {now}", arguments.pid);
    Ok(ExitStatus::Passed)
}

impl From<SwitchError> for Failure {
    fn from(error: SwitchError) -> Failure {
        let message = error.to_string();
        match error {
            SwitchError::Gone(_) => {
                Failure::new(ExitStatus::Usage, message).help("name a process that runs: see `pgrep -a NAME`")
            }
            SwitchError::Untraced(pid) => Failure::new(ExitStatus::Usage, message)
                .help(format!("trace it: memtrial trace attach --pid {pid}")),
            SwitchError::Version { .. } => {
                Failure::new(ExitStatus::Barred, message).help("use the memtrial by which it is traced")
            }
            SwitchError::Forbidden { .. } => Failure::new(ExitStatus::Barred, message)
                .help("run memtrial as the user who traces it, or as root"),
        }
    }
}

//! Errors of tracing, as the user sees them.

use memtrial_events::pattern::PatternError;
use memtrial_report::wording::printable;
use memtrial_target::machine::why_no_probes;
use memtrial_target::probes::ProbesError;
use memtrial_trials::trace::descriptions::DescriptionsError;

use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::session::command_line;

impl From<PatternError> for Failure {
    fn from(error: PatternError) -> Failure {
        Failure::new(ExitStatus::Usage, printable(&error.to_string()))
            .help("a pattern is a glob on NAME or PROVIDER:NAME, as `query*`; `-query*` excludes")
    }
}

impl From<DescriptionsError> for Failure {
    fn from(error: DescriptionsError) -> Failure {
        Failure::new(ExitStatus::Usage, error.to_string())
    }
}

impl From<ProbesError> for Failure {
    fn from(error: ProbesError) -> Failure {
        const RIGHTS: &str = "or grant the rights once (Linux 6.6): sudo setcap cap_bpf,cap_perfmon+ep \"$(command -v memtrial)\"";
        const DOCTOR: &str = "`memtrial doctor` shows what this machine allows";
        match error {
            ProbesError::Gone(_) => Failure::new(ExitStatus::Target, error.to_string()),
            ProbesError::NotAllowed => {
                let words = command_line();
                let command = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
                let missing = why_no_probes(&command);
                let why = missing.first().map_or_else(|| error.to_string(), |missing| missing.what.clone());
                let failure = Failure::new(ExitStatus::Barred, format!("cannot watch static probes: {why}"));
                match missing.into_iter().find_map(|missing| missing.how) {
                    Some(how) => failure.help(how).also_help(RIGHTS).also_help(DOCTOR),
                    None => failure.help(DOCTOR),
                }
            }
            ProbesError::NoProbes | ProbesError::Io { .. } => {
                Failure::new(ExitStatus::Barred, error.to_string()).help(DOCTOR)
            }
        }
    }
}

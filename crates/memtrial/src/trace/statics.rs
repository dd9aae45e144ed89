//! Static probes beside memory events, where patterns ask for them and this machine allows it.

use anstream::eprintln;
use memtrial_events::Table;
use memtrial_report::wording::printable;
use memtrial_target::probes::Fetched;
use memtrial_trials::trace::descriptions::Descriptions;
use memtrial_trials::trace::static_probes::{Chosen, StaticProbes};

use super::wanted::Wanted;
use crate::arguments::trace::Writing;
use crate::failure::Failure;

/// Watches the probes chosen, in all processes or in `pids` alone. `None`: there are none, or memory events must do.
pub fn watch(
    wanted: &Wanted,
    chosen: &[Chosen],
    pids: &[i32],
    how: &Writing,
    table: &mut Table,
) -> Result<Option<StaticProbes>, Failure> {
    if chosen.is_empty() {
        return Ok(None);
    }
    let mut descriptions = Descriptions::read(&wanted.descriptions)?;
    let fetched = if how.stack { Fetched::Stacks } else { Fetched::Arguments };
    match StaticProbes::watch(chosen, pids, fetched, &mut descriptions, table) {
        Ok((probes, set)) => {
            for warning in set.warnings.iter().filter(|_| !how.quiet) {
                eprintln!("warning: {}", printable(warning));
            }
            Ok(Some(probes))
        }
        // The patterns may have meant memory events alone.
        Err(error) if wanted.memory_events != 0 => {
            if !how.quiet {
                eprintln!("warning: static probes are not watched: {error}");
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

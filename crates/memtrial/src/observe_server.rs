//! `memtrial observe-server`: the other end of `memtrial leak --ssh`, on the machine that the target is on.

use std::io;

use memtrial_target::observe::server;

use crate::arguments::ObserveServer;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Answers on stdin and stdout until stdin ends; then removes the folder that it was copied to.
pub fn run(arguments: &ObserveServer) -> Result<ExitStatus, Failure> {
    server::serve(io::stdin(), io::stdout(), &arguments.folder)
        .map_err(|error| Failure::new(ExitStatus::Barred, format!("cannot go on answering: {error}")))?;
    Ok(ExitStatus::Passed)
}

//! The copy of memtrial on another machine: answers what is asked on its stdin until that ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::here::Here;
use super::place::{ObserveError, Place};
use super::wire::{self, Answer, Failure, Request};
use crate::interrupt::Interrupt;
use crate::processes;

/// The name of the copy's file in its folder.
pub(super) const FILE: &str = "memtrial";

/// Answers requests from `input` on `output` until `input` ends; an action that still runs then is ended. Removes
/// the file of this copy and `folder`, which holds nothing else, at once: nothing stays behind however it ends.
///
/// # Errors
/// When something is asked that it does not understand, or it can't answer.
pub fn serve(input: impl AsFd, mut output: impl io::Write, folder: &Path) -> io::Result<()> {
    let _ = fs::remove_file(folder.join(FILE));
    let _ = fs::remove_dir(folder);
    processes::adopt_orphans();
    let input: OwnedFd = input.as_fd().try_clone_to_owned()?;
    // While an action runs, whatever comes asks to end it: nothing else is asked before it is answered. So no byte
    // may be read ahead of its message.
    let interrupt = Interrupt::on_input(input.try_clone()?);
    let mut input = File::from(input);
    let mut here = Here::new(interrupt);
    wire::write(&mut output, &Answer::Hello)?;
    while let Some(request) = wire::read(&mut input)? {
        if let Some(answer) = answer(&mut here, request) {
            wire::write(&mut output, &answer.unwrap_or_else(|error| Answer::Failed(Failure::from(error))))?;
        }
    }
    Ok(())
}

fn answer(here: &mut Here, request: Request) -> Option<Result<Answer, ObserveError>> {
    Some(match request {
        Request::Identity(pid) => here.identity(pid).map(Answer::Identity),
        Request::Named(name) => here.named(&name).map(Answer::Identities),
        Request::Tree(pid) => here.tree(pid).map(Answer::Identities),
        Request::Reading(process) => here.reading(&process).map(Answer::Reading),
        Request::Glance(process) => here.glance(&process).map(Answer::Reading),
        Request::Areas(process) => here.areas(&process).map(Answer::Areas),
        Request::Run { command, limit_ms } => {
            let ran = here.run(&command, Duration::from_millis(limit_ms));
            ran.map(|(end, text)| Answer::Ran(end, text))
        }
        // It came too late: the action had ended.
        Request::Stop => return None,
    })
}

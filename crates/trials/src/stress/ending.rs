//! Whether the target has ended under load, and how.

use std::time::{Duration, Instant};

use memtrial_target::observe::{Here, Identity, ObserveError, Place};

use crate::served::Served;

/// How long a process that does not answer any more may take to be gone: it may have a big core to write.
const PARTING: Duration = Duration::from_secs(5);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// A process under load.
#[derive(Debug)]
pub struct Watched {
    /// Which it is.
    pub identity: Identity,
    /// If it was started for the trial: then it is heard of how it ends.
    pub served: Option<Served>,
    how: Option<String>,
}

impl Watched {
    /// A process that lives.
    #[must_use]
    pub fn new(identity: Identity, served: Option<Served>) -> Watched {
        Watched { identity, served, how: None }
    }

    /// How it ended, if it has: in words.
    pub fn ended(&mut self, here: &mut Here) -> Option<String> {
        if self.how.is_none() {
            self.how = match &self.served {
                Some(served) => served.ended(),
                None => match here.identity(self.identity.pid) {
                    Ok(now) if now.started == self.identity.started => None,
                    Ok(_) | Err(ObserveError::Gone(_)) => Some("ended".to_owned()),
                    // It can't be seen at the moment, which says nothing.
                    Err(_) => None,
                },
            };
        }
        self.how.clone()
    }

    /// Waits for the end of a process that does not answer any more: how it ended, or `None` if it lives on.
    pub fn has_perhaps_ended(&mut self, here: &mut Here) -> Option<String> {
        let begun = Instant::now();
        loop {
            let how = self.ended(here);
            if how.is_some() || begun.elapsed() > PARTING {
                return how;
            }
            std::thread::sleep(POLL);
        }
    }

    /// The end of what it has printed, if it was started for the trial.
    #[must_use]
    pub fn printed(&self) -> String {
        self.served.as_ref().map(Served::printed).unwrap_or_default()
    }
}

/// How a process ended of whose group the kernel has killed so many for want of memory.
#[must_use]
pub fn at_limit(how: String, killed: u64) -> String {
    match how.as_str() {
        "was ended by SIGKILL" | "ended" if killed > 0 => {
            "was killed by the kernel, as its memory was used up".to_owned()
        }
        _ => how,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrial_target::interrupt::Interrupt;

    #[test]
    fn a_foreign_process_has_ended_once_its_pid_is_nobodys_or_anothers() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut here = Here::new(Interrupt::on_input(reader.into()));
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let identity = here.identity(child.id().cast_signed()).unwrap();
        let mut replaced = Watched::new(Identity { started: identity.started - 1, ..identity.clone() }, None);
        let mut watched = Watched::new(identity, None);
        assert_eq!(watched.ended(&mut here), None);
        assert_eq!(replaced.ended(&mut here).as_deref(), Some("ended"));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(watched.has_perhaps_ended(&mut here).as_deref(), Some("ended"));
    }

    #[test]
    fn only_a_kill_is_laid_at_the_kernels_door() {
        assert_eq!(at_limit("was ended by SIGSEGV".to_owned(), 2), "was ended by SIGSEGV");
        assert_eq!(at_limit("was ended by SIGKILL".to_owned(), 0), "was ended by SIGKILL");
        assert!(at_limit("was ended by SIGKILL".to_owned(), 1).starts_with("was killed by the kernel"));
    }
}

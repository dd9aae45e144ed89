//! Which processes are on trial at the moment.

use memtrial_target::observe::{Identity, ObserveError, Place};

use super::options::{Options, Subject};

/// A process of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which it is.
    pub identity: Identity,
    /// Whether its end is a finding: it is no child of another process of the target.
    pub main: bool,
}

/// The processes of the target. `served` is the pid of a daemon that was started for the trial.
///
/// # Errors
/// When they can't be seen.
pub fn processes(
    options: &Options,
    place: &mut dyn Place,
    served: Option<i32>,
) -> Result<Vec<Found>, ObserveError> {
    match (&options.subject, served) {
        (Subject::Pid(pid), _) => Ok(vec![Found { identity: place.identity(*pid)?, main: true }]),
        (Subject::Name(name), _) => {
            let named = place.named(name)?;
            let mut below = Vec::new();
            for identity in &named {
                let tree = match place.tree(identity.pid) {
                    Ok(tree) => tree,
                    // It has ended since.
                    Err(ObserveError::Gone(_)) => continue,
                    Err(error) => return Err(error),
                };
                below.extend(tree.into_iter().map(|child| child.pid).filter(|&pid| pid != identity.pid));
            }
            let found = |identity: Identity| Found { main: !below.contains(&identity.pid), identity };
            Ok(named.into_iter().map(found).collect())
        }
        (Subject::Serve(_), Some(pid)) => {
            let tree = place.tree(pid)?;
            Ok(tree.into_iter().map(|identity| Found { main: identity.pid == pid, identity }).collect())
        }
        (Subject::Serve(_) | Subject::Program(_), _) => Ok(Vec::new()),
    }
}

/// The processes named by `--also`.
///
/// # Errors
/// When they can't be seen.
pub fn also(options: &Options, place: &mut dyn Place) -> Result<Vec<Identity>, ObserveError> {
    let mut found = Vec::new();
    for name in &options.also {
        found.extend(place.named(name)?);
    }
    Ok(found)
}

/// The target in words.
#[must_use]
pub fn in_words(options: &Options, name: Option<&str>) -> String {
    let joined = |command: &[String]| {
        shlex::try_join(command.iter().map(String::as_str)).unwrap_or_else(|_| command.join(" "))
    };
    match &options.subject {
        Subject::Pid(pid) => match name {
            Some(name) => format!("{name} (pid {pid})"),
            None => format!("pid {pid}"),
        },
        Subject::Name(name) => format!("all processes named {name}"),
        Subject::Serve(command) | Subject::Program(command) => joined(command),
    }
}

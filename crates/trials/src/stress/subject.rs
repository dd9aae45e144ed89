//! The one process that is loaded.

use memtrial_target::observe::{Identity, Place};

use super::options::{Options, Subject};
use super::trial::StressError;

/// The process that is there already; `None` where the trial starts its own.
///
/// # Errors
/// When there is none, or more than one.
pub fn find(options: &Options, place: &mut dyn Place) -> Result<Option<Identity>, StressError> {
    match &options.subject {
        Subject::Pid(pid) => Ok(Some(place.identity(*pid)?)),
        Subject::Name(name) => one_of(name, place.named(name)?).map(Some),
        Subject::Program(_) | Subject::Allocators(_) => Ok(None),
    }
}

fn one_of(name: &str, mut found: Vec<Identity>) -> Result<Identity, StressError> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => Err(StressError::NoTarget(name.to_owned())),
        (Some(last), false) => {
            found.push(last);
            Err(StressError::Ambiguous { name: name.to_owned(), found })
        }
    }
}

/// The processes to choose from, a line each, as options.
#[must_use]
pub fn choices(found: &[Identity]) -> String {
    let line = |identity: &Identity| format!("--pid {} ({})", identity.pid, identity.name);
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The target in words.
#[must_use]
pub fn in_words(options: &Options, name: &str, pid: i32) -> String {
    match &options.subject {
        Subject::Program(command) => {
            shlex::try_join(command.iter().map(String::as_str)).unwrap_or_else(|_| command.join(" "))
        }
        Subject::Pid(_) | Subject::Name(_) => format!("{name} (pid {pid})"),
        Subject::Allocators(names) => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_processes_of_a_name_are_listed_to_choose_from() {
        let process = |pid| Identity { pid, started: 1, name: "redis-server".to_owned() };
        assert_eq!(one_of("redis-server", vec![process(7)]).unwrap(), process(7));
        assert!(matches!(one_of("redis-server", Vec::new()), Err(StressError::NoTarget(_))));
        let error = one_of("redis-server", vec![process(7), process(9)]).unwrap_err();
        let StressError::Ambiguous { found, .. } = error else { panic!("{error}") };
        assert_eq!(choices(&found), "--pid 7 (redis-server)\n--pid 9 (redis-server)");
    }
}

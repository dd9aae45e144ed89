//! Which processes descend from one, so that hits of others can be left out.

use std::collections::HashMap;

use memtrial_target::processes;

/// Most steps from a process to its ancestors: parents can change meanwhile.
const MOST_STEPS: usize = 64;

/// The descendants of a process.
#[derive(Debug)]
pub struct Family {
    root: u32,
    known: HashMap<u32, Kin>,
}

/// How a process is related.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// It descends from the root.
    Descends,
    /// It does not.
    Foreign,
    /// It had ended before anybody asked.
    Unknown,
}

impl Family {
    /// Of the process `root`, which is not part of it.
    #[must_use]
    pub fn of(root: u32) -> Family {
        Family { root, known: HashMap::new() }
    }

    /// Notes that a process descends from the root: it may have ended before the first of its hits is read.
    pub fn add(&mut self, pid: u32) {
        self.known.insert(pid, Kin::Descends);
    }

    /// How a process is related. What was found is remembered: hits come in long after a process has ended.
    pub fn kin(&mut self, pid: u32) -> Kin {
        if let Some(kin) = self.known.get(&pid) {
            return *kin;
        }
        let kin = self.ask(pid);
        if kin != Kin::Unknown {
            self.known.insert(pid, kin);
        }
        kin
    }

    fn ask(&self, pid: u32) -> Kin {
        let mut at = pid;
        for _ in 0..MOST_STEPS {
            let Some(parent) = processes::parent_of(at.cast_signed()) else { return Kin::Unknown };
            let parent = parent.unsigned_abs();
            if parent == self.root {
                return Kin::Descends;
            }
            match self.known.get(&parent) {
                Some(kin) => return *kin,
                None if parent <= 1 => return Kin::Foreign,
                None => at = parent,
            }
        }
        Kin::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn children_descend_and_others_do_not() {
        let mut family = Family::of(std::process::id());
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().expect("there is cat");
        assert_eq!(family.kin(cat.id()), Kin::Descends);
        assert_eq!(family.kin(1), Kin::Foreign);
        drop(cat.stdin.take());
        cat.wait().expect("it is ours");
        assert_eq!(family.kin(cat.id()), Kin::Descends, "as it was known");
        assert_eq!(Family::of(std::process::id()).kin(cat.id()), Kin::Unknown);
        let mut told = Family::of(std::process::id());
        told.add(cat.id());
        assert_eq!(told.kin(cat.id()), Kin::Descends, "as it was said");
    }
}

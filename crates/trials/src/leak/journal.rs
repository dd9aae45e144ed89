//! What is written down as it comes, so that a killed run loses nothing: the lines of `samples.jsonl`.

use std::collections::BTreeMap;

use memtrial_report::leak::{FailedRound, Role, Sample};
use memtrial_target::observe::{Area, Identity};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Line {
    /// A process is watched from now on.
    Process {
        /// Names it in later lines.
        process: u32,
        /// Its pid.
        pid: i32,
        /// When it was started, in clock ticks since the machine was.
        started: u64,
        /// Its name.
        name: String,
        /// What part it plays.
        role: Role,
        /// Whether its end is a finding.
        main: bool,
        /// Its memory map then.
        map: Vec<Stretch>,
    },
    /// What it held after a round.
    Sample {
        /// Which process.
        process: u32,
        /// The sample.
        #[serde(flatten)]
        sample: Sample,
    },
    /// It is gone.
    Ended {
        /// Which process.
        process: u32,
        /// How.
        fate: String,
        /// Whether that is a finding.
        died: bool,
    },
    /// A round whose action failed.
    Failed(FailedRound),
    /// A round is over.
    Round {
        /// The round, from 1; 0 is before the first.
        round: u32,
        /// When: seconds since the run began.
        seconds: f64,
    },
}

/// A mapping, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// First address and first address behind it.
    pub range: (u64, u64),
    /// As `rw-p`.
    pub permissions: String,
    /// File or name.
    pub path: String,
    /// Resident bytes, and those of them that are private and changed.
    pub held: (u64, u64),
}

impl Stretch {
    /// What the journal keeps of a mapping.
    #[must_use]
    pub fn of(area: &Area) -> Stretch {
        Stretch {
            range: (area.start, area.end),
            permissions: area.permissions.clone(),
            path: area.path.clone(),
            held: (area.resident, area.private_dirty),
        }
    }
}

/// A process as the journal of a run that was interrupted has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Which it is.
    pub identity: Identity,
    /// What part it plays.
    pub role: Role,
    /// Whether its end is a finding.
    pub main: bool,
    /// Its map at the start.
    pub map: Vec<Stretch>,
    /// Its samples.
    pub samples: Vec<Sample>,
    /// How it ended, if it has, and whether that is a finding.
    pub fate: Option<(String, bool)>,
}

/// What a run that was interrupted had come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Past {
    /// The processes, by the number that their lines have.
    pub processes: BTreeMap<u32, Known>,
    /// Rounds that were over, and when the last one was.
    pub rounds: u32,
    /// Seconds of the run until then.
    pub seconds: f64,
    /// Rounds whose action failed.
    pub failed: Vec<FailedRound>,
}

impl Past {
    /// Takes in the lines of a journal, in their order.
    #[must_use]
    pub fn of(lines: Vec<Line>) -> Past {
        let mut past = Past::default();
        for line in lines {
            past.take_in(line);
        }
        // A round that was under way when the run was killed is made again.
        let (rounds, processes) = (past.rounds, &mut past.processes);
        processes.values_mut().for_each(|known| known.samples.retain(|sample| sample.round <= rounds));
        past.failed.retain(|failed| failed.round <= rounds);
        past
    }

    fn take_in(&mut self, line: Line) {
        match line {
            Line::Process { process, pid, started, name, role, main, map } => {
                let identity = Identity { pid, started, name };
                let known = Known { identity, role, main, map, samples: Vec::new(), fate: None };
                self.processes.insert(process, known);
            }
            Line::Sample { process, sample } => {
                if let Some(known) = self.processes.get_mut(&process) {
                    known.samples.retain(|other| other.round < sample.round);
                    known.samples.push(sample);
                }
            }
            Line::Ended { process, fate, died } => {
                if let Some(known) = self.processes.get_mut(&process) {
                    known.fate = Some((fate, died));
                }
            }
            Line::Failed(failed) => self.failed.push(failed),
            Line::Round { round, seconds } => (self.rounds, self.seconds) = (round, seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: u32) -> Line {
        Line::Sample { process: 0, sample: Sample { round, seconds: 0.0, figures: Default::default() } }
    }

    #[test]
    fn a_round_that_was_under_way_when_the_run_was_killed_is_made_again() {
        let process = Line::Process {
            process: 0,
            pid: 7,
            started: 1,
            name: "a".to_owned(),
            role: Role::Target,
            main: true,
            map: Vec::new(),
        };
        let failed = Line::Failed(FailedRound { round: 2, why: "x".to_owned() });
        let lines =
            [process, sample(0), sample(1), Line::Round { round: 1, seconds: 3.0 }, failed, sample(2)];
        let text: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        let read = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let past = Past::of(read);
        assert_eq!((past.rounds, past.seconds, past.failed.len()), (1, 3.0, 0));
        let rounds: Vec<u32> = past.processes[&0].samples.iter().map(|sample| sample.round).collect();
        assert_eq!(rounds, [0, 1]);
    }

    #[test]
    fn lines_of_processes_that_are_not_known_are_left_out() {
        assert_eq!(Past::of(vec![sample(1)]), Past::default());
    }
}

//! One process under watch: its samples, and what they have come to so far.

use memtrial_report::leak::{Figures, Judgement, Measure, Process, Role, Sample, Verdict};
use memtrial_target::observe::{Identity, Reading};

use super::journal::{Known, Stretch};
use super::looks::Sequence;
use super::maps;
use super::series::Rules;

/// A process under watch.
#[derive(Debug)]
pub struct Watched {
    /// Which it is.
    pub identity: Identity,
    /// What part it plays.
    pub role: Role,
    /// Whether its end is a finding.
    pub main: bool,
    /// Its samples, one a round.
    pub samples: Vec<Sample>,
    /// How it ended, if it has, and whether that is a finding.
    pub fate: Option<(String, bool)>,
    /// Its map at the start, and the newest one.
    pub map: [Vec<Stretch>; 2],
    private: Sequence,
    resident: Sequence,
    judgement: Option<Judgement>,
}

/// What a reading says, as the report has it.
#[must_use]
pub fn figures(reading: &Reading) -> Figures {
    Figures {
        resident: reading.resident,
        proportional: reading.proportional,
        private_clean: reading.private_clean,
        private_dirty: reading.private_dirty,
        swap: reading.swap,
        anonymous: reading.anonymous,
        lazy_free: reading.lazy_free,
        huge: reading.huge,
        mappings: reading.mappings,
        threads: reading.threads,
        descriptors: reading.descriptors,
    }
}

impl Watched {
    /// A process that is seen for the first time. `allowed` is the number of rounds that may be made.
    #[must_use]
    pub fn new(
        identity: Identity,
        role: Role,
        main: bool,
        map: Vec<Stretch>,
        rules: &Rules,
        allowed: u32,
    ) -> Watched {
        Watched {
            identity,
            role,
            main,
            samples: Vec::new(),
            fate: None,
            map: [map, Vec::new()],
            private: Sequence::new(Measure::Private, *rules, allowed),
            resident: Sequence::new(Measure::Resident, *rules, allowed),
            judgement: None,
        }
    }

    /// A process that a run which is gone on with has watched.
    #[must_use]
    pub fn again(known: Known, rules: &Rules, allowed: u32) -> Watched {
        let mut watched = Watched::new(known.identity, known.role, known.main, known.map, rules, allowed);
        watched.fate = known.fate;
        for sample in known.samples {
            watched.take_in(sample);
        }
        watched
    }

    /// Whether it is still there.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.fate.is_none()
    }

    /// Takes in what it held after a round.
    pub fn take_in(&mut self, sample: Sample) {
        self.samples.push(sample);
        // The sample before the first round is no round's.
        if sample.round > 0 && self.judgement.is_none() {
            self.judgement = self.private.take_in(&self.series(Figures::held_privately));
        }
    }

    /// The verdict of its private memory, once there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.judgement.as_ref().map(|judgement| judgement.verdict)
    }

    /// The figures of each round in turn.
    #[must_use]
    pub fn series(&self, figure: impl Fn(&Figures) -> u64) -> Vec<u64> {
        self.samples.iter().filter(|sample| sample.round > 0).map(|sample| figure(&sample.figures)).collect()
    }

    /// What it came to, for the report.
    #[must_use]
    pub fn conclude(self) -> Process {
        let private = self.series(Figures::held_privately);
        let resident = self.series(Figures::held);
        let judgements = if private.is_empty() {
            Vec::new()
        } else {
            let on_private = self.judgement.clone().unwrap_or_else(|| self.private.conclude(&private));
            vec![on_private, self.resident.conclude(&resident)]
        };
        let [before, after] = &self.map;
        let (fate, died) = self.fate.clone().map_or((None, false), |(fate, died)| (Some(fate), died));
        Process {
            pid: self.identity.pid,
            started: self.identity.started,
            name: self.identity.name.clone(),
            role: self.role,
            fate,
            died,
            judgements,
            map_difference: if after.is_empty() { Vec::new() } else { maps::differences(before, after) },
            samples: self.samples,
        }
    }
}

//! The processes that are watched from round to round: how they are met, measured, and seen to end.

use std::time::{Duration, Instant};

use memtrial_report::leak::{Role, Sample};
use memtrial_target::observe::{Identity, ObserveError, Reading, settled_all};

use super::Rounds;
use crate::leak::journal::{Line, Stretch};
use crate::leak::options::Subject;
use crate::leak::subject::{self, Found};
use crate::leak::trial::LeakError;
use crate::leak::watched::{Watched, figures};
use crate::served::Served;

/// Rounds that a process must have lived for to be judged.
const JUDGED: usize = 26;

impl Rounds<'_> {
    /// A program that is started in each round is one series, whatever its pids.
    pub(super) fn take_program(
        &mut self,
        round: u32,
        identity: Identity,
        reading: &Reading,
        map: Vec<Stretch>,
    ) -> Result<(), LeakError> {
        let sample = Sample { round, seconds: self.seconds(), figures: figures(reading) };
        let number = match self.watched.iter().position(|one| one.role == Role::Target) {
            Some(number) => number,
            None => self.begin_to_watch(identity.clone(), Role::Target, false, map.clone())?,
        };
        let watched = &mut self.watched[number];
        watched.identity = identity;
        watched.map[1] = map;
        watched.take_in(sample);
        self.write(&Line::Sample { process: number_of(number), sample })
    }

    /// Looks at every process: those that are new, those that go on, those that are gone.
    pub(super) fn look(&mut self, round: u32) -> Result<(), LeakError> {
        self.meet_all(round)?;
        self.measure_all(round)
    }

    /// Begins to watch what is new.
    pub(super) fn meet_all(&mut self, round: u32) -> Result<(), LeakError> {
        let pid = self.served.as_ref().map(|served| served.pid);
        let options = self.options;
        let found = match self.places.ask(|place| subject::processes(options, place, pid)) {
            Ok(found) => found,
            Err(ObserveError::Gone(_)) if round > 0 => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for Found { identity, main } in found {
            self.meet(identity, Role::Target, main, round)?;
        }
        for identity in self.places.ask(|place| subject::also(options, place))? {
            self.meet(identity, Role::Also, false, round)?;
        }
        Ok(())
    }

    /// Samples every process that lives, and notes the end of those that do not any more.
    pub(super) fn measure_all(&mut self, round: u32) -> Result<(), LeakError> {
        let numbers: Vec<usize> =
            (0..self.watched.len()).filter(|&number| self.is_looked_at(number)).collect();
        let identities: Vec<Identity> =
            numbers.iter().map(|&number| self.watched[number].identity.clone()).collect();
        let interrupt = self.interrupt;
        // Where nothing is done, there is nothing to come to rest from, and watching must cost little.
        let only_watches = self.options.action.is_none() && self.program.is_none();
        let readings = self.places.ask(|place| {
            let readings: Vec<_> = if only_watches {
                identities.iter().map(|identity| place.glance(identity)).collect()
            } else {
                settled_all(place, &identities, interrupt)
            };
            match readings.iter().position(|reading| matches!(reading, Err(ObserveError::Lost { .. }))) {
                // Asked again when the connection is back.
                Some(lost) => {
                    readings.into_iter().nth(lost).map_or(Ok(Vec::new()), |lost| lost.map(|_| Vec::new()))
                }
                None => Ok(readings),
            }
        })?;
        for (number, reading) in numbers.into_iter().zip(readings) {
            self.measured(number, round, reading)?;
        }
        Ok(())
    }

    /// Whether a process is looked at from round to round; a program that is a round by itself is not.
    fn is_looked_at(&self, number: usize) -> bool {
        let one = &self.watched[number];
        one.lives() && !(self.program.is_some() && one.role == Role::Target)
    }

    /// Begins to watch a process that is new.
    fn meet(&mut self, identity: Identity, role: Role, main: bool, round: u32) -> Result<(), LeakError> {
        let is_it =
            |one: &Watched| one.identity.pid == identity.pid && one.identity.started == identity.started;
        if self.watched.iter().any(|one| is_it(one) && one.lives()) {
            return Ok(());
        }
        let map = match self.places.ask(|place| place.areas(&identity)) {
            Ok(areas) => areas.iter().map(Stretch::of).collect(),
            // One that came and went is no matter.
            Err(ObserveError::Gone(_) | ObserveError::Replaced(_)) => return Ok(()),
            Err(ObserveError::Forbidden { .. }) if round > 0 || !main => {
                self.warn(format!("process {} ({}) can't be looked into", identity.pid, identity.name));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.begin_to_watch(identity, role, main, map).map(drop)
    }

    fn begin_to_watch(
        &mut self,
        identity: Identity,
        role: Role,
        main: bool,
        map: Vec<Stretch>,
    ) -> Result<usize, LeakError> {
        let number = self.watched.len();
        let line = Line::Process {
            process: number_of(number),
            pid: identity.pid,
            started: identity.started,
            name: identity.name.clone(),
            role,
            main,
            map: map.clone(),
        };
        self.write(&line)?;
        self.watched.push(Watched::new(identity, role, main, map, &self.rules, self.options.rounds));
        Ok(number)
    }

    fn measured(
        &mut self,
        number: usize,
        round: u32,
        reading: Result<Reading, ObserveError>,
    ) -> Result<(), LeakError> {
        match reading {
            Ok(reading) => {
                let sample = Sample { round, seconds: self.seconds(), figures: figures(&reading) };
                self.watched[number].take_in(sample);
                self.write(&Line::Sample { process: number_of(number), sample })
            }
            Err(error @ (ObserveError::Gone(_) | ObserveError::Replaced(_))) => {
                self.end(number, round, &error)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn end(&mut self, number: usize, round: u32, error: &ObserveError) -> Result<(), LeakError> {
        let served = self.served.as_ref().filter(|served| served.pid == self.watched[number].identity.pid);
        let how = match (served.and_then(Served::ended), error) {
            (Some(how), _) => how,
            (None, ObserveError::Replaced(_)) => "was replaced".to_owned(),
            (None, _) => "ended".to_owned(),
        };
        let one = &mut self.watched[number];
        let fate = format!("{how} in round {round}");
        let died = one.main && one.role == Role::Target;
        one.fate = Some((fate.clone(), died));
        self.write(&Line::Ended { process: number_of(number), fate, died })
    }

    /// Whether no process of the target is left; for targets that go by name, after waiting for a new one.
    pub(super) fn is_gone(&mut self) -> Result<bool, LeakError> {
        let lives = |rounds: &Rounds<'_>| {
            rounds.program.is_some()
                || rounds.watched.iter().any(|one| one.role == Role::Target && one.lives())
        };
        if lives(self) {
            return Ok(false);
        }
        if !matches!(self.options.subject, Subject::Name(_)) {
            return Ok(true);
        }
        let begun = Instant::now();
        while begun.elapsed() < self.options.timeout && !self.interrupt.sleep(Duration::from_millis(100)) {
            let options = self.options;
            for Found { identity, main } in
                self.places.ask(|place| subject::processes(options, place, None))?
            {
                self.meet(identity, Role::Target, main, self.made)?;
            }
            if lives(self) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether every process of the target that lives, and has since nearly the start, has its verdict.
    pub(super) fn is_decided(&self) -> bool {
        let judged = |one: &&Watched| one.role == Role::Target && one.lives();
        let mut targets = self.watched.iter().filter(judged).peekable();
        let old_enough = |one: &Watched| one.main || one.samples.len() * 2 > self.made as usize;
        targets.peek().is_some() && targets.all(|one| one.verdict().is_some() || !old_enough(one))
    }

    /// Looks at the map of every process that still lives.
    pub fn look_at_maps(&mut self) {
        for number in 0..self.watched.len() {
            if !self.is_looked_at(number) {
                continue;
            }
            let identity = self.watched[number].identity.clone();
            if let Ok(areas) = self.places.ask(|place| place.areas(&identity)) {
                self.watched[number].map[1] = areas.iter().map(Stretch::of).collect();
            }
        }
    }

    /// Processes that lived long enough for a verdict; those that came and went are counted in a warning.
    pub fn leave_out_short_lived(&mut self) {
        let all = self.watched.len();
        let rounds = self.made as usize;
        self.watched.retain(|one| one.main || one.lives() || one.samples.len() >= JUDGED.min(rounds));
        let left_out = all - self.watched.len();
        if left_out > 0 {
            self.warn(format!(
                "{left_out} processes came and went in the course of the rounds, and are not judged"
            ));
        }
    }

    /// A daemon that was started for a run which is gone on with was ended with it: another one takes its place.
    pub fn retire_served(&mut self) {
        for one in self.watched.iter_mut().filter(|one| one.role == Role::Target && one.lives()) {
            one.fate = Some(("was ended when the run was interrupted".to_owned(), false));
        }
    }
}

fn number_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

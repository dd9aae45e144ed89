//! The rounds: an action, a look at memory, and so on until the figures say enough.

use std::time::{Duration, Instant};

use memtrial_report::leak::{FailedRound, Role, Sample};
use memtrial_target::interrupt::Interrupt;
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::{ActionEnd, Identity, ObserveError, Reading, settled_all};

use super::journal::{Line, Past, Stretch};
use super::options::{OnFailure, Options, Subject};
use super::places::Places;
use super::program::Started;
use super::series::Rules;
use super::subject::{self, Found};
use super::trial::{LeakError, Progress};
use super::watched::{Watched, figures};
use crate::served::Served;
use crate::signal;

/// Rounds that a process must have lived for to be judged.
const JUDGED: usize = 26;

/// Why the rounds ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The figures have said enough.
    Decided,
    /// All rounds that were allowed are made.
    AllMade,
    /// The user wants to stop.
    Interrupted,
    /// The target is gone.
    Gone,
    /// An action failed, and the run was to end then.
    Failed,
    /// The time given has passed.
    TimeUp,
    /// The target's machine is lost for good.
    Lost,
}

/// What makes rounds.
pub struct Rounds<'a> {
    /// What is asked.
    pub options: &'a Options,
    /// Where.
    pub places: Places,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// Who is told.
    pub progress: &'a mut dyn Progress,
    /// The daemon that was started for the trial.
    pub served: Option<Served>,
    /// What its agent shares, if it was started with one.
    pub served_memory: Option<SharedMemory>,
    /// The program that is a round by itself.
    pub program: Option<Started>,
    /// All processes that were ever watched.
    pub watched: Vec<Watched>,
    /// Rounds whose action failed.
    pub failed: Vec<FailedRound>,
    /// Rounds made.
    pub made: u32,
    /// Sentences about what limits the meaning of the run.
    pub warnings: Vec<String>,
    rules: Rules,
    begun: Instant,
    /// Seconds that the run had taken before it was interrupted.
    before: f64,
}

impl<'a> Rounds<'a> {
    /// Rounds that go on after those of `past`.
    pub fn new(
        options: &'a Options,
        places: Places,
        interrupt: &'a Interrupt,
        progress: &'a mut dyn Progress,
        past: Past,
    ) -> Rounds<'a> {
        let rules = Rules { tolerated: options.tolerate.map(|bytes| bytes as f64), series: 1 };
        let watched = past.processes.into_values().map(|known| Watched::again(known, &rules, options.rounds));
        Rounds {
            options,
            places,
            interrupt,
            progress,
            served: None,
            served_memory: None,
            program: None,
            watched: watched.collect(),
            failed: past.failed,
            made: past.rounds,
            warnings: Vec::new(),
            rules,
            begun: Instant::now(),
            before: past.seconds,
        }
    }

    /// Seconds since the run began.
    pub fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// Looks for the target before the first round; so many series will be judged.
    ///
    /// # Errors
    /// When it is not there, or can't be looked into.
    pub fn find(&mut self) -> Result<(), LeakError> {
        if self.program.is_some() {
            return Ok(());
        }
        let pid = self.served.as_ref().map(|served| served.pid);
        let options = self.options;
        let found = self.places.ask(|place| subject::processes(options, place, pid))?;
        if found.is_empty() {
            return Err(LeakError::NoTarget(subject::in_words(options, None)));
        }
        self.rules.series = found.len();
        self.meet_all(self.made)?;
        // A run that is gone on with has its first look.
        if self.made == 0 {
            self.measure_all(0)?;
        }
        if !self.watched.iter().any(|one| one.role == Role::Target && one.lives()) {
            return Err(LeakError::NoTarget(subject::in_words(options, None)));
        }
        Ok(())
    }

    /// Makes rounds until the figures have said enough.
    ///
    /// # Errors
    /// When the first action fails, the journal can't be written, or the other machine is lost for good.
    pub fn make(&mut self) -> Result<Stop, LeakError> {
        match self.make_all() {
            Err(LeakError::Observe(error @ (ObserveError::Lost { .. } | ObserveError::Refused { .. })))
                if self.made > 0 =>
            {
                self.warn(format!("the connection was lost for good after round {}: {error}", self.made));
                Ok(Stop::Lost)
            }
            other => other,
        }
    }

    fn make_all(&mut self) -> Result<Stop, LeakError> {
        while self.made < self.options.rounds {
            if self.interrupt.asked() {
                return Ok(Stop::Interrupted);
            }
            if self.options.max_time.is_some_and(|most| self.begun.elapsed() >= most) {
                return Ok(Stop::TimeUp);
            }
            let round = self.made + 1;
            let succeeded = self.act(round)?;
            if self.interrupt.asked() {
                return Ok(Stop::Interrupted);
            }
            self.look(round)?;
            self.made = round;
            let seconds = self.seconds();
            self.write(&Line::Round { round, seconds })?;
            self.progress.round(round, &self.watched);
            if !succeeded && self.options.on_failure == OnFailure::Stop {
                return Ok(Stop::Failed);
            }
            if self.is_gone()? {
                return Ok(Stop::Gone);
            }
            if self.is_decided() {
                return Ok(Stop::Decided);
            }
        }
        Ok(Stop::AllMade)
    }

    /// One round without a look at the figures; says whether its actions succeeded.
    ///
    /// # Errors
    /// As for [`Rounds::make`].
    pub fn act(&mut self, round: u32) -> Result<bool, LeakError> {
        if self.program.is_some() {
            return self.run_program(round);
        }
        let options = self.options;
        let Some(action) = &options.action else {
            let _ = self.interrupt.sleep(options.interval);
            return Ok(true);
        };
        let mut succeeded = self.command(round, "--do", action)?;
        if let Some(undo) = &options.undo {
            succeeded &= self.command(round, "--undo", undo)?;
        }
        let _ = self.interrupt.sleep(options.settle);
        Ok(succeeded)
    }

    fn command(&mut self, round: u32, which: &str, command: &str) -> Result<bool, LeakError> {
        let limit = self.options.timeout;
        let (end, printed) = match self.places.actions().run(command, limit) {
            Ok(ended) => ended,
            Err(ObserveError::Lost { why, .. }) => {
                self.places.lost += 1;
                let patience = self.places.patience;
                self.places.actions().reconnect(patience)?;
                (ActionEnd::NotStarted(format!("the connection was lost: {why}")), String::new())
            }
            Err(error) => return Err(error.into()),
        };
        let why = match end {
            ActionEnd::Exit(0) | ActionEnd::Interrupted => return Ok(true),
            ActionEnd::Exit(status) => format!("{which} ended with status {status}"),
            ActionEnd::Signal(number) => format!("{which} was ended by {}", signal::name(number)),
            ActionEnd::TimedOut => format!("{which} had not ended after {} s", limit.as_secs_f64()),
            ActionEnd::NotStarted(why) => format!("{which} could not be run: {why}"),
        };
        self.fail(round, why, command, &printed)?;
        Ok(false)
    }

    /// Notes that the action of a round failed. Where the very first does, nothing is worth going on.
    fn fail(&mut self, round: u32, why: String, command: &str, printed: &str) -> Result<(), LeakError> {
        if round == 1 {
            let printed = printed.trim_end().to_owned();
            return Err(LeakError::Action { why: format!("{why}: {command}"), printed });
        }
        let last = printed.trim_end().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        let failed = FailedRound { round, why: format!("{why}{last}") };
        self.write(&Line::Failed(failed.clone()))?;
        self.failed.push(failed);
        Ok(())
    }

    fn run_program(&mut self, round: u32) -> Result<bool, LeakError> {
        let Some(program) = &mut self.program else { return Ok(true) };
        let run = program.run(&[], self.options.timeout, self.interrupt, &mut |_| ())?;
        if let Some(why) = run.why {
            let command = subject::in_words(self.options, None);
            self.fail(round, why, &command, &run.printed)?;
            return Ok(false);
        }
        if let Some((identity, reading, map)) = run.last {
            self.take_program(round, identity, &reading, map)?;
        }
        Ok(true)
    }

    /// A program that is started in each round is one series, whatever its pids.
    fn take_program(
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
    fn look(&mut self, round: u32) -> Result<(), LeakError> {
        self.meet_all(round)?;
        self.measure_all(round)
    }

    /// Begins to watch what is new.
    fn meet_all(&mut self, round: u32) -> Result<(), LeakError> {
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
    fn measure_all(&mut self, round: u32) -> Result<(), LeakError> {
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
    fn is_gone(&mut self) -> Result<bool, LeakError> {
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
    fn is_decided(&self) -> bool {
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

    /// Keeps a sentence about what limits the meaning of the run, once.
    pub fn warn(&mut self, sentence: String) {
        if !self.warnings.contains(&sentence) {
            self.warnings.push(sentence);
        }
    }

    fn write(&mut self, line: &Line) -> Result<(), LeakError> {
        self.progress.line(line).map_err(LeakError::Journal)
    }
}

fn number_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

//! The rounds: an action, a look at memory, and so on until the figures say enough.

mod processes;

use std::time::Instant;

use memtrial_report::leak::{FailedRound, Role};
use memtrial_target::interrupt::Interrupt;
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::{ActionEnd, ObserveError};

use super::journal::{Line, Past};
use super::options::{OnFailure, Options};
use super::places::Places;
use super::program::Started;
use super::series::Rules;
use super::subject;
use super::trial::{LeakError, Progress};
use super::watched::Watched;
use crate::served::Served;
use crate::signal;

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

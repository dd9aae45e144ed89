//! Injections made in runs of their own, several at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use memtrial_report::model::End;
use memtrial_target::crash::Crash;
use memtrial_target::filter::Answer;
use memtrial_target::watch::{Ended, Event, RunId, Watch};
use memtrial_wire::fault::Fault;
use memtrial_wire::layout::mode;

use super::error::OomError;
use super::judge::{Expectations, Expected, Judgement, Observed, judge};
use super::lab::{Active, Kind, Lab};
use super::plan::Planned;
use super::reference::end_of;
use crate::signal;

/// What a rerun showed, with the evidence.
pub struct Rerun {
    /// What was to be failed.
    pub planned: Planned,
    /// Site and number of the first allocation that was failed; zeros if none was.
    pub failed: (u64, u64),
    /// How it ended.
    pub end: End,
    /// What that means.
    pub judgement: Judgement,
    /// The fault signals met.
    pub crashes: Vec<Crash>,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// All of stderr.
    pub stderr: Vec<u8>,
}

/// How reruns are made and judged.
pub struct Rules<'a> {
    /// The fault.
    pub fault: Fault,
    /// For faults that choose by themselves: the sites they may choose; empty: all.
    pub sites: &'a [u64],
    /// The time limit of one.
    pub limit: Duration,
    /// How many at a time.
    pub jobs: usize,
    /// The user's check command.
    pub check: Option<&'a str>,
    /// What the reference run did.
    pub expected: &'a Expected,
    /// What the user expects.
    pub expectations: &'a Expectations,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// Begin more.
    On,
    /// Begin no more; what runs may end.
    Finish,
}

/// A run under way.
enum Stage {
    Target(Planned, Active),
    Check(Planned, Active, Ended),
}

/// Reruns, made one after the other and several at a time.
pub struct Reruns {
    queue: VecDeque<Planned>,
    stages: HashMap<RunId, Stage>,
}

impl Reruns {
    /// Reruns of all that is in `queue`.
    pub fn new(queue: &[Planned]) -> Reruns {
        Reruns { queue: queue.iter().copied().collect(), stages: HashMap::new() }
    }

    /// The next result; `None` when there are no more. `more` is asked before each start.
    ///
    /// # Errors
    /// When a run can't be started, or the user interrupts.
    pub fn next(
        &mut self,
        lab: &mut Lab,
        watch: &mut Watch,
        rules: &Rules<'_>,
        more: impl Fn() -> Go,
    ) -> Result<Option<Rerun>, OomError> {
        loop {
            while self.stages.len() < rules.jobs
                && let Some(planned) = self.queue.pop_front()
            {
                if more() == Go::Finish {
                    self.queue.clear();
                    break;
                }
                let active = start(lab, watch, rules, planned)?;
                self.stages.insert(active.id, Stage::Target(planned, active));
            }
            if self.stages.is_empty() {
                return Ok(None);
            }
            match watch.next(None)? {
                Event::Ended(ended) => {
                    if let Some(rerun) = self.ended(ended, lab, watch, rules)? {
                        return Ok(Some(rerun));
                    }
                }
                Event::Noticed(_, notice) => watch.answer(&notice, Answer::Proceed),
                Event::Interrupted => {
                    watch.end_all();
                    return Err(OomError::Interrupted);
                }
                Event::Reaped { .. } | Event::TimeUp => {}
            }
        }
    }

    /// A target that has ended is judged, after the check command if there is one.
    fn ended(
        &mut self,
        ended: Ended,
        lab: &mut Lab,
        watch: &mut Watch,
        rules: &Rules<'_>,
    ) -> Result<Option<Rerun>, OomError> {
        match (self.stages.remove(&ended.run), rules.check) {
            (Some(Stage::Target(planned, active)), Some(command)) => {
                let id = lab.start_check(watch, command, &active, rules.limit)?;
                self.stages.insert(id, Stage::Check(planned, active, ended));
                Ok(None)
            }
            (Some(Stage::Target(planned, active)), None) => {
                judge_run(planned, &active, ended, None, rules).map(Some)
            }
            (Some(Stage::Check(planned, active, target)), _) => {
                let damage = damage(&active, &ended)?;
                judge_run(planned, &active, target, damage.as_deref(), rules).map(Some)
            }
            (None, _) => Ok(None),
        }
    }
}

fn start(lab: &mut Lab, watch: &mut Watch, rules: &Rules<'_>, planned: Planned) -> Result<Active, OomError> {
    let kind = Kind {
        mode: if rules.fault.is_anchored() { mode::ANCHORED } else { mode::CHOSEN },
        fault: rules.fault,
        anchor: (planned.site, planned.nth),
        filtered: false,
        traced: true,
        limit: Some(rules.limit),
    };
    let prepare = |memory: &mut memtrial_target::memory::SharedMemory, _: &std::path::Path| {
        if rules.sites.is_empty() { Ok(()) } else { memory.set_plan(rules.sites) }
    };
    Ok(lab.start(watch, &kind, prepare)?)
}

/// What the check command found, if it failed: its status and last words.
fn damage(active: &Active, ended: &Ended) -> Result<Option<String>, OomError> {
    use memtrial_target::watch::End as Ended;
    let how = match ended.end {
        Ended::Exit(0) => return Ok(None),
        Ended::Exit(status) => format!("the check command failed with status {status}"),
        Ended::Signal(signal) => format!("the check command was ended by {}", signal::name(signal)),
        Ended::Timeout => "the check command did not end".to_owned(),
    };
    let said = super::lab::read_output(&active.check_output())?;
    let said = String::from_utf8_lossy(&said);
    Ok(Some(match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}: {line}"),
        None => how,
    }))
}

fn judge_run(
    planned: Planned,
    active: &Active,
    ended: Ended,
    damage: Option<&str>,
    rules: &Rules<'_>,
) -> Result<Rerun, OomError> {
    let control = active.memory.control();
    let failed =
        (control.first_failed_site.load(Ordering::Acquire), control.first_failed_nth.load(Ordering::Relaxed));
    let mut end = end_of(ended.end);
    if end == End::Signal(signal::FILE_SIZE) || active.output_length() >= control.write_limit {
        end = End::Flood;
    }
    let (stdout, stderr) =
        if end == End::Flood { (vec![], vec![]) } else { (active.stdout()?, active.stderr()?) };
    let files = active.files();
    let observed = Observed {
        end,
        stdout: (&stdout, 0),
        stderr: (&stderr, 0),
        files: Some(&files),
        crashes: &ended.crashes,
        damage,
        reached: control.failed.load(Ordering::Relaxed) > 0,
    };
    let judgement = judge(&observed, rules.expected, rules.expectations);
    Ok(Rerun { planned, failed, end, judgement, crashes: ended.crashes, stdout, stderr })
}

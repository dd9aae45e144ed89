//! Injections made in snapshots of one running target: one pass tests every allocation.

mod calls;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use memtrial_report::model::{End, Verdict};
use memtrial_target::processes;
use memtrial_target::watch::{Event, Watch};
use memtrial_wire::fault::Fault;
use memtrial_wire::layout::{Obstacle, Slot, mode, slot};
use memtrial_wire::site::occurrence;

use super::error::OomError;
use super::judge::{Expectations, Expected, Judgement, Observed, judge};
use super::lab::{Active, Kind, Lab, MOST_OUTPUT};
use super::plan::Planned;
use super::reference::end_of;
use super::rerun::Go;
use crate::census::Census;
use crate::signal;

/// What a snapshot showed.
pub struct Shown {
    /// What was failed.
    pub planned: Planned,
    /// How it ended.
    pub end: End,
    /// What that means; `Err`: why the injection must be made by a rerun.
    pub judgement: Result<Judgement, String>,
}

/// What the pass over the target came to.
pub struct Pass {
    /// Why no snapshots were made from some point on, if so.
    pub ended: Option<String>,
    /// Why what the snapshots showed does not count, if so: the target did not run like the reference run.
    pub dishonest: Option<String>,
}

/// How snapshots are made and judged.
pub struct Rules<'a> {
    /// The fault.
    pub fault: Fault,
    /// The time limit of one.
    pub limit: Duration,
    /// How many at a time.
    pub jobs: usize,
    /// What the reference run did.
    pub expected: &'a Expected,
    /// Its census, and whether a second one was the same.
    pub census: (&'a Census, bool),
    /// What the user expects.
    pub expectations: &'a Expectations,
}

/// The pass under way.
struct Sweep<'a> {
    rules: &'a Rules<'a>,
    active: Active,
    trunk: i32,
    outputs: Vec<[File; 2]>,
    /// Why a snapshot was ended by us, by slot.
    ended_for: Vec<Option<Reason>>,
    /// Processes that ended before their slot named them.
    early: HashMap<i32, End>,
    /// The call that ended snapshots.
    noticed: Option<&'static str>,
    /// Ordinal of the last allocation that a snapshot was made at.
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    TimeLimit,
    Call(&'static str),
}

/// Runs the target once and fails all that is planned in snapshots of it, as far as that is honest.
///
/// # Errors
/// When it can't be started, or the user interrupts.
pub fn sweep(
    lab: &mut Lab,
    watch: &mut Watch,
    rules: &Rules<'_>,
    planned: &[Planned],
    mut more: impl FnMut() -> Go,
    mut done: impl FnMut(Shown) -> Result<(), OomError>,
) -> Result<Pass, OomError> {
    let kind = Kind {
        mode: mode::SNAPSHOT,
        fault: rules.fault,
        anchor: (0, 0),
        filtered: true,
        traced: false,
        limit: None,
    };
    let keys: Vec<u64> = planned.iter().map(|planned| occurrence(planned.site, planned.nth)).collect();
    let mut outputs = Vec::new();
    let active = lab.start(watch, &kind, |memory, folder| {
        memory.set_plan(&keys)?;
        memory.allow_snapshots(rules.jobs, folder)?;
        outputs = (0..rules.jobs).map(|slot| make_outputs(folder, slot)).collect::<Result<_, _>>()?;
        Ok(())
    })?;
    let trunk = watch.pid_of(active.id).unwrap_or(0);
    let ended_for = vec![None; rules.jobs];
    let mut sweep =
        Sweep { rules, active, trunk, outputs, ended_for, early: HashMap::new(), noticed: None, last: 0 };
    let end = sweep.run(watch, &mut more, &mut done)?;
    // What the trunk or a snapshot has started does not outlive the pass.
    watch.end_all();
    sweep.conclude(end)
}

fn make_outputs(folder: &Path, slot: usize) -> std::io::Result<[File; 2]> {
    let make = |name: &str| {
        let path = folder.join(format!("{slot}.{name}"));
        File::options().read(true).write(true).create(true).truncate(true).open(path)
    };
    Ok([make("stdout")?, make("stderr")?])
}

impl Sweep<'_> {
    /// Takes in events until the trunk and all snapshots have ended; returns how the trunk did.
    fn run(
        &mut self,
        watch: &mut Watch,
        more: &mut impl FnMut() -> Go,
        done: &mut impl FnMut(Shown) -> Result<(), OomError>,
    ) -> Result<End, OomError> {
        let mut trunk_end = None;
        let mut quiet_since = Instant::now();
        loop {
            let overdue = self.end_overdue();
            if let Some(end) = trunk_end
                && self.taken().next().is_none()
            {
                return Ok(end);
            }
            // A target that makes no snapshots and does not end has lost its way.
            let idle = quiet_since + self.rules.limit + Duration::from_secs(60);
            if self.taken().next().is_none() && Instant::now() > idle {
                return Ok(End::Timeout);
            }
            match watch.next(Some(overdue.unwrap_or(idle)))? {
                Event::Ended(ended) if ended.run == self.active.id => trunk_end = Some(end_of(ended.end)),
                Event::Reaped { pid, end } => {
                    self.early.insert(pid, end_of(end));
                    quiet_since = Instant::now();
                }
                Event::Noticed(_, notice) => {
                    let answer = self.consider(&notice);
                    watch.answer(&notice, answer);
                }
                Event::Interrupted => {
                    watch.end_all();
                    return Err(OomError::Interrupted);
                }
                Event::Ended(_) | Event::TimeUp => {}
            }
            self.collect(done)?;
            if more() == Go::Finish {
                self.active.memory.control().noticed.store(1, Ordering::Release);
            }
        }
    }

    fn slots(&self) -> &[Slot] {
        &self.active.memory.slots()[..self.rules.jobs]
    }

    fn taken(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let taken = |slot: &Slot| slot.state.load(Ordering::Acquire) != slot::FREE;
        self.slots().iter().enumerate().filter(move |(_, slot)| taken(slot))
    }

    /// Judges and frees the slots of snapshots that have ended.
    fn collect(&mut self, done: &mut impl FnMut(Shown) -> Result<(), OomError>) -> Result<(), OomError> {
        if self.early.is_empty() {
            return Ok(());
        }
        for number in 0..self.rules.jobs {
            let slot = &self.active.memory.slots()[number];
            let pid = slot.pid.load(Ordering::Acquire).cast_signed();
            if slot.state.load(Ordering::Acquire) == slot::FREE {
                continue;
            }
            let Some(end) = self.early.remove(&pid) else { continue };
            processes::kill_group(pid);
            let shown = self.look_at(number, end)?;
            self.last = self.last.max(shown.planned.ordinal);
            self.ended_for[number] = None;
            let slot = &self.active.memory.slots()[number];
            slot.pid.store(0, Ordering::Relaxed);
            slot.state.store(slot::FREE, Ordering::Release);
            self.active.memory.wake_target();
            done(shown)?;
        }
        Ok(())
    }

    fn look_at(&self, number: usize, mut end: End) -> Result<Shown, OomError> {
        let slot = &self.slots()[number];
        let load = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
        let planned = Planned { site: load(&slot.site), nth: load(&slot.nth), ordinal: load(&slot.ordinal) };
        let shown = |end, judgement| Ok(Shown { planned, end, judgement });
        if slot.state.load(Ordering::Acquire) == slot::NOT_PRIVATE {
            return shown(end, Err("a file could not be reopened".to_owned()));
        }
        match self.ended_for[number] {
            Some(Reason::Call(text)) => return shown(end, Err(format!("after the failure it {text}"))),
            Some(Reason::TimeLimit) => end = End::Timeout,
            None if end == End::Signal(signal::FILE_SIZE) => end = End::Flood,
            None => {}
        }
        let [out, err] = &self.outputs[number];
        let [out_from, err_from] = [0, 1].map(|output| load(&slot.written[output]));
        let (stdout, stderr) = match end {
            End::Flood | End::Timeout => (Vec::new(), Vec::new()),
            _ => (read_from(out, out_from)?, read_from(err, err_from)?),
        };
        let index = |from: u64| usize::try_from(from).unwrap_or(usize::MAX);
        let observed = Observed {
            end,
            stdout: (&stdout, index(out_from)),
            stderr: (&stderr, index(err_from)),
            files: None,
            crashes: &[],
            damage: None,
            reached: true,
        };
        let judgement = judge(&observed, self.rules.expected, self.rules.expectations);
        let unseen = matches!(judgement.verdict, Verdict::Tolerated) && !self.rules.expected.files.is_empty();
        if unseen {
            return shown(end, Err("the files it writes are to be compared".to_owned()));
        }
        shown(end, Ok(judgement))
    }

    /// Ends snapshots that are over their time; when the next one will be.
    fn end_overdue(&mut self) -> Option<Instant> {
        let now = processes::monotonic();
        let limit = u64::try_from(self.rules.limit.as_nanos()).unwrap_or(u64::MAX);
        let mut next: Option<Duration> = None;
        let mut overdue = Vec::new();
        for (number, slot) in self.taken() {
            let deadline = slot.started.load(Ordering::Relaxed).saturating_add(limit);
            if self.ended_for[number].is_some() {
                continue;
            }
            let pid = slot.pid.load(Ordering::Acquire).cast_signed();
            if deadline <= now && pid > 0 {
                overdue.push((number, pid));
            } else if deadline > now {
                let left = Duration::from_nanos(deadline - now);
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        for (number, pid) in overdue {
            self.end_snapshot(number, pid, Reason::TimeLimit);
        }
        next.map(|left| Instant::now() + left)
    }

    fn end_snapshot(&mut self, number: usize, pid: i32, reason: Reason) {
        self.ended_for[number] = Some(reason);
        processes::kill_group(pid);
        processes::kill(pid);
    }

    /// Whether the trunk made the reference run's allocations as far as snapshots were made of it; in whatever
    /// order, for threads and hash tables may change that from run to run.
    fn repeats(&self, census: &Census) -> bool {
        let last = usize::try_from(self.last).unwrap_or(usize::MAX);
        let made = |census: &Census| {
            let mut made = census.allocations();
            made.truncate(last);
            made.sort_unstable();
            made
        };
        made(&Census::read(&self.active.memory)) == made(census)
    }

    /// Holds the trunk against the reference run: only if it ran the same are its snapshots worth anything.
    fn conclude(self, end: End) -> Result<Pass, OomError> {
        let control = self.active.memory.control();
        let obstacle = Obstacle::from_code(control.obstacle.load(Ordering::Relaxed));
        let at = control.obstacle_at.load(Ordering::Relaxed);
        let why = match (obstacle, self.noticed) {
            (Some(Obstacle::Noticed), Some(call)) => Some(format!("it had {call}")),
            // Set when no more are to be made: then the report says so.
            (Some(Obstacle::Noticed), None) | (None, _) => None,
            (Some(obstacle), _) => Some(obstacle.text().to_owned()),
        };
        let ended = why.map(|why| format!("{why}, first at allocation {at}"));
        let (expected, (census, same)) = (self.rules.expected, self.rules.census);
        let stdout = self.active.stdout()?;
        let stderr = self.active.stderr()?;
        let differs = if end != expected.end {
            Some("ended in another way than the reference run")
        } else if expected.stdout.as_ref().is_some_and(|reference| *reference != stdout) {
            Some("wrote another stdout than the reference run")
        } else if expected.stderr.as_ref().is_some_and(|reference| *reference != stderr) {
            Some("wrote another stderr than the reference run")
        } else if same && !self.repeats(census) {
            Some("made other allocations than the reference run")
        } else {
            None
        };
        Ok(Pass {
            ended,
            dishonest: differs.map(|how| format!("while snapshots were made of it, the target {how}")),
        })
    }
}

fn read_from(file: &File, from: u64) -> std::io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(MOST_OUTPUT).saturating_sub(from);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

//! One process under load, from its start or its being found to its figures.

use std::time::{Duration, Instant};

use memtrial_report::stress::{End, LimitKind, Loaded, Probe, Sample, Timing, Way};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::control::{Client, ClientError, Session};
use memtrial_target::interrupt::Interrupt;
use memtrial_target::limit::{self, Limited};
use memtrial_target::observe::{Here, Place, settled};
use serde_json::{Value, json};

use super::answers::{Status, Totals, totals};
use super::ending::{Watched, at_limit};
use super::options::Options;
use super::probe::{self, Running, Seen};
use super::sampling::{Series, memory};
use super::suspects::Suspects;
use super::trial::{Lab, Phase, Progress, StressError};
use super::{findings, overwrites, plan};

/// How much longer than asked the tests may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks whether the last tests have ended.
const LAST: Duration = Duration::from_millis(20);

/// A process with the agent in it.
#[derive(Debug)]
pub struct Subject {
    /// The process.
    pub watched: Watched,
    /// Its name, as the report has it.
    pub name: String,
    /// File name of its allocator.
    pub allocator: String,
    /// The agent.
    pub session: Session,
    /// How that got in.
    pub way: Way,
}

/// What all loads of a trial have in common.
pub struct Bench<'a> {
    /// What is asked.
    pub options: &'a Options,
    /// What is at hand.
    pub lab: &'a Lab,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// Who is told.
    pub progress: &'a mut dyn Progress,
    /// Names for stacks.
    pub symbolizer: Symbolizer,
    /// Most that a load may hold.
    pub max_total: u64,
}

/// What came of one load.
#[derive(Debug)]
pub struct Outcome {
    /// The figures.
    pub loaded: Loaded,
    /// Why the load was not what was asked for, if so.
    pub inconclusive: Option<String>,
    /// What limits its meaning.
    pub warnings: Vec<String>,
}

/// What is known of a load while it goes on.
struct Under {
    here: Here,
    client: Client,
    begun: Instant,
    totals: Totals,
    status: Status,
    /// The most that the load has held, with its bookkeeping.
    held: u64,
    /// When the process was last seen alive.
    alive: f64,
    end: Option<(f64, String)>,
    /// Why the agent does not answer any more, though the process lives.
    lost: Option<String>,
}

/// Loads a process, the `place`th of the trial from 0, and sends the agent away.
///
/// # Errors
/// When the load can't begin.
pub fn load(bench: &mut Bench<'_>, place: usize, subject: Subject) -> Result<Outcome, StressError> {
    let Subject { mut watched, name, allocator, session, way } = subject;
    let Bench { options, interrupt, .. } = *bench;
    let tests = plan::tests(options)?;
    let mut here = Here::new(interrupt.clone());
    let mut client = session.client()?;
    let before = memory(&settled(&mut here, &watched.identity, interrupt)?);
    let status = Status::of(&client.call("memtrial.status", json!([]))?);
    let unloaded = match &options.probe {
        Some(command) => {
            bench.progress.begin(&Phase::Unloaded);
            Some(probe::unloaded(command, options.timeout, interrupt)?)
        }
        None => None,
    };
    if interrupt.asked() {
        return Err(StressError::Interrupted);
    }
    let pid = watched.identity.pid;
    let mut notes = Vec::new();
    if options.check_content && status.arenas == 0 {
        let apart = "chunks lie apart from the target's blocks, whose allocator keeps memory for each thread: few \
                     overflows will hit one";
        notes.push(apart.to_owned());
    }
    let suspects = watch(bench, pid, &session, way, &mut notes);
    let limited = match limit(bench, pid) {
        Ok(limited) => limited,
        Err(error) => {
            let _ = suspects.map(|suspects| suspects.let_go(&session, bench.lab));
            return Err(error);
        }
    };
    bench.progress.begin(&Phase::Loading(name.clone()));
    let mut series = Series::new(before, status.bookkeeping);
    let mut under = Under {
        here,
        client,
        begun: Instant::now(),
        totals: Totals::default(),
        status,
        held: 0,
        alive: 0.0,
        end: None,
        lost: None,
    };
    let asked = start(bench, &mut under, &tests, &mut notes)
        .and_then(|()| under.go_on(bench, place, &mut watched, &session, &mut series));
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let _ = limited.map(Limited::release);
            let _ = suspects.map(|suspects| suspects.let_go(&session, bench.lab));
            return Err(error);
        }
    };
    let seconds = if under.totals.run_time > 0.0 { under.totals.run_time } else { under.alive };
    under.look_and_free(bench, &mut watched, &session);
    let mut after = None;
    if under.end.is_none() {
        let reading = settled(&mut under.here, &watched.identity, interrupt);
        after = reading.ok().map(|reading| memory(&reading));
    }
    let probe = under.conclude_probe(bench, &mut watched, unloaded, asked)?;
    let figures = limited.as_ref().map(|limited| (kind(limited), limited.met(), limited.killed()));
    notes.extend(limited.as_ref().and_then(Limited::note).map(str::to_owned));
    if let Some(Err(error)) = limited.map(Limited::release) {
        notes.push(error.to_string());
    }
    if let (Some(suspects), true) = (suspects, under.end.is_none())
        && let Err(why) = suspects.let_go(&session, bench.lab)
    {
        notes.push(why);
    }
    let stopped = session.entered().map(|entered| entered.stopped);
    if under.end.is_none() {
        leave(session, &mut notes);
        // It may have been the leaving that it did not survive.
        under.look_for_end(&mut watched);
    }
    let killed = figures.map_or(0, |(_, _, killed)| killed);
    let end = under.end.map(|(seconds, how)| End {
        seconds,
        how: at_limit(how, killed),
        printed: watched.printed().trim_end().to_owned(),
    });
    let mut loaded = Loaded {
        name,
        pid: watched.identity.pid,
        allocator,
        way,
        stopped_ms: stopped.map(|time| time.as_secs_f64() * 1e3),
        limit: None,
        samples: series.samples,
        seconds,
        allocations: under.totals.allocations,
        reallocs: under.totals.reallocs,
        errors: under.totals.errors,
        overflows: under.totals.overflows,
        allocated: under.totals.allocated,
        before,
        peak: series.peak,
        after: after.filter(|_| end.is_none()),
        bookkeeping: under.status.bookkeeping,
        checked: under.status.checked,
        overwritten: overwrites::describe(&under.status, &mut bench.symbolizer),
        overwritten_count: under.status.overwritten_count,
        probe,
        end,
        notes,
    };
    loaded.limit = figures
        .zip(options.limit)
        .map(|((kind, met, killed), bytes)| findings::limit(bytes, kind, met, killed, &loaded));
    let warnings = findings::warnings(options, &loaded, under.held, bench.max_total);
    let inconclusive = under.lost.or_else(|| findings::no_load(&loaded));
    Ok(Outcome { loaded, inconclusive, warnings })
}

/// Watches over the target's own blocks, where contents are looked at.
fn watch(
    bench: &Bench<'_>,
    pid: i32,
    session: &Session,
    way: Way,
    notes: &mut Vec<String>,
) -> Option<Suspects> {
    if !bench.options.check_content {
        return None;
    }
    let watched = Suspects::watch(pid, session, bench.lab, way == Way::Preload);
    watched.map_err(|why| notes.push(format!("who has overwritten chunks can't be told: {why}"))).ok()
}

fn limit(bench: &Bench<'_>, pid: i32) -> Result<Option<Limited>, StressError> {
    let Some(bytes) = bench.options.limit else { return Ok(None) };
    let record = limit::record_of(bench.lab.scratch.path(), pid);
    Ok(Some(Limited::apply(pid, bytes, &record)?))
}

fn kind(limited: &Limited) -> LimitKind {
    match limited.kind() {
        limit::Kind::CgroupV1 => LimitKind::CgroupV1,
        limit::Kind::CgroupV2 => LimitKind::CgroupV2,
        limit::Kind::AddressSpace => LimitKind::AddressSpace,
    }
}

/// Starts the tests, and says what limits their meaning. Where the process ends while they are started, that is for the
/// sampling to see.
fn start(
    bench: &Bench<'_>,
    under: &mut Under,
    tests: &[Value],
    notes: &mut Vec<String>,
) -> Result<(), StressError> {
    under.begun = Instant::now();
    for (number, test) in tests.iter().enumerate() {
        match under.client.call("mt.mem_test_start", test.clone()) {
            Ok(_) => {}
            // Under a limit there may be no memory for one thread more.
            Err(ClientError::Fault { message, .. }) if number > 0 && bench.options.limit.is_some() => {
                notes.push(format!("only {number} of {} threads could be started: {message}", tests.len()));
                break;
            }
            Err(error @ ClientError::Fault { .. }) => return Err(error.into()),
            Err(_) => break,
        }
    }
    Ok(())
}

fn leave(session: Session, notes: &mut Vec<String>) {
    match session.leave() {
        Ok(_) => {}
        Err(error) => notes.push(format!("the agent was told to leave, but: {error}")),
    }
}

impl Under {
    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Takes samples until the tests are over, the process has ended, the agent is lost, or the user interrupts, while
    /// the probe is asked; what that has seen.
    fn go_on(
        &mut self,
        bench: &mut Bench<'_>,
        place: usize,
        watched: &mut Watched,
        session: &Session,
        series: &mut Series,
    ) -> Result<Option<Seen>, StressError> {
        let Bench { options, interrupt, .. } = *bench;
        let running = match &options.probe {
            Some(command) => Some(
                Running::begin(command, options.timeout, self.begun)
                    .map_err(|error| StressError::Io { what: "cannot ask the probe".to_owned(), error })?,
            ),
            None => None,
        };
        let mut journal = Ok(());
        loop {
            let left = options.time.saturating_sub(self.begun.elapsed());
            if interrupt.sleep(series.pause().min(left + LAST)) {
                break;
            }
            self.look_for_end(watched);
            if self.end.is_some() {
                break;
            }
            match self.sample(watched, series) {
                Ok(sample) => {
                    series.push(sample);
                    journal = bench.progress.sample(place, &sample);
                }
                Err(why) => self.wonder(watched, session, why),
            }
            let is_over = self.totals.running == 0 || self.begun.elapsed() > options.time + GRACE;
            if journal.is_err() || self.end.is_some() || self.lost.is_some() || is_over {
                break;
            }
        }
        // What the probe is asked now is still asked under load: nothing was freed. Of a process that has ended there
        // is nothing more to hear.
        let at_once = self.end.is_some() || self.lost.is_some();
        let seen = running.map(|running| running.finish(at_once, interrupt));
        journal.map_err(StressError::Journal)?;
        Ok(seen)
    }

    fn sample(&mut self, watched: &Watched, series: &Series) -> Result<Sample, String> {
        self.read()?;
        let reading = self.here.glance(&watched.identity).map_err(|error| error.to_string())?;
        self.alive = self.seconds();
        Ok(series.sample(self.alive, &self.totals, &self.status, memory(&reading)))
    }

    /// Asks the agent for all figures.
    fn read(&mut self) -> Result<(), String> {
        let mut ask = |method| self.client.call(method, json!([])).map_err(|error| error.to_string());
        let (list, status) = (ask("mt.mem_test_list")?, ask("memtrial.status")?);
        self.totals = totals(&list);
        self.status = Status::of(&status);
        self.held = self.held.max(self.status.held);
        Ok(())
    }

    /// After an answer that did not come: has the process ended, or is only the connection lost?
    fn wonder(&mut self, watched: &mut Watched, session: &Session, why: String) {
        if let Ok(client) = session.client() {
            self.client = client;
            if self.read().is_ok() {
                return;
            }
        }
        match watched.has_perhaps_ended(&mut self.here) {
            Some(how) => self.end = Some((self.seconds(), how)),
            None => self.lost = Some(format!("the agent was lost while the process lives: {why}")),
        }
    }

    fn look_for_end(&mut self, watched: &mut Watched) {
        if self.end.is_none()
            && let Some(how) = watched.ended(&mut self.here)
        {
            self.end = Some((self.seconds(), how));
        }
    }

    /// Looks at all chunks, and frees them.
    fn look_and_free(&mut self, bench: &mut Bench<'_>, watched: &mut Watched, session: &Session) {
        if self.end.is_some() || self.lost.is_some() {
            return;
        }
        bench.progress.begin(&Phase::Freeing);
        let mut all = || -> Result<(), String> {
            self.read()?;
            let mut ask = |method| self.client.call(method, json!([])).map_err(|error| error.to_string());
            ask("mt.mem_check")?;
            ask("mt.mem_test_destroy_all")?;
            // Freed, they were looked at once more.
            let status = Status::of(&ask("memtrial.status")?);
            self.status = Status { bookkeeping: self.status.bookkeeping, ..status };
            Ok(())
        };
        if let Err(why) = all() {
            self.wonder(watched, session, why);
            if self.end.is_none() && self.lost.is_none() {
                self.lost = Some("the chunks could not be freed".to_owned());
            }
        }
        self.look_for_end(watched);
    }

    /// Asks the probe once more, with all freed: who does not recover has failed, too.
    fn conclude_probe(
        &mut self,
        bench: &Bench<'_>,
        watched: &mut Watched,
        unloaded: Option<Timing>,
        seen: Option<Seen>,
    ) -> Result<Option<Probe>, StressError> {
        let Bench { options, interrupt, .. } = *bench;
        let (Some(command), Some(unloaded), Some(mut seen)) = (&options.probe, unloaded, seen) else {
            return Ok(None);
        };
        if self.end.is_none() && self.lost.is_none() && !interrupt.asked() {
            let mut failure = probe::once(command, options.timeout, self.begun, interrupt)?;
            self.look_for_end(watched);
            if let Some(failure) = failure.as_mut().filter(|_| self.end.is_none()) {
                failure.how = format!("{} after all was freed", failure.how);
                seen.failed.push(failure.seconds);
                seen.failures.push(failure.clone());
            }
        }
        if self.end.is_some() {
            // A process that has ended answers nobody: that is not another failure.
            seen.failed.retain(|&seconds| seconds <= self.alive);
            seen.failures.retain(|failure| failure.seconds <= self.alive);
        }
        Ok(Some(Probe {
            command: command.clone(),
            unloaded,
            loaded: probe::timing(seen.took),
            failures: seen.failures,
            failed: seen.failed.len() as u64,
        }))
    }
}

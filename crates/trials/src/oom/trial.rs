//! A whole trial: reference runs, plan, snapshots, reruns, confirmation, findings.

mod conclusion;

pub use conclusion::Conclusion;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use memtrial_report::model::{Coverage, End, Outcome, Report, SCHEMA, Site, Way};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::filter;
use memtrial_target::watch::Watch;
use regex::bytes::Regex;

use super::confirm::{Confirmations, Outcomes};
use super::error::OomError;
use super::findings::{Evidence, Evidences};
use super::judge::Expectations;
use super::lab::{Lab, LabError, Limits};
use super::options::{Mode, Options};
use super::plan::{self, Planned};
use super::reference::{self, Established};
use super::rerun::{self, Go, Rerun};
use super::snapshot::{self, Shown};

/// What the trial is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Running without a fault.
    Reference,
    /// Failing allocations in snapshots.
    Snapshots,
    /// Failing allocations in reruns.
    Reruns,
    /// Making bad outcomes again.
    Confirming,
}

/// Hears what happens, and keeps the outcomes.
pub trait Progress {
    /// A phase begins, of so many injections.
    fn begin(&mut self, phase: Phase, injections: u64);
    /// An outcome, to be kept before anything else happens.
    ///
    /// # Errors
    /// When it can't be kept.
    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()>;
    /// An injection of this phase is done.
    fn step(&mut self);
}

/// The shortest time limit of an injection, unless the user gives one.
const SHORTEST_LIMIT: Duration = Duration::from_secs(5);
/// The time limit of a reference run, unless the user gives one.
const REFERENCE_LIMIT: Duration = Duration::from_secs(600);
/// What an injection may write beyond the reference run's output, in bytes.
const WRITE_ALLOWANCE: u64 = 64 << 20;

/// The census alone: sites with their stacks, for `--list`.
///
/// # Errors
/// When the target does not run as it should.
pub fn list(options: &Options, lab: &mut Lab) -> Result<(Report, Vec<Site>), OomError> {
    let mut watch = Watch::new()?;
    let mut symbolizer = Symbolizer::new();
    let limit = options.timeout.unwrap_or(REFERENCE_LIMIT);
    let established = reference::establish(lab, &mut watch, limit, &options.expect_exit)?;
    let planned = plan::select(options, &established.census, &mut symbolizer)?;
    let selected: std::collections::HashSet<u64> = planned.iter().map(|planned| planned.site).collect();
    let sites = established.census.sites.iter().filter(|site| selected.contains(&site.hash));
    let sites = sites.map(|site| established.census.describe(site, &mut symbolizer)).collect();
    let mut warnings = established.warnings;
    warnings.extend(symbolizer.warnings());
    let report = Report {
        schema: SCHEMA,
        trial: "oom".to_owned(),
        command: options.command.clone(),
        fault: options.fault.to_string(),
        policy: options.policy,
        reference: established.report,
        coverage: Coverage::default(),
        verdicts: Vec::new(),
        findings: Vec::new(),
        unconfirmed: Vec::new(),
        warnings,
        exit_status: 0,
    };
    Ok((report, sites))
}

/// Runs a whole trial. `known` are outcomes of an earlier, unfinished run of the same options; `stdin` is where
/// the target's input is kept for reproduction, unless it is empty.
///
/// # Errors
/// When there is nothing to report.
pub fn run(
    options: &Options,
    lab: &mut Lab,
    known: &[Outcome],
    stdin: Option<&str>,
    progress: &mut dyn Progress,
) -> Result<Conclusion, OomError> {
    let expectations = Expectations {
        exit: options.expect_exit.clone(),
        stderr: options.expect_stderr.as_deref().map(Regex::new).transpose()?,
    };
    let mut watch = Watch::new()?;
    let begun = Instant::now();
    progress.begin(Phase::Reference, 2);
    let limit = options.timeout.unwrap_or(REFERENCE_LIMIT);
    let established = reference::establish(lab, &mut watch, limit, &options.expect_exit)?;
    let mut symbolizer = Symbolizer::new();
    let mut trial = Trial {
        options,
        lab,
        watch: &mut watch,
        progress,
        expectations: &expectations,
        limit: injection_limit(options, &established),
        deadline: options.max_time.map(|time| begun + time),
        symbolizer: &mut symbolizer,
        outcomes: BTreeMap::new(),
        confirmations: Confirmations::default(),
        evidence: Evidences::new(),
        coverage: Coverage::default(),
        warnings: established.warnings.clone(),
    };
    trial.set_limits(&established);
    match trial.inject(&established, known) {
        Ok(()) => {}
        Err(OomError::Interrupted) => trial.coverage.stopped = Some("interrupted".to_owned()),
        Err(error) => return Err(error),
    }
    let interrupted = trial.coverage.stopped.as_deref() == Some("interrupted");
    trial.report(established, stdin, interrupted)
}

fn injection_limit(options: &Options, established: &Established) -> Duration {
    let usual = Duration::from_secs_f64(established.report.seconds) * 10;
    options.timeout.unwrap_or(usual.max(SHORTEST_LIMIT))
}

/// A trial under way.
struct Trial<'a> {
    options: &'a Options,
    lab: &'a mut Lab,
    watch: &'a mut Watch,
    progress: &'a mut dyn Progress,
    expectations: &'a Expectations,
    limit: Duration,
    deadline: Option<Instant>,
    symbolizer: &'a mut Symbolizer,
    outcomes: Outcomes,
    confirmations: Confirmations,
    evidence: Evidences,
    coverage: Coverage,
    warnings: Vec<String>,
}

impl Trial<'_> {
    fn set_limits(&mut self, established: &Established) {
        let written = [&established.expected.stdout, &established.expected.stderr];
        let most = written.iter().filter_map(|output| output.as_ref()).map(Vec::len).max().unwrap_or(0);
        let files = established.expected.files.values().map(Vec::len).max().unwrap_or(0);
        let write = (most.max(files) as u64).saturating_mul(4).saturating_add(WRITE_ALLOWANCE);
        // Half of the memory, shared out: what a program that allocates without end may take.
        let data = memory_of_machine() / 2 / self.options.jobs as u64;
        self.lab.set_limits(Limits { write, data });
    }

    fn inject(&mut self, established: &Established, known: &[Outcome]) -> Result<(), OomError> {
        if !self.options.fault.is_anchored() {
            return self.inject_once(established);
        }
        let planned = plan::select(self.options, &established.census, self.symbolizer)?;
        self.coverage.planned = planned.len() as u64;
        let done: std::collections::HashMap<(&str, u64), &Outcome> =
            known.iter().map(|outcome| ((outcome.hash.as_str(), outcome.nth), outcome)).collect();
        let mut left = Vec::new();
        for planned in planned {
            match done.get(&(hash_text(planned.site).as_str(), planned.nth)) {
                Some(outcome) => drop(self.outcomes.insert(planned, (*outcome).clone())),
                None => left.push(planned),
            }
        }
        self.by_snapshots(established, &left)?;
        left.retain(|planned| !self.outcomes.contains_key(planned));
        if self.options.mode != Mode::Snapshot {
            self.by_reruns(established, &left)?;
        }
        self.confirm(established)
    }

    /// Why this trial makes no snapshots at all, if so.
    fn snapshot_barrier(&self, established: &Established) -> Option<String> {
        if self.options.mode == Mode::Rerun {
            return Some("--mode rerun".to_owned());
        }
        if self.options.check.is_some() {
            return Some("--check looks at what a whole run leaves behind".to_owned());
        }
        if established.expected.meets_faults {
            return Some("the target meets fault signals of its own".to_owned());
        }
        filter::check_support().err().map(|error| format!("the kernel can't report system calls: {error}"))
    }

    fn by_snapshots(&mut self, established: &Established, planned: &[Planned]) -> Result<(), OomError> {
        if planned.is_empty() {
            return Ok(());
        }
        if let Some(barrier) = self.snapshot_barrier(established) {
            self.coverage.snapshots_ended = Some(barrier);
            return Ok(());
        }
        self.progress.begin(Phase::Snapshots, planned.len() as u64);
        let rules = snapshot::Rules {
            fault: self.options.fault,
            limit: self.limit,
            jobs: self.options.jobs,
            expected: &established.expected,
            census: (&established.census, established.report.differences.is_empty()),
            expectations: self.expectations,
        };
        let mut handed_over: BTreeMap<String, u64> = BTreeMap::new();
        let (outcomes, progress, deadline) = (&mut self.outcomes, &mut *self.progress, self.deadline);
        let done = |shown: Shown| {
            progress.step();
            match shown.judgement {
                Err(reason) => *handed_over.entry(reason).or_default() += 1,
                Ok(judgement) => {
                    let outcome = outcome(&shown.planned, Way::Snapshot, shown.end, &judgement);
                    progress.outcome(&outcome).map_err(OomError::Journal)?;
                    outcomes.insert(shown.planned, outcome);
                }
            }
            Ok(())
        };
        let pass = match snapshot::sweep(self.lab, self.watch, &rules, planned, || go(deadline), done) {
            Err(OomError::Lab(LabError::Launch(error))) => {
                self.coverage.snapshots_ended = Some(error.to_string());
                return Ok(());
            }
            other => other?,
        };
        self.coverage.handed_over = handed_over.into_iter().collect();
        self.coverage.snapshots_ended = pass.ended;
        self.realign(planned);
        if let Some(why) = pass.dishonest {
            self.warnings.push(format!("{why}: what snapshots showed does not count"));
            self.outcomes.retain(|_, outcome| outcome.way != Way::Snapshot);
            self.coverage.snapshots_ended = Some(why);
        }
        Ok(())
    }

    /// Allocations are matched by site and number: where a run has other ordinals, the plan's count.
    fn realign(&mut self, planned: &[Planned]) {
        let by_name: std::collections::HashMap<(u64, u64), &Planned> =
            planned.iter().map(|planned| ((planned.site, planned.nth), planned)).collect();
        let shown = std::mem::take(&mut self.outcomes);
        for (planned, outcome) in shown {
            let planned = by_name.get(&(planned.site, planned.nth)).map_or(planned, |named| **named);
            self.outcomes.insert(planned, outcome);
        }
    }

    fn by_reruns(&mut self, established: &Established, planned: &[Planned]) -> Result<(), OomError> {
        if planned.is_empty() {
            return Ok(());
        }
        self.progress.begin(Phase::Reruns, planned.len() as u64);
        self.rerun(established, planned, &[], |trial, rerun| {
            let planned = rerun.planned;
            let outcome = outcome(&planned, Way::Rerun, rerun.end, &rerun.judgement);
            trial.progress.outcome(&outcome).map_err(OomError::Journal)?;
            trial.confirmations.observed(&planned, &outcome);
            trial.keep(&outcome, rerun);
            trial.outcomes.insert(planned, outcome);
            Ok(())
        })
    }

    /// A fault that chooses by itself: one run is the whole injection.
    fn inject_once(&mut self, established: &Established) -> Result<(), OomError> {
        let selected = plan::select(self.options, &established.census, self.symbolizer)?;
        let filtered = !self.options.only.is_empty() || !self.options.skip.is_empty();
        let sites: std::collections::BTreeSet<u64> =
            selected.iter().filter(|_| filtered).map(|planned| planned.site).collect();
        let sites: Vec<u64> = sites.into_iter().collect();
        self.coverage.planned = 1;
        self.coverage.snapshots_ended =
            Some("the fault chooses by itself what fails: one run is all".to_owned());
        self.progress.begin(Phase::Reruns, 1);
        self.rerun(established, &[Planned { ordinal: 0, site: 0, nth: 0 }], &sites, |trial, rerun| {
            let planned = Planned { ordinal: 0, site: rerun.failed.0, nth: rerun.failed.1 };
            let outcome = outcome(&planned, Way::Rerun, rerun.end, &rerun.judgement);
            trial.progress.outcome(&outcome).map_err(OomError::Journal)?;
            trial.confirmations.observed(&planned, &outcome);
            trial.keep(&outcome, Rerun { planned, ..rerun });
            trial.outcomes.insert(planned, outcome);
            Ok(())
        })
    }

    fn confirm(&mut self, established: &Established) -> Result<(), OomError> {
        loop {
            let next = self.confirmations.next(&self.outcomes, self.options.policy);
            if next.is_empty() || self.coverage.stopped.is_some() && self.deadline.is_none() {
                return Ok(());
            }
            self.progress.begin(Phase::Confirming, next.len() as u64);
            // Whatever the time: without this nothing bad could be reported.
            let deadline = self.deadline.take();
            let result = self.rerun(established, &next, &[], |trial, rerun| {
                let planned = rerun.planned;
                let shown = outcome(&planned, Way::Rerun, rerun.end, &rerun.judgement);
                let shown = trial.confirmations.take_in(planned, shown, &mut trial.outcomes);
                trial.progress.outcome(&shown).map_err(OomError::Journal)?;
                trial.keep(&shown, rerun);
                Ok(())
            });
            self.deadline = deadline;
            result?;
        }
    }

    /// Keeps the evidence of an outcome that does not pass.
    fn keep(&mut self, outcome: &Outcome, rerun: Rerun) {
        if !self.options.policy.passes(outcome.verdict) {
            let planned = rerun.planned;
            self.evidence.insert(planned, Evidence::of(rerun, self.symbolizer));
        }
    }

    fn rerun(
        &mut self,
        established: &Established,
        queue: &[Planned],
        sites: &[u64],
        mut take: impl FnMut(&mut Self, Rerun) -> Result<(), OomError>,
    ) -> Result<(), OomError> {
        let rules = rerun::Rules {
            fault: self.options.fault,
            sites,
            limit: self.limit,
            jobs: if established.shares_files { 1 } else { self.options.jobs },
            check: self.options.check.as_deref(),
            expected: &established.expected,
            expectations: self.expectations,
        };
        let mut reruns = rerun::Reruns::new(queue);
        while let Some(rerun) = reruns.next(self.lab, self.watch, &rules, || go(self.deadline))? {
            self.progress.step();
            take(self, rerun)?;
        }
        Ok(())
    }
}

fn go(deadline: Option<Instant>) -> Go {
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) { Go::Finish } else { Go::On }
}

fn outcome(planned: &Planned, way: Way, end: End, judgement: &super::judge::Judgement) -> Outcome {
    Outcome {
        hash: hash_text(planned.site),
        nth: planned.nth,
        ordinal: planned.ordinal,
        way,
        end,
        verdict: judgement.verdict,
        grade: judgement.grade,
        instead_of: None,
    }
}

/// A site's hash as outcomes carry it.
fn hash_text(site: u64) -> String {
    format!("{site:016x}")
}

/// Bytes of memory that the machine has; a guess where the kernel does not say.
fn memory_of_machine() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(4 << 20) * 1024
}

//! A whole trial: reference runs, plan, snapshots, reruns, confirmation, findings.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use memtrial_report::model::{Coverage, End, Finding, Outcome, Report, SCHEMA, Site, Verdict, Way};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::filter;
use memtrial_target::watch::Watch;
use regex::bytes::Regex;

use super::confirm::{Confirmations, Outcomes};
use super::findings::{self, Evidence, Evidences, Material};
use super::judge::Expectations;
use super::lab::{Lab, LabError, Limits};
use super::options::{Mode, Options};
use super::plan::{self, PlanError, Planned};
use super::reference::{self, Established};
use super::rerun::{self, Go, Rerun};
use super::snapshot::{self, Shown};

/// Why a trial has no report.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// A run could not be made.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The options select nothing.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The target fails without a fault.
    #[error("without any fault, the target {}", describe_end(*.end))]
    Reference {
        /// How it ended.
        end: End,
        /// What it said.
        stderr: String,
    },
    /// There is nothing to fail.
    #[error("the agent saw no allocation: the target makes none, or its allocator can't be reached")]
    NoAllocations,
    /// The agent can't unwind there.
    #[error("the target's C library is older than glibc 2.35, which the agent needs")]
    OldLibrary,
    /// All reruns diverged, or snapshots alone reach nothing.
    #[error("none of the planned allocations could be tested: {0}")]
    NothingTested(String),
    /// The options leave nothing to test.
    #[error("nothing was tested: {0}")]
    NothingAsked(&'static str),
    /// Outcomes could not be kept.
    #[error("cannot keep the outcomes: {0}")]
    Journal(io::Error),
    /// `--expect-stderr` is no regular expression.
    #[error("--expect-stderr: {0}")]
    Pattern(#[from] regex::Error),
    /// The user interrupted before there was anything to report.
    #[error("interrupted")]
    Interrupted,
}

impl From<io::Error> for CampaignError {
    fn from(error: io::Error) -> CampaignError {
        CampaignError::Lab(LabError::Scratch(error))
    }
}

fn describe_end(end: End) -> String {
    match end {
        End::Exit(status) => format!("ends with status {status}"),
        End::Signal(signal) => format!("is ended by {}", crate::signal::name(signal)),
        End::Timeout => "does not end within its time limit".to_owned(),
        End::Flood => "writes without end".to_owned(),
    }
}

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

/// The report, and what belongs to it.
pub struct Trial {
    /// The report; the findings' folders are for the caller to fill in.
    pub report: Report,
    /// Captured stdout and stderr of each finding, in the same order.
    pub outputs: Vec<[Vec<u8>; 2]>,
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
pub fn list(options: &Options, lab: &mut Lab) -> Result<(Report, Vec<Site>), CampaignError> {
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
) -> Result<Trial, CampaignError> {
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
    let mut campaign = Campaign {
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
    campaign.set_limits(&established);
    match campaign.inject(&established, known) {
        Ok(()) => {}
        Err(CampaignError::Interrupted) => campaign.coverage.stopped = Some("interrupted".to_owned()),
        Err(error) => return Err(error),
    }
    let interrupted = campaign.coverage.stopped.as_deref() == Some("interrupted");
    campaign.report(established, stdin, interrupted)
}

fn injection_limit(options: &Options, established: &Established) -> Duration {
    let usual = Duration::from_secs_f64(established.report.seconds) * 10;
    options.timeout.unwrap_or(usual.max(SHORTEST_LIMIT))
}

/// A trial under way.
struct Campaign<'a> {
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

impl Campaign<'_> {
    fn set_limits(&mut self, established: &Established) {
        let written = [&established.expected.stdout, &established.expected.stderr];
        let most = written.iter().filter_map(|output| output.as_ref()).map(Vec::len).max().unwrap_or(0);
        let files = established.expected.files.values().map(Vec::len).max().unwrap_or(0);
        let write = (most.max(files) as u64).saturating_mul(4).saturating_add(WRITE_ALLOWANCE);
        // Half of the memory, shared out: what a program that allocates without end may take.
        let data = memory_of_machine() / 2 / self.options.jobs as u64;
        self.lab.set_limits(Limits { write, data });
    }

    fn inject(&mut self, established: &Established, known: &[Outcome]) -> Result<(), CampaignError> {
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

    fn by_snapshots(&mut self, established: &Established, planned: &[Planned]) -> Result<(), CampaignError> {
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
                    progress.outcome(&outcome).map_err(CampaignError::Journal)?;
                    outcomes.insert(shown.planned, outcome);
                }
            }
            Ok(())
        };
        let pass = match snapshot::sweep(self.lab, self.watch, &rules, planned, || go(deadline), done) {
            Err(CampaignError::Lab(LabError::Launch(error))) => {
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

    fn by_reruns(&mut self, established: &Established, planned: &[Planned]) -> Result<(), CampaignError> {
        if planned.is_empty() {
            return Ok(());
        }
        self.progress.begin(Phase::Reruns, planned.len() as u64);
        self.rerun(established, planned, &[], |campaign, rerun| {
            let planned = rerun.planned;
            let outcome = outcome(&planned, Way::Rerun, rerun.end, &rerun.judgement);
            campaign.progress.outcome(&outcome).map_err(CampaignError::Journal)?;
            campaign.confirmations.observed(&planned, &outcome);
            campaign.keep(&outcome, rerun);
            campaign.outcomes.insert(planned, outcome);
            Ok(())
        })
    }

    /// A fault that chooses by itself: one run is the whole injection.
    fn inject_once(&mut self, established: &Established) -> Result<(), CampaignError> {
        let selected = plan::select(self.options, &established.census, self.symbolizer)?;
        let filtered = !self.options.only.is_empty() || !self.options.skip.is_empty();
        let sites: std::collections::BTreeSet<u64> =
            selected.iter().filter(|_| filtered).map(|planned| planned.site).collect();
        let sites: Vec<u64> = sites.into_iter().collect();
        self.coverage.planned = 1;
        self.coverage.snapshots_ended =
            Some("the fault chooses by itself what fails: one run is all".to_owned());
        self.progress.begin(Phase::Reruns, 1);
        self.rerun(established, &[Planned { ordinal: 0, site: 0, nth: 0 }], &sites, |campaign, rerun| {
            let planned = Planned { ordinal: 0, site: rerun.failed.0, nth: rerun.failed.1 };
            let outcome = outcome(&planned, Way::Rerun, rerun.end, &rerun.judgement);
            campaign.progress.outcome(&outcome).map_err(CampaignError::Journal)?;
            campaign.confirmations.observed(&planned, &outcome);
            campaign.keep(&outcome, Rerun { planned, ..rerun });
            campaign.outcomes.insert(planned, outcome);
            Ok(())
        })
    }

    fn confirm(&mut self, established: &Established) -> Result<(), CampaignError> {
        loop {
            let next = self.confirmations.next(&self.outcomes, self.options.policy);
            if next.is_empty() || self.coverage.stopped.is_some() && self.deadline.is_none() {
                return Ok(());
            }
            self.progress.begin(Phase::Confirming, next.len() as u64);
            // Whatever the time: without this nothing bad could be reported.
            let deadline = self.deadline.take();
            let result = self.rerun(established, &next, &[], |campaign, rerun| {
                let planned = rerun.planned;
                let shown = outcome(&planned, Way::Rerun, rerun.end, &rerun.judgement);
                let shown = campaign.confirmations.take_in(planned, shown, &mut campaign.outcomes);
                campaign.progress.outcome(&shown).map_err(CampaignError::Journal)?;
                campaign.keep(&shown, rerun);
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
        mut take: impl FnMut(&mut Self, Rerun) -> Result<(), CampaignError>,
    ) -> Result<(), CampaignError> {
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

    fn report(
        mut self,
        established: Established,
        stdin: Option<&str>,
        interrupted: bool,
    ) -> Result<Trial, CampaignError> {
        let reached = |outcome: &&Outcome| outcome.verdict != Verdict::Unreached;
        let tested: Vec<&Outcome> = self.outcomes.values().filter(reached).collect();
        self.coverage.tested = tested.len() as u64;
        let by = |way| tested.iter().filter(|outcome| outcome.way == way).count() as u64;
        (self.coverage.by_snapshot, self.coverage.by_rerun) = (by(Way::Snapshot), by(Way::Rerun));
        let sites: std::collections::HashSet<&str> =
            tested.iter().map(|outcome| outcome.hash.as_str()).collect();
        self.coverage.sites_tested = sites.len() as u64;
        let left = self.coverage.planned.saturating_sub(self.outcomes.len() as u64);
        if left > 0 && !interrupted && self.options.max_time.is_some() {
            self.coverage.stopped = Some("--max-time has passed".to_owned());
        }
        if tested.is_empty() && !interrupted {
            if self.coverage.stopped.is_some() {
                return Err(CampaignError::NothingAsked("--max-time had passed before the first injection"));
            }
            if !self.options.fault.is_anchored() {
                return Err(CampaignError::NothingAsked("the fault chose none of the run's allocations"));
            }
            let why = match (&self.coverage.snapshots_ended, self.options.mode) {
                (Some(why), Mode::Snapshot) => why.clone(),
                _ => "the reruns did not make them".to_owned(),
            };
            return Err(CampaignError::NothingTested(why));
        }
        let mut verdicts: BTreeMap<Verdict, u64> = BTreeMap::new();
        for outcome in self.outcomes.values() {
            *verdicts.entry(outcome.verdict).or_default() += 1;
        }
        let material = Material {
            options: self.options,
            census: &established.census,
            outcomes: &self.outcomes,
            confirmations: &self.confirmations,
            evidence: &self.evidence,
            stdin,
        };
        let grouped = findings::group(&material, self.symbolizer);
        let nothing = || [Vec::new(), Vec::new()];
        let outputs = grouped.findings.iter().map(|(_, planned)| {
            self.evidence.get(planned).map_or_else(nothing, |evidence| evidence.outputs.clone())
        });
        let outputs = outputs.collect();
        let findings: Vec<Finding> = grouped.findings.into_iter().map(|(finding, _)| finding).collect();
        self.warnings.extend(self.symbolizer.warnings());
        let exit_status = if interrupted { 130 } else { u8::from(!findings.is_empty()) };
        let report = Report {
            schema: SCHEMA,
            trial: "oom".to_owned(),
            command: self.options.command.clone(),
            fault: self.options.fault.to_string(),
            policy: self.options.policy,
            reference: established.report,
            coverage: self.coverage,
            verdicts: verdicts.into_iter().collect(),
            findings,
            unconfirmed: grouped.unconfirmed,
            warnings: self.warnings,
            exit_status,
        };
        Ok(Trial { report, outputs })
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

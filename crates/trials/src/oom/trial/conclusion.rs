//! What a trial came to: the report, and what belongs to it.

use std::collections::{BTreeMap, HashSet};

use memtrial_report::model::{Finding, Outcome, Report, SCHEMA, Verdict, Way};

use super::Trial;
use crate::oom::error::OomError;
use crate::oom::findings::{self, Material};
use crate::oom::options::Mode;
use crate::oom::reference::Established;

/// The report, and what belongs to it.
pub struct Conclusion {
    /// The report; the findings' folders are for the caller to fill in.
    pub report: Report,
    /// Captured stdout and stderr of each finding, in the same order.
    pub outputs: Vec<[Vec<u8>; 2]>,
}

impl Trial<'_> {
    /// What it came to.
    ///
    /// # Errors
    /// When nothing was tested.
    pub(super) fn report(
        mut self,
        established: Established,
        stdin: Option<&str>,
        interrupted: bool,
    ) -> Result<Conclusion, OomError> {
        let reached = |outcome: &&Outcome| outcome.verdict != Verdict::Unreached;
        let tested: Vec<&Outcome> = self.outcomes.values().filter(reached).collect();
        self.coverage.tested = tested.len() as u64;
        let by = |way| tested.iter().filter(|outcome| outcome.way == way).count() as u64;
        (self.coverage.by_snapshot, self.coverage.by_rerun) = (by(Way::Snapshot), by(Way::Rerun));
        let sites: HashSet<&str> = tested.iter().map(|outcome| outcome.hash.as_str()).collect();
        self.coverage.sites_tested = sites.len() as u64;
        let left = self.coverage.planned.saturating_sub(self.outcomes.len() as u64);
        if left > 0 && !interrupted && self.options.max_time.is_some() {
            self.coverage.stopped = Some("--max-time has passed".to_owned());
        }
        if tested.is_empty() && !interrupted {
            if self.coverage.stopped.is_some() {
                return Err(OomError::NothingAsked("--max-time had passed before the first injection"));
            }
            if !self.options.fault.is_anchored() {
                return Err(OomError::NothingAsked("the fault chose none of the run's allocations"));
            }
            let why = match (&self.coverage.snapshots_ended, self.options.mode) {
                (Some(why), Mode::Snapshot) => why.clone(),
                _ => "the reruns did not make them".to_owned(),
            };
            return Err(OomError::NothingTested(why));
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
        Ok(Conclusion { report, outputs })
    }
}

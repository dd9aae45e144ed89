//! What a run came to, case by case: the common ground of the formats that other programs read.

mod leak;
mod oom;
mod stress;

use std::collections::HashMap;

use crate::frames;
use crate::model::Frame;
use crate::trial::TrialReport;
use crate::wording::printable;

/// Something that a verdict can be: a rule of SARIF, a type of JUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Name that stays, as `oom/crashed`.
    pub id: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

/// How a case came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It passes.
    Passed,
    /// It does not.
    Failed,
    /// It could not be told, and that fails the run.
    Undecided,
    /// It could not be told, or does not count, and the run passes or fails without it.
    Ignored,
}

/// A titled call stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// What happened there.
    pub title: &'static str,
    /// Its frames, innermost first.
    pub frames: Vec<Frame>,
}

/// One thing that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it was judged by.
    pub rule: Rule,
    /// What was judged: the same in every run, as far as it can be.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// All of it in one sentence.
    pub message: String,
    /// Where it happened: where to look first comes first.
    pub stacks: Vec<Stack>,
    /// What stays the same when it is found again.
    pub fingerprint: String,
    /// The command that shows it again; empty for what passes.
    pub repro: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The trial's name.
    pub trial: &'static str,
    /// The command on trial, or that of memtrial.
    pub command: String,
    /// How long it took, in seconds, if that is known.
    pub seconds: Option<f64>,
    /// Everything judged, worst first.
    pub cases: Vec<Case>,
    /// Sentences about what limits the meaning of the run.
    pub warnings: Vec<String>,
    /// Exit status of memtrial.
    pub exit_status: u8,
}

impl Results {
    /// The results of a run, whichever trial it was.
    #[must_use]
    pub fn of(report: &TrialReport) -> Results {
        let mut results = match report {
            TrialReport::Oom(report) => oom::of(report),
            TrialReport::Leak(report) => leak::of(report),
            TrialReport::Stress(report) => stress::of(report),
        };
        // Whoever reads the formats may print what is in them.
        for text in
            results.cases.iter_mut().flat_map(|case| [&mut case.name, &mut case.message, &mut case.repro])
        {
            *text = printable(text);
        }
        results.warnings.iter_mut().for_each(|warning| *warning = printable(warning));
        results.command = printable(&results.command);
        results
    }

    /// The rules that a run of this trial goes by.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        match self.trial {
            "oom" => oom::rules(),
            "leak" => leak::rules(),
            _ => stress::rules(),
        }
    }
}

/// Names of which no two are alike: what is called as something before it has its number behind it.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashMap::new();
    let number = |name: String| {
        let count = seen.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count == 1 { name } else { format!("{name} {count}") }
    };
    names.map(number).collect()
}

/// A case in full, as text.
#[must_use]
pub fn details(case: &Case) -> String {
    let mut text = case.message.clone();
    for stack in &case.stacks {
        text += &format!("\n\n{}", stack.title);
        for (number, frame) in stack.frames.iter().enumerate() {
            text += &format!("\n  #{number:<2} {}", frames::line(frame));
        }
    }
    if !case.repro.is_empty() {
        text += &format!("\n\nreproduce: {}", case.repro);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::testing::{clean_report, leak_report, oom_report, oom_report_with_findings};

    fn outcomes(report: impl Into<TrialReport>) -> Vec<Outcome> {
        Results::of(&report.into()).cases.iter().map(|case| case.outcome).collect()
    }

    #[test]
    fn a_run_that_passes_has_a_case_that_passes() {
        assert_eq!(outcomes(oom_report()), [Outcome::Passed]);
        assert_eq!(outcomes(clean_report()), [Outcome::Passed]);
    }

    #[test]
    fn a_run_that_was_interrupted_does_not_pass() {
        assert_eq!(outcomes(model::Report { exit_status: 130, ..oom_report() }), [Outcome::Undecided]);
    }

    #[test]
    fn each_finding_is_a_case_and_what_does_not_count_fails_nothing() {
        assert_eq!(outcomes(oom_report_with_findings()), [Outcome::Failed, Outcome::Ignored]);
        let [failed, ignored] = [Outcome::Failed, Outcome::Ignored];
        assert_eq!(outcomes(leak_report()), [failed, failed, ignored, ignored]);
    }

    #[test]
    fn what_could_not_be_told_fails_as_the_run_does() {
        let mut report = clean_report();
        report.processes[0].judgements[0].verdict = crate::leak::Verdict::Inconclusive;
        assert_eq!(outcomes(report.clone()), [Outcome::Ignored]);
        report.exit_status = 1;
        assert_eq!(outcomes(report), [Outcome::Undecided]);
    }
}

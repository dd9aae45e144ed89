//! What a run of `memtrial stress` came to, case by case.

use super::{Case, Outcome, Results, Rule, Stack, distinct};
use crate::frames;
use crate::stress::{Finding, FindingKind, Loaded, Report};
use crate::wording::{command_line, plural};

const DIED: Rule = Rule { id: "stress/died", meaning: "The target ended under load." };
const OVERWRITTEN: Rule = Rule {
    id: "stress/overwritten",
    meaning: "Memory that the load had allocated was written to by somebody else.",
};
const UNANSWERED: Rule =
    Rule { id: "stress/unanswered", meaning: "A probe fails under load that succeeds without." };
const HELD: Rule = Rule { id: "stress/held", meaning: "The target holds under load." };

/// The rules, worst first.
pub(super) fn rules() -> Vec<Rule> {
    vec![DIED, OVERWRITTEN, UNANSWERED, HELD]
}

/// The results: a case for each finding, and for each process without one.
pub(super) fn of(report: &Report) -> Results {
    let findings = report.findings.iter().map(|finding| finding_case(report, finding));
    let others = report.loaded.iter().filter(|loaded| {
        let mut about = report.findings.iter();
        !about.any(|finding| finding.pid == loaded.pid)
    });
    let mut cases: Vec<Case> = findings.chain(others.map(|loaded| loaded_case(report, loaded))).collect();
    if cases.is_empty() {
        cases.push(case_of_all(report));
    }
    let names = distinct(cases.iter().map(|case| case.name.clone()));
    cases.iter_mut().zip(names).for_each(|(case, name)| case.name = name);
    Results {
        trial: "stress",
        command: command_line(&report.command),
        seconds: Some(report.seconds),
        cases,
        warnings: report.warnings.clone(),
        exit_status: report.exit_status,
    }
}

fn finding_case(report: &Report, finding: &Finding) -> Case {
    let loaded = report.loaded_of(finding);
    let name = loaded.map_or_else(|| format!("pid {}", finding.pid), |loaded| loaded.name.clone());
    let place = frames::place(&finding.stack, frames::is_foreign);
    let (rule, about) = match finding.kind {
        FindingKind::Died => (DIED, format!("{name} lives under load")),
        FindingKind::Overwritten if finding.stack.is_empty() => {
            (OVERWRITTEN, format!("chunks in {name} stay as they are"))
        }
        FindingKind::Overwritten => (OVERWRITTEN, format!("chunks in {name} stay as they are: {place}")),
        FindingKind::Unanswered => (UNANSWERED, format!("{name} answers under load")),
    };
    let suspects = report.chunk_of(finding).map_or(&[][..], |chunk| &chunk.suspects);
    let blamed = suspects.iter().any(|suspect| suspect.stack == finding.stack);
    let title = match finding.kind {
        FindingKind::Overwritten if blamed => "the suspected block was allocated in",
        FindingKind::Overwritten => "the chunk was allocated in",
        FindingKind::Died | FindingKind::Unanswered => "seen in",
    };
    let stack = Stack { title, frames: finding.stack.clone() };
    Case {
        rule,
        outcome: Outcome::Failed,
        message: finding.message.clone(),
        stacks: Some(stack).filter(|stack| !stack.frames.is_empty()).into_iter().collect(),
        fingerprint: about.clone(),
        name: about,
        repro: finding.repro.clone(),
    }
}

fn loaded_case(report: &Report, loaded: &Loaded) -> Case {
    let outcome = if report.undecided() { Outcome::Undecided } else { Outcome::Passed };
    let name = format!("load on {}", loaded.name);
    let did = format!(
        "{} with {}, {}",
        plural(loaded.allocations, "allocation"),
        plural(loaded.errors, "error"),
        plural(loaded.overflows, "overflow")
    );
    let message = match outcome {
        Outcome::Passed => format!("held: {did}"),
        _ => format!("{}: {} ({did})", report.verdict.word(), report.sentence),
    };
    Case {
        rule: HELD,
        outcome,
        message,
        stacks: Vec::new(),
        fingerprint: name.clone(),
        name,
        repro: String::new(),
    }
}

/// The run as a whole, where it did not come so far that something was loaded.
fn case_of_all(report: &Report) -> Case {
    Case {
        rule: HELD,
        name: "load".to_owned(),
        outcome: Outcome::Undecided,
        message: format!("{}: {}", report.verdict.word(), report.sentence),
        stacks: Vec::new(),
        fingerprint: "load".to_owned(),
        repro: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::Verdict;
    use crate::testing::{allocators_report, stress_report};

    fn outcomes(report: &Report) -> Vec<Outcome> {
        of(report).cases.iter().map(|case| case.outcome).collect()
    }

    #[test]
    fn each_finding_fails_and_each_process_without_one_passes() {
        let cases = of(&stress_report()).cases;
        assert_eq!(cases.iter().map(|case| case.rule).collect::<Vec<_>>(), [OVERWRITTEN, UNANSWERED]);
        assert!(cases.iter().all(|case| case.outcome == Outcome::Failed));
        assert_eq!(cases[0].name, "chunks in server stay as they are: /src/server/buffer.h:12 buffer_new");
        assert_eq!(outcomes(&allocators_report()), [Outcome::Passed; 3]);
    }

    #[test]
    fn what_could_not_be_told_fails_the_run() {
        let report = Report { verdict: Verdict::Inconclusive, exit_status: 1, ..allocators_report() };
        assert_eq!(outcomes(&report), [Outcome::Undecided; 3]);
        assert_eq!(outcomes(&Report { exit_status: 130, ..allocators_report() }), [Outcome::Undecided; 3]);
        assert_eq!(outcomes(&Report { loaded: Vec::new(), ..report }), [Outcome::Undecided]);
    }

    #[test]
    fn findings_that_are_alike_have_names_of_their_own() {
        let mut report = stress_report();
        report.findings = vec![report.findings[0].clone(), report.findings[0].clone()];
        let names: Vec<String> = of(&report).cases.into_iter().map(|case| case.name).collect();
        assert_eq!(names[1], format!("{} 2", names[0]));
    }
}

//! What a run of `memtrial oom` came to, case by case.

use super::{Case, Outcome, Results, Rule, Stack};
use crate::model;
use crate::wording::{command_line, plural};

/// All rules, worst first.
const RULES: [(model::Verdict, Rule); 10] = {
    use model::Verdict::*;
    const fn rule(id: &'static str, meaning: &'static str) -> Rule {
        Rule { id, meaning }
    }
    [
        (Crashed, rule("oom/crashed", "A failed allocation makes the program crash.")),
        (Corrupted, rule("oom/corrupted", "A failed allocation makes the program damage its heap.")),
        (Hung, rule("oom/hung", "A failed allocation makes the program hang.")),
        (
            Damaged,
            rule("oom/damaged", "A failed allocation leaves damage behind: the check afterwards fails."),
        ),
        (Silent, rule("oom/silent", "A failed allocation gives a wrong result and a status of success.")),
        (Misreported, rule("oom/misreported", "A failed allocation is not reported as it was asked to be.")),
        (Asserted, rule("oom/asserted", "A failed allocation makes an assertion fail.")),
        (Aborted, rule("oom/aborted", "A failed allocation makes the program give up at once.")),
        (Tolerated, rule("oom/tolerated", "A failed allocation does not surface as an error.")),
        (Handled, rule("oom/handled", "Failed allocations are handled as the policy asks.")),
    ]
};

/// The rules, worst first.
pub(super) fn rules() -> Vec<Rule> {
    RULES.map(|(_, rule)| rule).to_vec()
}

/// The results.
pub(super) fn of(report: &model::Report) -> Results {
    let failed = report.findings.iter().map(|finding| case(finding, Outcome::Failed));
    let unconfirmed = report.unconfirmed.iter().map(|finding| case(finding, Outcome::Ignored));
    let mut cases: Vec<Case> = failed.chain(unconfirmed).collect();
    if report.findings.is_empty() {
        let tested = plural(report.coverage.tested, "failed allocation");
        let (outcome, message) = if report.exit_status == 0 {
            (Outcome::Passed, format!("{tested}, all as policy {} asks", report.policy.word()))
        } else {
            (Outcome::Undecided, format!("interrupted after {tested}"))
        };
        cases.push(Case {
            rule: rule_of(model::Verdict::Handled),
            name: "all allocations".to_owned(),
            outcome,
            message,
            stacks: Vec::new(),
            fingerprint: "all".to_owned(),
            repro: String::new(),
        });
    }
    Results {
        trial: "oom",
        command: command_line(&report.command),
        seconds: None,
        cases,
        warnings: report.warnings.iter().chain(&report.reference.differences).cloned().collect(),
        exit_status: report.exit_status,
    }
}

fn rule_of(verdict: model::Verdict) -> Rule {
    // The one verdict without a rule, `unreached`, is never a finding.
    RULES.iter().find(|(of, _)| *of == verdict).map_or(RULES[9].1, |(_, rule)| *rule)
}

fn case(finding: &model::Finding, outcome: Outcome) -> Case {
    let (verdict, how, place) = (finding.verdict.word(), finding.how(), finding.place());
    let grade = finding.grade.map_or("", model::Grade::words);
    let note = finding.note.as_ref().map_or(String::new(), |note| format!("; {note}"));
    let crash = finding.crash.as_ref();
    let crash_title = if finding.verdict == model::Verdict::Crashed { "crashed in" } else { "gave up in" };
    let crashed = crash.map(|crash| Stack { title: crash_title, frames: crash.stack.clone() });
    let failed = Stack { title: "allocation that failed", frames: finding.stack.clone() };
    let at = crash.map_or(&finding.site, |crash| &crash.crash_site);
    Case {
        rule: rule_of(finding.verdict),
        name: format!("{verdict} when {}:{} fails", finding.site, finding.nth),
        outcome,
        message: format!(
            "{verdict}{grade} at {place}: {how}{note} ({})",
            plural(finding.injections, "injection")
        ),
        stacks: crashed.into_iter().chain([failed]).collect(),
        fingerprint: format!("{verdict}:{at}"),
        repro: finding.repro.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_that_can_fail_has_a_rule() {
        for verdict in model::Verdict::ALL.into_iter().filter(|&verdict| verdict != model::Verdict::Unreached)
        {
            assert_eq!(rule_of(verdict).id, format!("oom/{}", verdict.word()));
        }
    }
}

//! What a run of `memtrial leak` came to, case by case.

use super::{Case, Outcome, Results, Rule, Stack, distinct};
use crate::leak::{self, FindingKind, Process};
use crate::wording::{command_line, growth};

const DIED: Rule =
    Rule { id: "leak/died", meaning: "The target ended, or was replaced, while it was on trial." };
const SITE: Rule =
    Rule { id: "leak/site", meaning: "Blocks that one call stack allocates pile up round by round." };
const GROWTH: Rule = Rule { id: "leak/growth", meaning: "The memory of a process grows round by round." };

/// The rules, worst first.
pub(super) fn rules() -> Vec<Rule> {
    vec![DIED, SITE, GROWTH]
}

/// The results.
pub(super) fn of(report: &leak::Report) -> Results {
    let names = distinct(report.processes.iter().map(|process| process.name.clone()));
    let told = |process: &Process| {
        // A site says nothing of the whole: the process is a case too.
        let mut about = report.findings.iter().filter(|finding| finding.kind != FindingKind::Site);
        about.any(|finding| finding.pid == process.pid)
    };
    let findings = report.findings.iter().map(|finding| {
        let process = report.processes.iter().position(|process| process.pid == finding.pid);
        finding_case(finding, process.map_or(&finding.name, |index| &names[index]))
    });
    let others = report.processes.iter().zip(&names).filter(|(process, _)| !told(process));
    let others = others.map(|(process, name)| process_case(report, process, name));
    Results {
        trial: "leak",
        command: command_line(&report.command),
        seconds: Some(report.seconds),
        cases: findings.chain(others).collect(),
        warnings: report.warnings.clone(),
        exit_status: report.exit_status,
    }
}

fn finding_case(finding: &leak::Finding, name: &str) -> Case {
    let sentence = &finding.sentence;
    let (rule, about, message) = match finding.kind {
        FindingKind::Died => (DIED, format!("process {name} lives"), sentence.clone()),
        FindingKind::Growth => {
            (GROWTH, process_name(name), format!("{sentence} ({})", finding.certainty.word()))
        }
        FindingKind::Site => {
            let site = finding.site.as_deref().unwrap_or("unknown");
            (SITE, format!("site {site} of {name}"), format!("{sentence} ({})", finding.certainty.word()))
        }
    };
    let stack = Stack { title: "allocated in", frames: finding.stack.clone() };
    Case {
        rule,
        outcome: Outcome::Failed,
        message,
        stacks: Some(stack).filter(|stack| !stack.frames.is_empty()).into_iter().collect(),
        fingerprint: finding.site.as_ref().map_or_else(|| about.clone(), |site| format!("site {site}")),
        name: about,
        repro: finding.repro.clone(),
    }
}

fn process_name(name: &str) -> String {
    format!("process {name}")
}

/// A process without a finding: what could not be told fails where it makes the run fail.
fn process_case(report: &leak::Report, process: &Process, name: &str) -> Case {
    let outcome = match process.verdict() {
        Some(leak::Verdict::Clean) => Outcome::Passed,
        _ if process.role == leak::Role::Target && report.exit_status != 0 => Outcome::Undecided,
        _ => Outcome::Ignored,
    };
    Case {
        rule: GROWTH,
        name: process_name(name),
        outcome,
        message: judged(process),
        stacks: Vec::new(),
        fingerprint: process_name(name),
        repro: String::new(),
    }
}

/// What a process is judged to be, where no finding says it.
fn judged(process: &Process) -> String {
    let Some(judgement) = process.decisive() else {
        let fate = process.fate.as_deref().unwrap_or("it was seen in too few rounds");
        return format!("inconclusive: {fate}");
    };
    let range = judgement.interval.map_or(String::new(), |[low, high]| {
        format!(", {} to {} with 90 % confidence", growth(low), growth(high))
    });
    let reason = judgement.reason.map_or(String::new(), |reason| format!(" ({})", reason.text()));
    let (verdict, measure, slope) =
        (judgement.verdict.word(), judgement.measure.words(), growth(judgement.slope));
    format!("{verdict}{reason}: {measure} {slope} a round{range}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clean_report, leak_report};

    #[test]
    fn a_target_that_died_is_a_case_though_it_was_never_seen() {
        let mut report = clean_report();
        let died = leak::Finding { kind: FindingKind::Died, pid: 1, ..leak_report().findings[1].clone() };
        report.findings.push(died);
        let cases = of(&report).cases;
        assert_eq!((cases[0].rule, cases[0].outcome), (DIED, Outcome::Failed));
        assert_eq!((cases[1].rule, cases[1].outcome), (GROWTH, Outcome::Passed));
    }

    #[test]
    fn processes_of_one_name_have_names_of_their_own() {
        let mut report = clean_report();
        report.processes.push(report.processes[0].clone());
        let names: Vec<String> = of(&report).cases.into_iter().map(|case| case.name).collect();
        assert_eq!(names, ["process server", "process server 2"]);
    }
}

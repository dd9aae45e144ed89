//! What a run came to, case by case: the common ground of the formats that other programs read.

use std::collections::HashMap;

use crate::frames;
use crate::leak::{self, FindingKind, Process};
use crate::model::{self, Frame};
use crate::trial::TrialReport;
use crate::wording::{growth, plural, printable};

/// Something that a verdict can be: a rule of SARIF, a type of JUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Name that stays, as `oom/crashed`.
    pub id: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

/// All rules of `memtrial oom`, worst first.
const OOM: [(model::Verdict, Rule); 10] = {
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

const DIED: Rule =
    Rule { id: "leak/died", meaning: "The target ended, or was replaced, while it was on trial." };
const SITE: Rule =
    Rule { id: "leak/site", meaning: "Blocks that one call stack allocates pile up round by round." };
const GROWTH: Rule = Rule { id: "leak/growth", meaning: "The memory of a process grows round by round." };

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
            TrialReport::Oom(report) => of_oom(report),
            TrialReport::Leak(report) => of_leak(report),
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
        if self.trial == "oom" { OOM.map(|(_, rule)| rule).to_vec() } else { vec![DIED, SITE, GROWTH] }
    }
}

fn of_oom(report: &model::Report) -> Results {
    let failed = report.findings.iter().map(|finding| oom_case(finding, Outcome::Failed));
    let unconfirmed = report.unconfirmed.iter().map(|finding| oom_case(finding, Outcome::Ignored));
    let mut cases: Vec<Case> = failed.chain(unconfirmed).collect();
    if report.findings.is_empty() {
        let tested = plural(report.coverage.tested, "failed allocation");
        let (outcome, message) = if report.exit_status == 0 {
            (Outcome::Passed, format!("{tested}, all as policy {} asks", report.policy.word()))
        } else {
            (Outcome::Undecided, format!("interrupted after {tested}"))
        };
        cases.push(Case {
            rule: oom_rule(model::Verdict::Handled),
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
        command: report.command.join(" "),
        seconds: None,
        cases,
        warnings: report.warnings.iter().chain(&report.reference.differences).cloned().collect(),
        exit_status: report.exit_status,
    }
}

fn oom_rule(verdict: model::Verdict) -> Rule {
    // The one verdict without a rule, `unreached`, is never a finding.
    OOM.iter().find(|(of, _)| *of == verdict).map_or(OOM[9].1, |(_, rule)| *rule)
}

fn oom_case(finding: &model::Finding, outcome: Outcome) -> Case {
    let (verdict, how, place) = (finding.verdict.word(), finding.how(), finding.place());
    let grade = finding.grade.map_or("", model::Grade::words);
    let note = finding.note.as_ref().map_or(String::new(), |note| format!("; {note}"));
    let crash = finding.crash.as_ref();
    let crash_title = if finding.verdict == model::Verdict::Crashed { "crashed in" } else { "gave up in" };
    let crashed = crash.map(|crash| Stack { title: crash_title, frames: crash.stack.clone() });
    let failed = Stack { title: "allocation that failed", frames: finding.stack.clone() };
    let at = crash.map_or(&finding.site, |crash| &crash.crash_site);
    Case {
        rule: oom_rule(finding.verdict),
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

fn of_leak(report: &leak::Report) -> Results {
    let names = names(&report.processes);
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
        command: report.command.join(" "),
        seconds: Some(report.seconds),
        cases: findings.chain(others).collect(),
        warnings: report.warnings.clone(),
        exit_status: report.exit_status,
    }
}

/// A name for each process: of several that are called alike, each has one that does not change with its pid.
fn names(processes: &[Process]) -> Vec<String> {
    let mut seen = HashMap::new();
    let mut name = |process: &Process| {
        let count = seen.entry(process.name.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count == 1 { process.name.clone() } else { format!("{} {count}", process.name) }
    };
    processes.iter().map(&mut name).collect()
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
    fn a_target_that_died_is_a_case_though_it_was_never_seen() {
        let mut report = clean_report();
        let died = leak::Finding { kind: FindingKind::Died, pid: 1, ..leak_report().findings[1].clone() };
        report.findings.push(died);
        let cases = of_leak(&report).cases;
        assert_eq!((cases[0].rule, cases[0].outcome), (DIED, Outcome::Failed));
        assert_eq!((cases[1].rule, cases[1].outcome), (GROWTH, Outcome::Passed));
    }

    #[test]
    fn what_could_not_be_told_fails_as_the_run_does() {
        let mut report = clean_report();
        report.processes[0].judgements[0].verdict = leak::Verdict::Inconclusive;
        assert_eq!(outcomes(report.clone()), [Outcome::Ignored]);
        report.exit_status = 1;
        assert_eq!(outcomes(report), [Outcome::Undecided]);
    }

    #[test]
    fn processes_of_one_name_have_names_of_their_own() {
        let mut report = clean_report();
        report.processes.push(report.processes[0].clone());
        let names: Vec<String> = of_leak(&report).cases.into_iter().map(|case| case.name).collect();
        assert_eq!(names, ["process server", "process server 2"]);
    }

    #[test]
    fn every_verdict_that_can_fail_has_a_rule() {
        for verdict in model::Verdict::ALL.into_iter().filter(|&verdict| verdict != model::Verdict::Unreached)
        {
            assert_eq!(oom_rule(verdict).id, format!("oom/{}", verdict.word()));
        }
    }
}

//! Outcomes grouped into findings, each with its evidence and the command that reproduces it.

use std::collections::{BTreeMap, HashMap};

use memtrial_report::model::{Crash, Finding, Frame, Grade, Outcome, Verdict};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_wire::fault::Fault;

use super::confirm::{Confirmations, Outcomes, group_of};
use super::judge::Judgement;
use super::options::Options;
use super::plan::Planned;
use super::rerun::Rerun;
use crate::census::{Census, crash_stack};
use crate::signal;

/// What a rerun left behind for the report.
#[derive(Debug, Clone)]
pub struct Evidence {
    judgement: Judgement,
    crash: Option<Crash>,
    /// All of stdout and stderr.
    pub outputs: [Vec<u8>; 2],
}

/// Evidence by what was failed.
pub type Evidences = HashMap<Planned, Evidence>;

impl Evidence {
    /// What is kept of a rerun.
    pub fn of(rerun: Rerun, symbolizer: &mut Symbolizer) -> Evidence {
        let index = rerun.judgement.crash.or((!rerun.crashes.is_empty()).then_some(0));
        let crash = index.and_then(|index| rerun.crashes.get(index)).map(|crash| {
            let stack = crash_stack(&crash.frames, symbolizer);
            Crash {
                signal: signal::name(crash.signal),
                address: crash.address,
                crash_site: crash_site(&stack),
                stack,
                message: crash.message.clone(),
            }
        });
        Evidence { judgement: rerun.judgement, crash, outputs: [rerun.stdout, rerun.stderr] }
    }
}

/// Libraries whose frames on top of a stack are not where an abort or exception was decided.
const ABORT_MACHINERY: [&str; 3] = ["libc.so", "libstdc++.so", "libgcc_s.so"];

/// Names the place of a crash: its innermost frame. The caller stands for it where that says more: a call
/// through a bad pointer, a leaf of the C library that was handed one, and the way an abort takes through it.
#[must_use]
pub fn crash_site(stack: &[Frame]) -> String {
    let machinery = |frame: &Frame| {
        let base = frame.module.rsplit('/').next().unwrap_or("");
        ABORT_MACHINERY.iter().any(|library| base.starts_with(library))
    };
    let aborts = stack.iter().take(8).any(|frame| {
        frame
            .function
            .as_deref()
            .is_some_and(|name| ["abort", "raise", "gsignal", "__assert_fail"].contains(&name))
    });
    // The library's own assertions are its own decision.
    if let Some(asserts) = stack.iter().rposition(|frame| frame.function.as_deref() == Some("__assert_fail"))
    {
        return stack.get(asserts + 1).map_or_else(|| "unknown".to_owned(), name_place);
    }
    let known = stack.iter().position(|frame| !frame.module.is_empty()).unwrap_or(0);
    let outside = stack.iter().position(|frame| !frame.module.is_empty() && !machinery(frame));
    let place = match outside {
        Some(outside) if aborts || outside == known + 1 => outside,
        _ => known,
    };
    stack.get(place).map_or_else(|| "unknown".to_owned(), name_place)
}

fn name_place(frame: &Frame) -> String {
    let base = frame.module.rsplit('/').next().unwrap_or("");
    match &frame.function {
        Some(function) => format!("{base} {function} +{:#x}", frame.offset),
        None => format!("{base} +{:#x}", frame.offset),
    }
}

/// What findings are made from.
pub struct Material<'a> {
    /// What the user asked for.
    pub options: &'a Options,
    /// The reference run's census.
    pub census: &'a Census,
    /// All outcomes.
    pub outcomes: &'a Outcomes,
    /// Which are confirmed.
    pub confirmations: &'a Confirmations,
    /// What reruns left behind.
    pub evidence: &'a Evidences,
    /// Whether stdin was not empty, and kept in the output folder.
    pub stdin: Option<&'a str>,
}

/// Findings that do not pass the policy, and what did not confirm.
pub struct Grouped {
    /// Worst first, each with the allocation whose evidence it shows.
    pub findings: Vec<(Finding, Planned)>,
    /// The same for what only snapshots showed.
    pub unconfirmed: Vec<Finding>,
}

/// What one finding stands for: verdict and grade, and the crash site or else the site.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(Verdict, Option<Grade>, String);

/// Groups all outcomes that do not pass.
pub fn group(material: &Material<'_>, symbolizer: &mut Symbolizer) -> Grouped {
    let policy = material.options.policy;
    let mut by_site: BTreeMap<_, Vec<(&Planned, &Outcome)>> = BTreeMap::new();
    for (planned, outcome) in material.outcomes {
        if !policy.passes(outcome.verdict) {
            by_site.entry(group_of(planned, outcome)).or_default().push((planned, outcome));
        }
    }
    let mut merged: BTreeMap<Key, Vec<(&Planned, &Outcome)>> = BTreeMap::new();
    let mut unconfirmed = Vec::new();
    for ((_, verdict, grade), members) in by_site {
        let first = members[0];
        if !material.confirmations.has(first.0, first.1) {
            unconfirmed.push(finding(material, &members, false, symbolizer));
            continue;
        }
        let crash = members.iter().find_map(|(planned, _)| material.evidence.get(planned)?.crash.as_ref());
        let place = match crash {
            Some(crash) => format!("at {}", crash.crash_site),
            None => format!("of {:016x}", first.0.site),
        };
        merged.entry(Key(verdict, grade, place)).or_default().extend(members);
    }
    for (planned, outcome) in material.outcomes {
        if let Some(shown) = outcome.instead_of.filter(|verdict| !policy.passes(*verdict)) {
            unconfirmed.push(diverged(material, planned, outcome, shown, symbolizer));
        }
    }
    let mut findings: Vec<(Finding, Planned)> = merged
        .into_values()
        .map(|mut members| {
            members.sort_by_key(|(planned, _)| planned.ordinal);
            // The first that a rerun has looked at: its evidence is the finding's.
            if let Some(looked_at) =
                members.iter().position(|(planned, _)| material.evidence.contains_key(planned))
            {
                let looked_at = members.remove(looked_at);
                members.insert(0, looked_at);
            }
            let representative = *members[0].0;
            (finding(material, &members, true, symbolizer), representative)
        })
        .collect();
    findings.sort_by_key(|(finding, planned)| (finding.verdict, finding.grade, planned.ordinal));
    Grouped { findings, unconfirmed }
}

/// What a snapshot showed and the rerun in its place did not.
fn diverged(
    material: &Material<'_>,
    planned: &Planned,
    outcome: &Outcome,
    shown: Verdict,
    symbolizer: &mut Symbolizer,
) -> Finding {
    let mut finding = finding(material, &[(planned, outcome)], false, symbolizer);
    finding.note =
        Some(format!("a snapshot showed {}, a plain rerun {}", shown.word(), outcome.verdict.word()));
    finding.verdict = shown;
    finding
}

fn finding(
    material: &Material<'_>,
    members: &[(&Planned, &Outcome)],
    confirmed: bool,
    symbolizer: &mut Symbolizer,
) -> Finding {
    let (planned, outcome) = members[0];
    let evidence = material.evidence.get(planned);
    let mut seen = std::collections::HashSet::new();
    let firsts = members.iter().filter(|(planned, _)| seen.insert(planned.site));
    let site = material.census.site(planned.site);
    Finding {
        verdict: outcome.verdict,
        grade: outcome.grade,
        site: material.census.id(planned.site),
        nth: planned.nth,
        injections: members.len() as u64,
        sites: firsts.map(|(p, _)| format!("{}:{}", material.census.id(p.site), p.nth)).collect(),
        confirmed,
        end: outcome.end,
        stack: site.map(|site| material.census.stack(site, symbolizer)).unwrap_or_default(),
        crash: evidence.and_then(|evidence| evidence.crash.clone()),
        difference: evidence.and_then(|evidence| evidence.judgement.difference.clone()),
        note: evidence.and_then(|evidence| evidence.judgement.note.clone()),
        folder: None,
        repro: repro(material, planned),
    }
}

/// The command that makes this one injection again, with what bears on its verdict.
fn repro(material: &Material<'_>, planned: &Planned) -> String {
    let options = material.options;
    let mut words = vec!["memtrial".to_owned(), "oom".to_owned()];
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if options.fault.is_anchored() {
        flag("--at", format!("{}:{}", material.census.id(planned.site), planned.nth));
    } else {
        options.only.iter().for_each(|glob| flag("--only", glob.clone()));
        options.skip.iter().for_each(|glob| flag("--skip", glob.clone()));
    }
    if options.fault != Fault::Once {
        flag("--fault", options.fault.to_string());
    }
    if options.policy != memtrial_report::model::Policy::Graceful {
        flag("--policy", options.policy.word().to_owned());
    }
    if !options.expect_exit.is_empty() {
        let list: Vec<String> = options.expect_exit.iter().map(ToString::to_string).collect();
        flag("--expect-exit", list.join(","));
    }
    if let Some(pattern) = &options.expect_stderr {
        flag("--expect-stderr", pattern.clone());
    }
    if let Some(command) = &options.check {
        flag("--check", command.clone());
    }
    if let Some(timeout) = options.timeout {
        flag("--timeout", timeout.as_secs_f64().to_string());
    }
    options.follow.iter().for_each(|glob| flag("--follow", glob.clone()));
    words.push("--".to_owned());
    words.extend(options.command.iter().cloned());
    let words = words.iter().map(String::as_str);
    let mut command = shlex::try_join(words).unwrap_or_else(|_| options.command.join(" "));
    if let Some(stdin) = material.stdin {
        command.push_str(" < ");
        command.push_str(&shlex::try_quote(stdin).map_or_else(|_| stdin.to_owned(), Into::into));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: Option<&str>, offset: u64) -> Frame {
        Frame {
            module: module.to_owned(),
            offset,
            function: function.map(str::to_owned),
            function_offset: None,
            file: None,
            line: None,
            inlined: false,
        }
    }

    const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

    #[test]
    fn a_crash_is_named_by_its_innermost_frame() {
        let stack = [frame("/bin/p", Some("parse"), 0x10), frame("/bin/p", Some("main"), 0x20)];
        assert_eq!(crash_site(&stack), "p parse +0x10");
    }

    #[test]
    fn a_leaf_of_libc_is_named_by_who_called_it_and_a_fault_inside_libc_by_itself() {
        let leaf = [frame(LIBC, None, 1), frame("/bin/p", Some("copy"), 2)];
        assert_eq!(crash_site(&leaf), "p copy +0x2");
        let inside =
            [frame(LIBC, None, 1), frame(LIBC, Some("getpwnam"), 2), frame("/bin/p", Some("main"), 3)];
        assert_eq!(crash_site(&inside), "libc.so.6 +0x1");
    }

    #[test]
    fn an_abort_is_named_by_who_decided_it() {
        let stack = [
            frame(LIBC, None, 1),
            frame(LIBC, Some("gsignal"), 2),
            frame(LIBC, Some("abort"), 3),
            frame("/bin/p", Some("no_memory"), 4),
        ];
        assert_eq!(crash_site(&stack), "p no_memory +0x4");
    }

    #[test]
    fn an_assertion_of_libc_is_named_by_itself() {
        let stack = [
            frame(LIBC, Some("abort"), 1),
            frame(LIBC, Some("__assert_fail"), 2),
            frame(LIBC, Some("nss_database_reload"), 3),
            frame("/bin/p", Some("main"), 4),
        ];
        assert_eq!(crash_site(&stack), "libc.so.6 nss_database_reload +0x3");
    }

    #[test]
    fn a_call_through_a_null_pointer_is_named_by_the_caller() {
        let stack = [frame("", None, 0), frame("/bin/p", Some("dispatch"), 5)];
        assert_eq!(crash_site(&stack), "p dispatch +0x5");
    }
}

//! What a trial has come to: the verdict, its sentence, and the findings.

use memtrial_report::leak::{
    Certainty, Comparison, Finding, FindingKind, Located, LocatedSite, Measure, Process, Role, Survival,
    Verdict,
};
use memtrial_report::wording::{bytes, growth, plural};

use super::options::Options;

/// What the processes, and their blocks, come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// The worst of the target's processes.
    pub verdict: Verdict,
    /// For a leak.
    pub certainty: Option<Certainty>,
    /// All of it in one sentence.
    pub sentence: String,
    /// What does not pass, worst first.
    pub findings: Vec<Finding>,
}

/// Draws the conclusion. `repro` is the command that makes the trial again.
#[must_use]
pub fn conclude(
    options: &Options,
    processes: &[Process],
    located: &[Located],
    comparisons: &[(Comparison, bool)],
    repro: &str,
) -> Conclusion {
    let mut findings = deaths(processes, repro);
    findings.extend(sites(options, located, repro));
    let blocks_say: Vec<i32> = findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Site)
        .map(|finding| finding.pid)
        .collect();
    findings.extend(growths(processes, &blocks_say, located, repro));
    findings.extend(comparisons.iter().filter(|(_, grew)| *grew).map(|(comparison, _)| Finding {
        kind: FindingKind::Growth,
        certainty: Certainty::Suspected,
        pid: 0,
        name: comparison.name.clone(),
        sentence: comparison.sentence.clone(),
        site: None,
        slope: Some(comparison.slopes[1] - comparison.slopes[0]),
        stack: Vec::new(),
        repro: repro.to_owned(),
    }));
    findings.sort_by_key(|finding| (finding.kind, std::cmp::Reverse(finding.certainty)));
    let leaks = findings.iter().filter(|finding| finding.kind != FindingKind::Died);
    let certainty = leaks.map(|finding| finding.certainty).max();
    let verdict = if certainty.is_some() { Verdict::Leak } else { verdict_of(processes) };
    let sentence = sentence(options, verdict, processes, &findings);
    Conclusion { verdict, certainty, sentence, findings }
}

/// The worst verdict of the target's processes: of their private memory, which is their own.
fn verdict_of(processes: &[Process]) -> Verdict {
    let verdicts = processes.iter().filter(|process| process.role == Role::Target).filter_map(private);
    verdicts.map(|judgement| judgement.verdict).min().unwrap_or(Verdict::Inconclusive)
}

fn private(process: &Process) -> Option<&memtrial_report::leak::Judgement> {
    process.judgements.iter().find(|judgement| judgement.measure == Measure::Private)
}

fn deaths(processes: &[Process], repro: &str) -> Vec<Finding> {
    let died = processes.iter().filter(|process| process.died);
    let finding = |process: &Process| Finding {
        kind: FindingKind::Died,
        certainty: Certainty::Confirmed,
        pid: process.pid,
        name: process.name.clone(),
        sentence: format!(
            "{} (pid {}) {}",
            process.name,
            process.pid,
            process.fate.as_deref().unwrap_or("ended")
        ),
        site: None,
        slope: None,
        stack: Vec::new(),
        repro: repro.to_owned(),
    };
    died.map(finding).collect()
}

/// Whether what a site loses is more than is tolerated.
fn counts(options: &Options, site: &LocatedSite) -> bool {
    let leaks = matches!(site.survival, Survival::Leaking | Survival::Lost);
    leaks
        && options.tolerate.is_none_or(|most| site.bytes as f64 / f64::from(site.rounds.max(1)) > most as f64)
}

fn sites(options: &Options, located: &[Located], repro: &str) -> Vec<Finding> {
    let all = located.iter().flat_map(|located| located.sites.iter().map(move |site| (located, site)));
    let finding = |(located, site): (&Located, &LocatedSite)| Finding {
        kind: FindingKind::Site,
        certainty: Certainty::Confirmed,
        pid: located.pid,
        name: located.name.clone(),
        sentence: blocks_in_words(site),
        site: Some(site.site.clone()),
        slope: Some(site.bytes as f64 / f64::from(site.rounds.max(1))),
        stack: site.stack.clone(),
        repro: repro.to_owned(),
    };
    all.filter(|(_, site)| counts(options, site)).map(finding).collect()
}

/// "2 blocks (1.0 KiB) in every one of 61 rounds", or the like.
#[must_use]
pub fn blocks_in_words(site: &LocatedSite) -> String {
    let full: Vec<u64> = site.by_round.iter().copied().filter(|count| *count > 0).collect();
    let same = full.first().filter(|first| full.iter().all(|count| count == *first));
    let lost = match site.unreachable {
        Some(count) if count > 0 && count == site.blocks => ", all unreachable".to_owned(),
        Some(count) if count > 0 => format!(", {count} of them unreachable"),
        _ => String::new(),
    };
    match same {
        Some(&each) if site.rounds_with == site.rounds => {
            let size = bytes(site.bytes / u64::from(site.rounds.max(1)));
            format!("{} ({size}) in every one of {} rounds{lost}", plural(each, "block"), site.rounds)
        }
        _ => format!(
            "{} ({}) in {} of {} rounds{lost}",
            plural(site.blocks, "block"),
            bytes(site.bytes),
            site.rounds_with,
            site.rounds
        ),
    }
}

/// Growth that the figures show; of a process whose sites are findings it is said there.
fn growths(processes: &[Process], blocks_say: &[i32], located: &[Located], repro: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for process in processes.iter().filter(|process| process.role == Role::Target) {
        let Some(judgement) = private(process) else { continue };
        if judgement.verdict != Verdict::Leak || blocks_say.contains(&process.pid) {
            continue;
        }
        let looked = located.iter().find(|located| located.pid == process.pid);
        let beyond = looked.and_then(|located| located.fragmentation);
        let explained = match (looked, beyond) {
            (Some(_), Some(beyond))
                if beyond.held() * 2 > beyond.private_growth && beyond.held() > 1 << 16 =>
            {
                format!(
                    "; no call stack piles up, and the allocator holds {} more than the blocks that live: fragmentation, \
                 or memory taken past the allocator",
                    bytes(beyond.held().unsigned_abs())
                )
            }
            (Some(_), _) => {
                "; no call stack of the allocator's piles up: memory taken past it, as by mmap".to_owned()
            }
            (None, _) => String::new(),
        };
        let span = judgement
            .interval
            .map(|[low, high]| format!(" (90 % interval {} to {})", growth(low), growth(high)));
        findings.push(Finding {
            kind: FindingKind::Growth,
            certainty: judgement.certainty.unwrap_or(Certainty::Suspected),
            pid: process.pid,
            name: process.name.clone(),
            sentence: format!(
                "the private memory of {} (pid {}) grows by {} a round{}{explained}",
                process.name,
                process.pid,
                growth(judgement.slope),
                span.unwrap_or_default()
            ),
            site: None,
            slope: Some(judgement.slope),
            stack: Vec::new(),
            repro: repro.to_owned(),
        });
    }
    findings
}

fn sentence(options: &Options, verdict: Verdict, processes: &[Process], findings: &[Finding]) -> String {
    let worst = processes
        .iter()
        .filter(|process| process.role == Role::Target)
        .filter_map(|process| Some((process, private(process)?)))
        .min_by_key(|(_, judgement)| judgement.verdict);
    let first = findings.iter().find(|finding| finding.kind != FindingKind::Died);
    match (verdict, first, worst) {
        (Verdict::Leak, Some(finding), _) if finding.kind == FindingKind::Site => {
            let sites = findings.iter().filter(|finding| finding.kind == FindingKind::Site).count();
            let place = if sites == 1 { "one call stack" } else { "several call stacks" };
            format!("{} leaks at {place}: {}", finding.name, finding.sentence)
        }
        (Verdict::Leak, Some(finding), _) => finding.sentence.clone(),
        (Verdict::Clean, _, Some((process, judgement))) => {
            let [low, high] = judgement.interval.unwrap_or([judgement.slope; 2]);
            format!(
                "{} does not grow: {} to {} a round over {} (up to {} passes)",
                process.name,
                growth(low),
                growth(high),
                plural(judgement.rounds.into(), "round"),
                bytes(options.tolerated())
            )
        }
        (_, _, Some((process, judgement))) => {
            let why = judgement.reason.map_or("the looks do not agree", |reason| reason.text());
            let seen = judgement.detectable.map(|least| {
                format!("; so many rounds would have shown a growth of {} a round", growth(least))
            });
            format!(
                "whether {} grows can't be told from {}: {why}{}",
                process.name,
                plural(judgement.rounds.into(), "round"),
                seen.unwrap_or_default()
            )
        }
        _ => "no process of the target lived for long enough to say anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(by_round: &[u64], bytes: u64, unreachable: Option<u64>) -> LocatedSite {
        LocatedSite {
            site: "00000001".to_owned(),
            survival: Survival::Leaking,
            blocks: by_round.iter().sum(),
            bytes,
            rounds_with: by_round.iter().filter(|count| **count > 0).count() as u32,
            rounds: by_round.len() as u32,
            by_round: by_round.to_vec(),
            unreachable,
            addresses: [16, 32],
            stack: Vec::new(),
        }
    }

    #[test]
    fn blocks_of_every_round_are_told_by_the_round_and_others_in_all() {
        let each = blocks_in_words(&site(&[2, 2, 2], 96, Some(6)));
        assert_eq!(each, "2 blocks (32 B) in every one of 3 rounds, all unreachable");
        let some = blocks_in_words(&site(&[1, 0, 3], 64, Some(1)));
        assert_eq!(some, "4 blocks (64 B) in 2 of 3 rounds, 1 of them unreachable");
        assert_eq!(blocks_in_words(&site(&[0, 1], 8, None)), "1 block (8 B) in 1 of 2 rounds");
    }
}

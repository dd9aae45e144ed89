//! What a trial has come to: verdict, findings, and what limits its meaning.

use memtrial_report::stress::{
    Finding, FindingKind, Limit, LimitKind, Loaded, Overwrite, Relation, Suspect, Verdict,
};
use memtrial_report::wording::{bytes, command_line, duration, grouped, plural};

use super::options::{Options, Subject};

/// How a program ends that is done.
const BY_ITSELF: &str = "ended with status 0";

/// What all that was loaded comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// The worst of all.
    pub verdict: Verdict,
    /// All of it in one sentence.
    pub sentence: String,
    /// What does not pass, worst first.
    pub findings: Vec<Finding>,
}

/// Draws the conclusion. `inconclusive` says why the load was not what was asked for, if so.
#[must_use]
pub fn conclude(options: &Options, loaded: &[Loaded], inconclusive: Option<&str>) -> Conclusion {
    let repro = again(options);
    let mut findings: Vec<Finding> = loaded.iter().flat_map(|one| of_one(one, &repro)).collect();
    findings.sort_by_key(|finding| (finding.kind, std::cmp::Reverse(finding.count)));
    let verdict = match findings.first() {
        Some(finding) => match finding.kind {
            FindingKind::Died => Verdict::Died,
            FindingKind::Overwritten => Verdict::Overwritten,
            FindingKind::Unanswered => Verdict::Unanswered,
        },
        None if inconclusive.is_some() || loaded.is_empty() => Verdict::Inconclusive,
        None => Verdict::Held,
    };
    let sentence = match (findings.first(), inconclusive) {
        (Some(finding), _) => finding.message.clone(),
        (None, Some(why)) => format!("nothing is shown: {why}"),
        (None, None) if matches!(options.subject, Subject::Allocators(_)) => compared(loaded),
        (None, None) => held(loaded),
    };
    Conclusion { verdict, sentence, findings }
}

/// "server (pid 12) held under 60,000 allocations (1.0 GiB) in 60.0 s".
fn held(loaded: &[Loaded]) -> String {
    let one = |one: &Loaded| {
        format!(
            "{} (pid {}) held under {} ({}) in {}",
            one.name,
            one.pid,
            plural(one.allocations, "allocation"),
            bytes(one.allocated),
            duration(one.seconds)
        )
    };
    loaded.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Which allocator is the fastest, and which takes the least memory.
fn compared(loaded: &[Loaded]) -> String {
    let fastest = loaded.iter().max_by(|a, b| a.rate().total_cmp(&b.rate()));
    let smallest = loaded.iter().min_by_key(|one| one.peak.resident);
    match (fastest, smallest) {
        (Some(fastest), Some(smallest)) if loaded.len() > 1 => format!(
            "{} was the fastest with {} allocations/s, {} took the least memory with {} at its peak",
            fastest.name,
            grouped(fastest.rate() as u64),
            smallest.name,
            bytes(smallest.peak.resident)
        ),
        _ => held(loaded),
    }
}

fn of_one(loaded: &Loaded, repro: &str) -> Vec<Finding> {
    let name = format!("{} (pid {})", loaded.name, loaded.pid);
    let finding = |kind, message, count| Finding {
        kind,
        message,
        count,
        pid: loaded.pid,
        stack: Vec::new(),
        example: None,
        repro: repro.to_owned(),
    };
    let mut findings = Vec::new();
    if let Some(end) = loaded.end.as_ref().filter(|end| end.how != BY_ITSELF) {
        let message = format!("{name} {} after {} under load", end.how, duration(end.seconds));
        findings.push(finding(FindingKind::Died, message, 1));
    }
    for group in groups(&loaded.overwritten) {
        let message = overwritten(&name, &group, loaded);
        let stack = group.suspect().map(|suspect| suspect.stack.clone()).unwrap_or_default();
        let plain = finding(FindingKind::Overwritten, message, group.chunks.len() as u64);
        findings.push(Finding { stack, example: group.chunks.first().map(|(place, _)| *place), ..plain });
    }
    if loaded.overwritten.is_empty() && loaded.overwritten_count > 0 {
        let message = format!("in {name} {} overwritten", were(loaded.overwritten_count));
        findings.push(finding(FindingKind::Overwritten, message, loaded.overwritten_count));
    }
    if let Some(probe) = &loaded.probe
        && probe.failed > 0
    {
        let first = probe.failures.first();
        let how = first.map_or_else(String::new, |failure| {
            format!(": the first time it {}, after {}", failure.how, duration(failure.seconds))
        });
        let times = if probe.failed == 1 { "once".to_owned() } else { plural(probe.failed, "time") };
        let message = format!(
            "{name} did not answer: under load the probe failed {times} of {}{how}",
            grouped(probe.failed.saturating_add(probe.loaded.runs))
        );
        findings.push(finding(FindingKind::Unanswered, message, probe.failed));
    }
    findings
}

fn were(chunks: u64) -> String {
    format!("{} {}", plural(chunks, "chunk"), if chunks == 1 { "was" } else { "were" })
}

/// Chunks that were overwritten in the same way, each with its place among all.
struct Group<'a> {
    /// The site that all of them, or all that have suspects, are laid to.
    site: Option<&'a str>,
    chunks: Vec<(usize, &'a Overwrite)>,
}

impl<'a> Group<'a> {
    /// The block to look at first.
    fn suspect(&self) -> Option<&'a Suspect> {
        let site = self.site?;
        self.chunks.iter().flat_map(|(_, chunk)| &chunk.suspects).find(|suspect| suspect.site == site)
    }

    /// How many chunks the blocks of the site lie to in this way.
    fn related(&self, relation: Relation) -> usize {
        let by = |suspect: &Suspect| suspect.relation == relation && Some(&*suspect.site) == self.site;
        self.chunks.iter().filter(|(_, chunk)| chunk.suspects.iter().any(by)).count()
    }
}

/// Chunks by the site that most of them may be laid to, then by the one that most of the rest may, and so on. Those without
/// a suspect belong to the group whose chunks have the same bytes at the same offset. The largest group comes first.
fn groups(all: &[Overwrite]) -> Vec<Group<'_>> {
    let mut rest: Vec<(usize, &Overwrite)> = all.iter().enumerate().collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    while let Some(site) = commonest_site(&rest) {
        let (chunks, others) = rest.into_iter().partition(|(_, chunk)| may_be_laid_to(chunk, site));
        groups.push(Group { site: Some(site), chunks });
        rest = others;
    }
    for (place, chunk) in rest {
        let alike = |group: &&mut Group<'_>| {
            group.chunks.iter().any(|(_, other)| (other.offset, &other.found) == (chunk.offset, &chunk.found))
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.chunks.push((place, chunk)),
            None => groups.push(Group { site: None, chunks: vec![(place, chunk)] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.chunks.len()));
    groups
}

fn may_be_laid_to(chunk: &Overwrite, site: &str) -> bool {
    chunk.suspects.iter().any(|suspect| suspect.site == site)
}

/// The site that blocks beside most of these chunks are from; of several the one that comes first.
fn commonest_site<'a>(chunks: &[(usize, &'a Overwrite)]) -> Option<&'a str> {
    let sites = chunks.iter().flat_map(|(_, chunk)| &chunk.suspects).map(|suspect| suspect.site.as_str());
    let common = |site: &str| chunks.iter().filter(|(_, chunk)| may_be_laid_to(chunk, site)).count();
    sites.rev().max_by_key(|site| common(site))
}

/// A group of the chunks that were overwritten in a process, in a sentence.
fn overwritten(name: &str, group: &Group<'_>, loaded: &Loaded) -> String {
    let Some((_, first)) = group.chunks.first() else { return String::new() };
    let (here, told, all) =
        (group.chunks.len() as u64, loaded.overwritten.len() as u64, loaded.overwritten_count);
    let these = if all > told {
        let which =
            if here == told { format!("the first {told}") } else { format!("{here} of the first {told}") };
        format!("{} overwritten, {which} in this way", were(all))
    } else {
        format!("{} overwritten", were(here))
    };
    let what = format!(
        "in {name} {these}: {} from offset {} of {}",
        plural(first.length, "byte"),
        first.offset,
        bytes(first.size)
    );
    let Some(suspect) = group.suspect() else { return format!("{what}, found {}", first.found) };
    let block = format!("{} from site {}", bytes(suspect.size), suspect.site);
    if group.related(Relation::Before) >= group.related(Relation::Freed) {
        format!("{what}, perhaps past the end of the block before, of {block}")
    } else {
        format!("{what}, perhaps through a pointer to a freed block, of {block}")
    }
}

/// The command that makes the trial again, with the same seed.
#[must_use]
pub fn again(options: &Options) -> String {
    let mut command = options.command.clone();
    let own = command.iter().position(|word| word == "--").unwrap_or(command.len());
    let seeded = command[..own].iter().any(|word| word == "--seed" || word.starts_with("--seed="));
    if !seeded {
        let behind = command.iter().position(|word| word == "stress").map_or(own, |at| at + 1);
        command.splice(behind..behind, ["--seed".to_owned(), options.seed.to_string()]);
    }
    command_line(&command)
}

/// The limit of a process, and how it took that. `met` and `killed` are the kernel's counts.
#[must_use]
pub fn limit(amount: u64, kind: LimitKind, met: Option<u64>, killed: u64, loaded: &Loaded) -> Limit {
    let times = met.unwrap_or(loaded.errors);
    let failed = loaded.probe.as_ref().is_some_and(|probe| probe.failed > 0);
    let sentence = match &loaded.end {
        Some(end) => format!("{} {}", loaded.name, end.how),
        None if times == 0 => "the limit was never met".to_owned(),
        None if killed > 0 => {
            let processes = if killed == 1 { "process" } else { "processes" };
            format!("the kernel killed {} {processes} beside {}", grouped(killed), loaded.name)
        }
        None if failed => format!("{} lived, but did not always answer", loaded.name),
        None if loaded.errors > 0 => {
            format!("{} lived while {} failed", loaded.name, plural(loaded.errors, "allocation"))
        }
        None => format!("{} lived: the kernel found memory to take back each time", loaded.name),
    };
    Limit { bytes: amount, kind, met: times, killed, sentence }
}

/// Why the load was not what was asked for, so that nothing is shown by it.
#[must_use]
pub fn no_load(loaded: &Loaded) -> Option<String> {
    if let Some(end) = loaded.end.as_ref().filter(|end| end.how == BY_ITSELF) {
        let after = duration(end.seconds);
        return Some(format!("{} {BY_ITSELF} after {after} of load, before it was over", loaded.name));
    }
    if loaded.end.is_some() && loaded.samples.is_empty() {
        Some(format!("{} ended before any figures were read", loaded.name))
    } else if loaded.allocations == 0 {
        Some(format!("no allocation was made in {}", loaded.name))
    } else if loaded.errors >= loaded.allocations {
        Some(format!("not one of {} succeeded in {}", plural(loaded.allocations, "allocation"), loaded.name))
    } else {
        None
    }
}

/// What limits the meaning of a load that may hold `max_total`, of which it held up to `held`.
#[must_use]
pub fn warnings(options: &Options, loaded: &Loaded, held: u64, max_total: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = &loaded.name;
    if let Some(rate) = options.rate
        && loaded.seconds >= 1.0
        && loaded.rate() < rate / 2.0
    {
        warnings.push(format!(
            "{name}: {:.0} allocations/s were made, of {rate:.0} that were asked for: more --threads may help",
            loaded.rate()
        ));
    }
    // What is allocated until the total is reached fills up evenly, whatever is resized on the way.
    let speed = loaded.allocated as f64 / loaded.seconds.max(1e-9);
    let failing = loaded.errors > 0;
    if loaded.end.is_none() && loaded.overflows == 0 && !failing && loaded.allocated > 0 {
        let needed = options.total as f64 / speed;
        warnings.push(format!(
            "{name}: a total of {} was never reached, which takes about {} at this rate: raise --rate or --for, or lower \
             --total",
            bytes(options.total),
            duration(needed)
        ));
    }
    if failing && options.limit.is_none() {
        let full = held.saturating_add(options.max) > max_total;
        let why = if full { ": the load held all that --max-total allows it" } else { "" };
        warnings.push(format!("{name}: {} failed{why}", plural(loaded.errors, "allocation")));
    }
    let shown = loaded.overwritten.len() as u64;
    if loaded.overwritten_count > shown && shown > 0 {
        warnings.push(format!(
            "{name}: {} were overwritten, of which the first {shown} are told",
            plural(loaded.overwritten_count, "chunk")
        ));
    }
    warnings
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;

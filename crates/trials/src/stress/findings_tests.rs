//! Tests of conclusions, from figures that are made up.

use memtrial_report::stress::{End, Probe, ProbeFailure, Suspect, Timing};

use super::*;
use crate::stress::testing::{loaded, options};

fn overwrite(offset: u64, found: &str, suspect: Option<(Relation, &str)>) -> Overwrite {
    let suspects = suspect.into_iter().map(|(relation, site)| Suspect {
        relation,
        address: "0x10".to_owned(),
        size: 24,
        site: site.to_owned(),
        stack: Vec::new(),
    });
    Overwrite {
        address: "0x28".to_owned(),
        size: 64,
        offset,
        length: 1,
        expected: "ff".to_owned(),
        found: found.to_owned(),
        test: Some(1),
        number: 7,
        stack: Vec::new(),
        suspects: suspects.collect(),
    }
}

fn probe(failed: u64) -> Probe {
    let failure =
        ProbeFailure { seconds: 2.5, how: "ended with status 1".to_owned(), printed: String::new() };
    let loaded = Timing { runs: 9, ..Timing::default() };
    let failures = vec![failure; usize::from(failed > 0)];
    Probe { command: "ask".to_owned(), unloaded: loaded, loaded, failures, failed }
}

#[test]
fn a_target_that_lives_and_answers_has_held() {
    let one = Loaded { probe: Some(probe(0)), ..loaded() };
    let conclusion = conclude(&options(), &[one], None);
    assert_eq!((conclusion.verdict, conclusion.findings.len()), (Verdict::Held, 0));
    assert_eq!(conclusion.sentence, "server (pid 12) held under 1,000 allocations (2.0 MiB) in 1.0 s");
}

#[test]
fn the_worst_finding_is_the_verdict() {
    let end = End { seconds: 3.25, how: "was ended by SIGSEGV".to_owned(), printed: String::new() };
    let mut one = Loaded {
        overwritten: vec![overwrite(0, "00", None)],
        overwritten_count: 1,
        probe: Some(probe(1)),
        end: Some(end),
        ..loaded()
    };
    let of = |one: &Loaded| conclude(&options(), std::slice::from_ref(one), None);
    assert_eq!(of(&one).findings.len(), 3);
    assert_eq!(of(&one).sentence, "server (pid 12) was ended by SIGSEGV after 3.2 s under load");
    one.end = None;
    assert_eq!(of(&one).verdict, Verdict::Overwritten);
    one.overwritten = Vec::new();
    assert_eq!(of(&one).findings[0].message, "in server (pid 12) 1 chunk was overwritten");
    one.overwritten_count = 0;
    let unanswered = of(&one);
    assert_eq!(unanswered.verdict, Verdict::Unanswered);
    let expected = "server (pid 12) did not answer: under load the probe failed once of 10: the first time it ended with \
                    status 1, after 2.5 s";
    assert_eq!(unanswered.sentence, expected);
}

#[test]
fn a_reason_to_doubt_the_load_counts_only_where_nothing_is_found() {
    let doubt = |one: Loaded| conclude(&options(), &[one], Some("the agent was lost")).verdict;
    assert_eq!(doubt(loaded()), Verdict::Inconclusive);
    assert_eq!(doubt(Loaded { overwritten_count: 1, ..loaded() }), Verdict::Overwritten);
    assert_eq!(conclude(&options(), &[], None).verdict, Verdict::Inconclusive);
}

#[test]
fn chunks_are_grouped_by_their_suspect_else_by_what_is_there() {
    let all = [
        overwrite(8, "00", None),
        overwrite(0, "41", Some((Relation::Before, "aaaa"))),
        overwrite(0, "00", None),
        overwrite(3, "42", Some((Relation::Before, "aaaa"))),
        overwrite(0, "41", Some((Relation::Freed, "aaaa"))),
        overwrite(0, "41", None),
        overwrite(8, "00", None),
    ];
    let places = |group: &Group<'_>| group.chunks.iter().map(|(place, _)| *place).collect::<Vec<_>>();
    let found: Vec<_> = groups(&all).iter().map(places).collect();
    assert_eq!(found, [vec![1, 3, 4, 5], vec![0, 6], vec![2]]);
    let one = Loaded { overwritten: all.to_vec(), overwritten_count: 7, ..loaded() };
    let findings = conclude(&options(), &[one], None).findings;
    let expected = "in server (pid 12) 4 chunks were overwritten: 1 byte from offset 0 of 64 B, perhaps past the end of the \
                    block before, of 24 B from site aaaa";
    assert_eq!((findings[0].message.as_str(), findings[0].count), (expected, 4));
    assert_eq!(findings[0].example, Some(1));
}

#[test]
fn chunks_with_several_suspects_are_laid_to_the_site_that_most_have() {
    let both = |first: &str, second: &str| Overwrite {
        suspects: [(Relation::Before, first), (Relation::Freed, second)]
            .into_iter()
            .flat_map(|suspect| overwrite(0, "41", Some(suspect)).suspects)
            .collect(),
        ..overwrite(0, "41", None)
    };
    let all = [both("bystander", "aaaa"), both("other", "aaaa"), both("aaaa", "bystander")];
    let groups = groups(&all);
    assert_eq!((groups.len(), groups[0].site), (1, Some("aaaa")));
    assert!(overwritten("it", &groups[0], &loaded()).contains("through a pointer to a freed block"));
}

#[test]
fn the_trial_is_made_again_with_its_seed() {
    let again = |words: &str| {
        let command = words.split(' ').map(str::to_owned).collect();
        again(&Options { command, seed: 5, ..options() })
    };
    assert_eq!(again("memtrial stress --pid 3"), "memtrial stress --seed 5 --pid 3");
    assert_eq!(again("memtrial stress --seed=9 --pid 3"), "memtrial stress '--seed=9' --pid 3");
    assert_eq!(again("memtrial stress -- x --seed 1"), "memtrial stress --seed 5 -- x --seed 1");
}

#[test]
fn a_limit_is_told_by_how_it_was_taken() {
    let of = |met, killed, one: &Loaded| limit(1 << 20, LimitKind::CgroupV1, met, killed, one).sentence;
    let failing = Loaded { errors: 3, ..loaded() };
    assert_eq!(of(Some(0), 0, &loaded()), "the limit was never met");
    assert_eq!(of(None, 0, &failing), "server lived while 3 allocations failed");
    assert_eq!(limit(1, LimitKind::AddressSpace, None, 0, &failing).met, 3);
    assert_eq!(of(Some(5), 2, &loaded()), "the kernel killed 2 processes beside server");
    assert_eq!(of(Some(5), 0, &loaded()), "server lived: the kernel found memory to take back each time");
    assert_eq!(
        of(Some(5), 0, &Loaded { probe: Some(probe(1)), ..loaded() }),
        "server lived, but did not always answer"
    );
}

#[test]
fn a_load_that_allocates_nothing_shows_nothing() {
    assert_eq!(no_load(&loaded()), None);
    assert!(no_load(&Loaded { allocations: 0, ..loaded() }).is_some());
    assert!(
        no_load(&Loaded { errors: 1000, ..loaded() }).is_some_and(|why| why.starts_with("not one of 1,000"))
    );
}

#[test]
fn a_program_that_was_done_before_the_load_was_shows_nothing() {
    let end = End { seconds: 0.5, how: "ended with status 0".to_owned(), printed: String::new() };
    let one = Loaded { end: Some(end), ..loaded() };
    let doubt = no_load(&one);
    assert_eq!(doubt.as_deref(), Some("server ended with status 0 after 0.5 s of load, before it was over"));
    let conclusion = conclude(&options(), &[one], doubt.as_deref());
    assert_eq!((conclusion.verdict, conclusion.findings.len()), (Verdict::Inconclusive, 0));
}

#[test]
fn what_the_load_fell_short_of_is_said() {
    let told = |options: &Options, one: &Loaded| warnings(options, one, 1 << 20, 1 << 20).join("\n");
    assert_eq!(told(&options(), &loaded()), "");
    let slow = told(&Options { rate: Some(4000.0), ..options() }, &loaded());
    assert!(slow.contains("1000 allocations/s were made, of 4000"), "{slow}");
    let short = told(&Options { total: 240 << 20, ..options() }, &Loaded { overflows: 0, ..loaded() });
    assert!(short.contains("240.0 MiB was never reached, which takes about 2 min"), "{short}");
    let full = told(&options(), &Loaded { errors: 2, ..loaded() });
    assert!(full.contains("2 allocations failed: the load held all that --max-total"), "{full}");
    assert_eq!(told(&Options { limit: Some(1), ..options() }, &Loaded { errors: 2, ..loaded() }), "");
}

#[test]
fn allocators_are_compared_by_speed_and_memory() {
    let mut fast = Loaded { name: "mimalloc".to_owned(), allocations: 9000, ..loaded() };
    fast.peak.resident = 4 << 20;
    let mut small = Loaded { name: "glibc".to_owned(), ..loaded() };
    small.peak.resident = 2 << 20;
    let names = Subject::Allocators(vec!["mimalloc".to_owned(), "glibc".to_owned()]);
    let conclusion = conclude(&Options { subject: names, ..options() }, &[fast, small], None);
    let expected = "mimalloc was the fastest with 9,000 allocations/s, glibc took the least memory with 2.0 MiB at its peak";
    assert_eq!((conclusion.verdict, conclusion.sentence.as_str()), (Verdict::Held, expected));
}

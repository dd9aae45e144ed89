//! How often the statistics of `memtrial leak` are right, on simulated programs with and without a leak.
//!
//! The rates of many series are printed, as the tables that the documentation has, by
//! `cargo test --release -p memtrial-trials --test leak_rates -- --ignored --nocapture --test-threads 1`.

mod resident;
mod survivors;

use std::collections::BTreeMap;
use std::thread;

use memtrial_report::leak::{Measure, Reason, Survival, Verdict};
use memtrial_trials::leak::blocks;
use memtrial_trials::leak::looks::Sequence;
use memtrial_trials::leak::series::{self, Rules};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Rounds allowed.
const ROUNDS: [u32; 4] = [90, 120, 480, 960];
/// Rounds of single looks.
const SINGLE: [usize; 5] = [30, 60, 120, 240, 480];

fn seeded(class: usize, series: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(((class as u64) << 32) + series as u64)
}

/// Verdicts counted.
#[derive(Default)]
struct Counts {
    leak: usize,
    clean: usize,
    inconclusive: usize,
    reasons: BTreeMap<&'static str, usize>,
    rounds: u64,
    /// Intervals with the true slope in them, and below and above it.
    covers: usize,
    below: usize,
    above: usize,
    intervals: usize,
}

impl Counts {
    fn add(&mut self, verdict: Verdict, reason: Option<Reason>, rounds: u32) {
        match verdict {
            Verdict::Leak => self.leak += 1,
            Verdict::Clean => self.clean += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
        }
        if let Some(reason) = reason {
            let word = match reason {
                Reason::Decelerating => "decelerating",
                Reason::Step => "step",
                Reason::Noise => "noise",
                Reason::TooFewRounds => "too few rounds",
                Reason::Ended => "ended",
            };
            *self.reasons.entry(word).or_default() += 1;
        }
        self.rounds += u64::from(rounds);
    }

    fn all(&self) -> usize {
        self.leak + self.clean + self.inconclusive
    }

    fn percent(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.all().max(1) as f64
    }

    fn cell(&self) -> String {
        let [leak, clean, unsure] =
            [self.leak, self.clean, self.inconclusive].map(|count| self.percent(count));
        format!("{leak:.1} / {clean:.1} / {unsure:.1}")
    }

    fn mean_rounds(&self) -> u64 {
        self.rounds / self.all().max(1) as u64
    }

    fn why(&self) -> String {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        reasons
            .iter()
            .map(|(reason, count)| format!("{reason} {:.0}", self.percent(**count)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What so many series of a class come to, in runs of at most so many rounds.
fn run(index: usize, class: &resident::Class, count: usize, allowed: u32) -> Counts {
    let mut counts = Counts::default();
    for i in 0..count {
        let series = class.series(&mut seeded(index, i), allowed as usize, 0.0);
        let mut sequence = Sequence::new(Measure::Private, Rules::default(), allowed);
        // All at once: the looks depend on the series alone.
        let judgement = sequence.take_in(&series).expect("all rounds are made");
        counts.add(judgement.verdict, judgement.reason, judgement.rounds);
    }
    counts
}

/// What one look after so many rounds comes to, and how often the interval holds the slope.
fn look(index: usize, class: &resident::Class, count: usize, rounds: usize) -> Counts {
    let mut counts = Counts::default();
    for i in 0..count {
        let series = class.series(&mut seeded(index, i), rounds, 0.0);
        let look = series::judge(&series, &Rules::default());
        counts.add(look.verdict, look.reason, rounds as u32);
        if let (Some(leaks), Some([low, high])) = (class.leaks, look.interval) {
            counts.intervals += 1;
            counts.covers += usize::from(low <= leaks && leaks <= high);
            counts.below += usize::from(high < leaks);
            counts.above += usize::from(low > leaks);
        }
    }
    counts
}

/// For each class what `each` makes of it, on all processors.
fn for_each<C: Sync, T: Send>(classes: &[C], each: impl Fn(usize, &C) -> T + Sync) -> Vec<T> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let each = &each;
        let work = |worker| {
            let mine = classes.iter().enumerate().skip(worker).step_by(workers);
            mine.map(|(index, class)| (index, each(index, class))).collect::<Vec<_>>()
        };
        let handles: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("a worker")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, value)| value).collect()
}

/// Asserts what must hold of so many series of a class.
fn hold_to(class: &resident::Class, counts: &Counts) {
    let name = class.name;
    if class.is_leak() {
        assert!(class.leaks < Some(4096.0) || counts.clean == 0, "{name}: {} are called clean", counts.clean);
        if name.ends_with("quiet") {
            assert_eq!(counts.leak, counts.all(), "{name}: some are not found");
        }
    } else if ["random walk", "noisy warm-up"].iter().any(|kind| name.starts_with(kind)) {
        assert!(100 * counts.leak <= counts.all(), "{name}: {} are called leaks", counts.leak);
    } else {
        assert_eq!(counts.leak, 0, "{name}: some are called leaks");
    }
}

#[test]
fn leaks_are_told_from_what_only_looks_like_one() {
    let classes = resident::classes();
    let counts = for_each(&classes, |index, class| run(index, class, 100, 480));
    for (class, counts) in classes.iter().zip(&counts) {
        hold_to(class, counts);
    }
}

#[test]
#[ignore = "slow: prints the rates of a thousand series of each class"]
fn rates_of_sequences() {
    let classes = resident::classes();
    let counts = for_each(&classes, |index, class| ROUNDS.map(|allowed| run(index, class, 1000, allowed)));
    let head = ROUNDS.map(|rounds| format!("{rounds} rounds allowed (mean)")).join(" | ");
    println!("| leak / clean / inconclusive, % | {head} | of {} inconclusive since |", ROUNDS[2]);
    println!("|---|{}---|", "---|".repeat(ROUNDS.len()));
    for (class, counts) in classes.iter().zip(&counts) {
        let cells = counts.each_ref().map(|c| format!("{} ({})", c.cell(), c.mean_rounds())).join(" | ");
        println!("| {} | {cells} | {} |", class.name, counts[2].why());
    }
    for (class, counts) in classes.iter().zip(&counts) {
        counts[2..].iter().for_each(|counts| hold_to(class, counts));
    }
}

#[test]
#[ignore = "slow: prints the rates of a thousand series of each class"]
fn rates_of_single_looks() {
    let classes = resident::classes();
    let counts = for_each(&classes, |index, class| SINGLE.map(|rounds| look(index, class, 1000, rounds)));
    println!("| one look, leak / clean / inconclusive, % | {} |", SINGLE.map(|n| n.to_string()).join(" | "));
    println!("|---|{}", "---|".repeat(SINGLE.len()));
    for (class, counts) in classes.iter().zip(&counts) {
        println!("| {} | {} |", class.name, counts.each_ref().map(Counts::cell).join(" | "));
    }
    println!(
        "\n| slope below / in / above the 90 % interval, % | {} |",
        SINGLE.map(|n| n.to_string()).join(" | ")
    );
    println!("|---|{}", "---|".repeat(SINGLE.len()));
    for (class, counts) in classes.iter().zip(&counts).filter(|(class, _)| class.leaks.is_some()) {
        let cell = |c: &Counts| {
            let [above, covers, below] = [c.above, c.covers, c.below].map(|count| c.percent(count));
            format!("{above:.1} / {covers:.1} / {below:.1}")
        };
        println!("| {} | {} |", class.name, counts.each_ref().map(cell).join(" | "));
    }
}

#[test]
#[ignore = "slow: prints the rates of a thousand series of each class"]
fn what_is_called_detectable_is_detected() {
    let classes: Vec<_> = resident::classes().into_iter().filter(|class| class.leaks == Some(0.0)).collect();
    println!(
        "| a leak of what was said to be detectable, % found | {} |",
        SINGLE.map(|n| n.to_string()).join(" | ")
    );
    println!("|---|{}", "---|".repeat(SINGLE.len()));
    let found = for_each(&classes, |index, class| {
        SINGLE.map(|rounds| {
            let mut said: Vec<f64> = (0..1000)
                .filter_map(|i| {
                    series::judge(&class.series(&mut seeded(index, i), rounds, 0.0), &Rules::default())
                        .detectable
                })
                .collect();
            said.sort_by(f64::total_cmp);
            let Some(&detectable) = said.get(said.len() / 2) else { return "-".to_string() };
            let found = (0..1000).filter(|i| {
                let series = class.series(&mut seeded(100 + index, *i), rounds, detectable);
                series::judge(&series, &Rules::default()).verdict == Verdict::Leak
            });
            format!("{:.1} ({:.0} B)", found.count() as f64 / 10.0, detectable)
        })
    });
    for (class, found) in classes.iter().zip(found) {
        println!("| {} | {} |", class.name, found.join(" | "));
    }
}

/// How many of so many simulated sites are called leaking.
fn leaking(index: usize, class: &survivors::Class, count: usize, rounds: usize) -> usize {
    let site = |i| blocks::judge(&(class.alive)(&mut seeded(index, i), rounds), 1);
    (0..count).filter(|&i| site(i) == Survival::Leaking).count()
}

#[test]
fn sites_that_leak_are_told_from_those_that_turn_over() {
    for (index, class) in survivors::classes().iter().enumerate() {
        let found = [61, 120, 240].map(|rounds| leaking(index, class, 200, rounds));
        match class.name {
            // Too few survivors for a verdict.
            name if name.contains("by chance") => assert!(found[2] >= 120, "{name}: {found:?} of 200"),
            name if name.contains("every tenth") => assert_eq!(found, [0, 200, 200], "{name}"),
            // They live for longer than a quarter of the shorter runs.
            name if name.starts_with("small cache") => {
                let short = if name.contains("100 rounds") { None } else { Some(found[1]) };
                assert!(short.is_none_or(|found| found <= 4), "{name}: {found:?} of 200");
            }
            name if name.contains("100 rounds") => assert_eq!(found[1..], [0, 0], "{name}"),
            // Nothing of it is freed.
            name if name.contains("filled once") => assert_eq!(found, [200, 200, 200], "{name}"),
            name if class.is_leak => {
                assert!(found.iter().all(|&found| found >= 196), "{name}: {found:?} of 200")
            }
            name => assert_eq!(found, [0, 0, 0], "{name}"),
        }
    }
}

#[test]
#[ignore = "slow: prints the rates of a thousand sites of each class"]
fn rates_of_sites() {
    let rounds = [20, 40, 61, 120, 240, 480, 600];
    println!("| called leaking, % | {} |", rounds.map(|n| n.to_string()).join(" | "));
    println!("|---|{}", "---|".repeat(rounds.len()));
    let classes = survivors::classes();
    let found = for_each(&classes, |index, class| rounds.map(|rounds| leaking(index, class, 1000, rounds)));
    for (class, found) in classes.iter().zip(found) {
        println!(
            "| {} | {} |",
            class.name,
            found.map(|found| format!("{:.1}", found as f64 / 10.0)).join(" | ")
        );
    }
}

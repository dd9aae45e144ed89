//! Progress on stderr, on a terminal only, and the journal of outcomes.

use std::collections::BTreeMap;
use std::io;

use indicatif::ProgressBar;
use memtrial_report::model::{Outcome, Policy, Verdict};
use memtrial_report::store::Store;
use memtrial_trials::oom::Progress;
use memtrial_trials::oom::trial::Phase;

use crate::bar;

/// Shows how a trial gets on, and keeps its outcomes.
pub struct Reporter<'a> {
    bar: ProgressBar,
    store: Option<&'a mut Store>,
    policy: Policy,
    bad: BTreeMap<Verdict, u64>,
}

impl Reporter<'_> {
    /// A reporter that keeps outcomes in `store`, if there is one.
    pub fn new(store: Option<&mut Store>, policy: Policy, quiet: bool) -> Reporter<'_> {
        Reporter { bar: bar::new(quiet), store, policy, bad: BTreeMap::new() }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Reporter<'_> {
    fn begin(&mut self, phase: Phase, injections: u64) {
        let name = match phase {
            Phase::Reference => "reference",
            Phase::Snapshots => "snapshots",
            Phase::Reruns => "reruns",
            Phase::Confirming => "confirming",
        };
        let template = "{prefix:>10} {wide_bar} {human_pos}/{human_len} {per_sec} ETA {eta} {msg}";
        bar::begin(&self.bar, template, name);
        self.bar.set_length(injections);
        self.bar.tick();
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        if !self.policy.passes(outcome.verdict) {
            *self.bad.entry(outcome.verdict).or_default() += 1;
            let counts: Vec<String> =
                self.bad.iter().map(|(verdict, count)| format!("{count} {}", verdict.word())).collect();
            self.bar.set_message(counts.join(", "));
        }
        match &mut self.store {
            Some(store) => store.append(outcome),
            None => Ok(()),
        }
    }

    fn step(&mut self) {
        self.bar.inc(1);
    }
}

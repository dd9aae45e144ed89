//! Nothing bad is reported from a snapshot alone: the first of each kind is made again by a plain rerun.

use std::collections::{BTreeMap, HashMap, HashSet};

use memtrial_report::model::{Grade, Outcome, Policy, Verdict};

use super::plan::Planned;

/// What is confirmed together: outcomes of one verdict at one site.
pub type Group = (u64, Verdict, Option<Grade>);

/// Most reruns made for a group whose first ones show something else.
const TRIES: usize = 3;

/// Outcomes by what was failed.
pub type Outcomes = BTreeMap<Planned, Outcome>;

/// Which outcomes are confirmed and which are still to be.
#[derive(Debug, Default)]
pub struct Confirmations {
    confirmed: HashSet<Group>,
    tries: HashMap<Group, usize>,
}

/// The group of an outcome.
#[must_use]
pub fn group_of(planned: &Planned, outcome: &Outcome) -> Group {
    (planned.site, outcome.verdict, outcome.grade)
}

impl Confirmations {
    /// The next outcomes to be made again: the first of each group that no plain run of this trial has shown.
    /// That a run which was interrupted had shown it does not count: its evidence went with it.
    #[must_use]
    pub fn next(&mut self, outcomes: &Outcomes, policy: Policy) -> Vec<Planned> {
        let mut chosen: HashSet<Group> = HashSet::new();
        let mut next = Vec::new();
        for (planned, outcome) in outcomes {
            let group = group_of(planned, outcome);
            let open = !policy.passes(outcome.verdict)
                && !self.confirmed.contains(&group)
                && self.tries.get(&group).copied().unwrap_or(0) < TRIES;
            if open && chosen.insert(group) {
                *self.tries.entry(group).or_default() += 1;
                next.push(*planned);
            }
        }
        next
    }

    /// Takes in what a rerun showed: it takes the place of what a snapshot had shown.
    pub fn take_in(&mut self, planned: Planned, rerun: Outcome, outcomes: &mut Outcomes) -> Outcome {
        let before = outcomes.get(&planned);
        let mut outcome = rerun;
        match before {
            Some(before) if before.verdict != outcome.verdict => outcome.instead_of = Some(before.verdict),
            // The grade may differ when stderr does: the rerun's counts, and the group is confirmed all the same.
            Some(before) => {
                self.confirmed.insert(group_of(&planned, before));
            }
            None => {}
        }
        self.confirmed.insert(group_of(&planned, &outcome));
        outcomes.insert(planned, outcome.clone());
        outcome
    }

    /// Notes that a plain run showed this.
    pub fn observed(&mut self, planned: &Planned, outcome: &Outcome) {
        self.confirmed.insert(group_of(planned, outcome));
    }

    /// Whether a plain rerun showed this verdict at this site.
    #[must_use]
    pub fn has(&self, planned: &Planned, outcome: &Outcome) -> bool {
        self.confirmed.contains(&group_of(planned, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrial_report::model::{End, Way};

    fn outcome(verdict: Verdict, way: Way) -> Outcome {
        Outcome {
            hash: String::new(),
            nth: 1,
            ordinal: 1,
            way,
            end: End::Exit(0),
            verdict,
            grade: None,
            instead_of: None,
        }
    }

    fn planned(ordinal: u64, site: u64) -> Planned {
        Planned { ordinal, site, nth: ordinal }
    }

    #[test]
    fn one_of_each_site_and_verdict_is_made_again() {
        let crashed = outcome(Verdict::Crashed, Way::Snapshot);
        let mut outcomes: Outcomes =
            [planned(1, 7), planned(2, 7), planned(3, 8)].map(|planned| (planned, crashed.clone())).into();
        outcomes.insert(planned(4, 9), outcome(Verdict::Handled, Way::Snapshot));
        let mut confirmations = Confirmations::default();
        assert_eq!(confirmations.next(&outcomes, Policy::Graceful), [planned(1, 7), planned(3, 8)]);
        for again in [planned(1, 7), planned(3, 8)] {
            confirmations.take_in(again, outcome(Verdict::Crashed, Way::Rerun), &mut outcomes);
        }
        assert!(confirmations.next(&outcomes, Policy::Graceful).is_empty());
        assert!(confirmations.has(&planned(2, 7), &crashed));
    }

    #[test]
    fn what_an_interrupted_run_had_confirmed_is_made_again() {
        let outcomes: Outcomes = [(planned(1, 7), outcome(Verdict::Crashed, Way::Rerun))].into();
        let mut confirmations = Confirmations::default();
        assert_eq!(confirmations.next(&outcomes, Policy::Graceful), [planned(1, 7)]);
        confirmations.observed(&planned(1, 7), &outcomes[&planned(1, 7)]);
        assert!(confirmations.next(&outcomes, Policy::Graceful).is_empty());
    }

    #[test]
    fn what_a_rerun_does_not_show_is_tried_again_and_then_left_unconfirmed() {
        let hung = outcome(Verdict::Hung, Way::Snapshot);
        let mut outcomes: Outcomes = (1..=9).map(|n| (planned(n, 7), hung.clone())).collect();
        let mut confirmations = Confirmations::default();
        let mut tried = 0;
        while let [next] = confirmations.next(&outcomes, Policy::Graceful)[..] {
            tried += 1;
            let shown = confirmations.take_in(next, outcome(Verdict::Tolerated, Way::Rerun), &mut outcomes);
            assert_eq!(shown.instead_of, Some(Verdict::Hung));
        }
        assert_eq!(tried, TRIES);
        assert!(!confirmations.has(&planned(9, 7), &hung));
    }
}

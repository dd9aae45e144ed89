//! Sequential looks: when a series has enough rounds for a verdict.

use memtrial_report::leak::{Certainty, Judgement, Measure, Reason, Verdict};

use super::series::{self, Look, Rules};

/// Rounds before the first look. Earlier ones are of no use: one look at 30 rounds calls a leak in up to six of ten programs
/// that are still warming up.
const FIRST: u32 = 60;

/// How many times the rounds of the look before there must be for another look at the end to say something new.
const APART: f64 = 1.5;

/// The share of its slope that a leak must keep when the rounds double. What grows with their logarithm, as a warm-up
/// does, keeps a half, and what grows with their root seven tenths. Noise may hide such a curve from each look by itself:
/// without this, up to a quarter of noisy logarithms, and one in ten of quiet ones by the looks at 60 and 120
/// rounds, were called leaks. The price is paid by leaks that hardly stand out from noise of long memory: they
/// take a look more.
const KEPT: f64 = 0.8;

/// After how many rounds a series is looked at if so many are allowed: 60, 120, 240, 480 and so on, and at the
/// end if that is at least half as many rounds again. Below 60 rounds there is one look at the end, for its figures.
/// One look gives no verdict, and between 60 and 89 rounds there is but one, too.
#[must_use]
pub fn schedule(allowed: u32) -> Vec<u32> {
    let mut looks: Vec<u32> = std::iter::successors(Some(FIRST), |look| look.checked_mul(2))
        .take_while(|&look| look <= allowed)
        .collect();
    if looks.last().is_none_or(|&last| f64::from(allowed) >= APART * f64::from(last)) {
        looks.push(allowed);
    }
    looks
}

/// The looks at one series while it grows. They depend on the series alone: taken in again from the start, as when a run
/// is resumed, it comes to the same.
///
/// Two looks in a row must agree. On a leak they agree only if it has not got much slower from one to the other. The
/// error rates are those that `tests/leak_rates` prints: with 120 rounds allowed or more, at most one in a hundred
/// of a random walk or of a warm-up hidden in noise is called a leak, and of all else none. Looks that are closer together
/// tell less: with 90 rounds allowed it is up to four in a hundred of such warm-ups.
#[derive(Debug, Clone)]
pub struct Sequence {
    measure: Measure,
    rules: Rules,
    allowed: u32,
    scheduled: Vec<u32>,
    looks: Vec<(u32, Look)>,
}

impl Sequence {
    /// Looks at such figures by such rules, in a run of at most `allowed` rounds.
    #[must_use]
    pub fn new(measure: Measure, rules: Rules, allowed: u32) -> Sequence {
        Sequence { measure, rules, allowed, scheduled: schedule(allowed), looks: Vec::new() }
    }

    /// Takes in the series so far, the bytes held after each round in order; it may have grown by any number of
    /// rounds. Returns the judgement once two looks in a row agree on leak or clean, or all rounds are made.
    pub fn take_in(&mut self, so_far: &[u64]) -> Option<Judgement> {
        let rounds = count(so_far);
        self.look(so_far);
        if self.agreed() || rounds >= self.allowed { Some(self.judgement(so_far)) } else { None }
    }

    /// The judgement on a series that ends here, by the looks that so many rounds would have had.
    #[must_use]
    pub fn conclude(&self, series: &[u64]) -> Judgement {
        let mut ended = self.clone();
        ended.scheduled = schedule(count(series).min(self.allowed));
        ended.look(series);
        ended.judgement(series)
    }

    fn look(&mut self, series: &[u64]) {
        while !self.agreed()
            && let Some(&round) = self.scheduled.get(self.looks.len())
            && let Some(so_far) = series.get(..round as usize)
        {
            self.looks.push((round, series::judge(so_far, &self.rules)));
        }
    }

    fn agreed(&self) -> bool {
        match &self.looks[..] {
            [.., (before, earlier), (now, later)] if earlier.verdict == later.verdict => {
                match later.verdict {
                    Verdict::Leak => {
                        let doublings = (f64::from(*now) / f64::from(*before)).log2();
                        later.slope >= KEPT.powf(doublings) * earlier.slope
                    }
                    Verdict::Clean => true,
                    Verdict::Inconclusive => false,
                }
            }
            _ => false,
        }
    }

    /// Whether the two last looks saw a leak, but a slower one in the end.
    fn slowed(&self) -> bool {
        let leak = |(_, look): &(u32, Look)| look.verdict == Verdict::Leak;
        self.looks.len() > 1 && self.looks.iter().rev().take(2).all(leak) && !self.agreed()
    }

    fn judgement(&self, series: &[u64]) -> Judgement {
        let rounds = count(series);
        let (rounds, look, verdict, reason) = match self.looks.last() {
            Some((round, look)) if self.agreed() => (*round, look.clone(), look.verdict, None),
            Some((round, look)) if *round == rounds => {
                (rounds, look.clone(), Verdict::Inconclusive, Some(self.why_not(rounds, look)))
            }
            _ => {
                let look = series::judge(series, &self.rules);
                let reason = self.why_not(rounds, &look);
                (rounds, look, Verdict::Inconclusive, Some(reason))
            }
        };
        let certainty = if self.looks.len() > 2 { Certainty::Confirmed } else { Certainty::Suspected };
        Judgement {
            measure: self.measure,
            verdict,
            certainty: (verdict == Verdict::Leak).then_some(certainty),
            reason,
            slope: look.slope,
            interval: look.interval,
            detectable: look.detectable,
            rounds,
            warm_up: look.warm_up,
            looks: self.looks.iter().map(|(round, look)| (*round, look.verdict)).collect(),
        }
    }

    /// Why no two looks agreed: what the figures say, unless more rounds were needed to say anything.
    fn why_not(&self, rounds: u32, look: &Look) -> Reason {
        match look.reason {
            Some(reason) if reason != Reason::TooFewRounds && self.looks.len() > 1 => reason,
            None if self.slowed() => Reason::Decelerating,
            _ if rounds < self.allowed => Reason::Ended,
            _ => Reason::TooFewRounds,
        }
    }
}

fn count(series: &[u64]) -> u32 {
    u32::try_from(series.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sequence(allowed: u32) -> Sequence {
        Sequence::new(Measure::Private, Rules::default(), allowed)
    }

    fn leak(rounds: u64) -> Vec<u64> {
        (0..rounds).map(|t| (20 << 20) + t * 4096).collect()
    }

    /// Takes in a series round by round; the judgement and the round it came in.
    fn run(series: &[u64], allowed: u32) -> Option<(Judgement, usize)> {
        let mut sequence = sequence(allowed);
        (1..=series.len()).find_map(|n| sequence.take_in(&series[..n]).map(|judgement| (judgement, n)))
    }

    #[test]
    fn looks_double_and_the_last_is_at_the_end_if_that_is_far_enough_on() {
        assert_eq!(schedule(480), [60, 120, 240, 480]);
        assert_eq!(schedule(980), [60, 120, 240, 480, 960]);
        assert_eq!(schedule(700), [60, 120, 240, 480]);
        assert_eq!(schedule(720), [60, 120, 240, 480, 720]);
        assert_eq!(schedule(100), [60, 100]);
        assert_eq!(schedule(89), [60]);
        assert_eq!(schedule(61), [60]);
        assert_eq!(schedule(59), [59]);
        assert_eq!(schedule(0), [0]);
        assert_eq!(schedule(u32::MAX).len(), 27);
    }

    #[test]
    fn a_clear_leak_ends_at_the_second_look_and_is_suspected() {
        let (judgement, round) = run(&leak(480), 480).unwrap();
        assert_eq!(round, 120);
        assert_eq!((judgement.verdict, judgement.certainty), (Verdict::Leak, Some(Certainty::Suspected)));
        assert_eq!(judgement.looks, [(60, Verdict::Leak), (120, Verdict::Leak)]);
        assert_eq!((judgement.rounds, judgement.warm_up, judgement.reason), (120, 36, None));
    }

    #[test]
    fn a_leak_that_shows_late_is_confirmed() {
        let series: Vec<u64> = (0..480u64).map(|t| (20 << 20) + t.saturating_sub(55) * 4096).collect();
        let (judgement, round) = run(&series, 480).unwrap();
        assert!(round >= 240, "{judgement:?}");
        assert_eq!((judgement.verdict, judgement.certainty), (Verdict::Leak, Some(Certainty::Confirmed)));
    }

    #[test]
    fn a_flat_series_is_clean_at_the_second_look() {
        let (judgement, round) = run(&[20 << 20; 480], 480).unwrap();
        assert_eq!((judgement.verdict, judgement.certainty, round), (Verdict::Clean, None, 120));
    }

    #[test]
    fn one_look_gives_no_verdict_however_clear_it_is() {
        for allowed in [30, 59, 60, 89] {
            let (judgement, round) = run(&leak(480), allowed).unwrap();
            assert_eq!(round, allowed as usize);
            assert_eq!(
                (judgement.verdict, judgement.reason),
                (Verdict::Inconclusive, Some(Reason::TooFewRounds))
            );
            assert_eq!(judgement.rounds, allowed);
            assert!((judgement.slope - 4096.0).abs() < 1.0);
        }
        assert_eq!(run(&leak(90), 90).unwrap().0.verdict, Verdict::Leak);
    }

    #[test]
    fn a_series_that_ends_early_is_judged_by_the_looks_it_had() {
        let ended = sequence(480).conclude(&leak(75));
        assert_eq!(
            (ended.verdict, ended.reason, ended.rounds),
            (Verdict::Inconclusive, Some(Reason::Ended), 75)
        );
        assert_eq!(sequence(480).conclude(&leak(95)).verdict, Verdict::Leak);
        let none = sequence(480).conclude(&[]);
        assert_eq!(
            (none.verdict, none.reason, none.interval),
            (Verdict::Inconclusive, Some(Reason::Ended), None)
        );
    }

    #[test]
    fn what_two_looks_call_a_leak_but_slower_and_slower_is_none() {
        let series = leak(120);
        let look = |slope| Look { slope, ..series::judge(&series, &Rules::default()) };
        let after =
            |looks: [(u32, Look); 2]| Sequence { looks: looks.to_vec(), ..sequence(120) }.judgement(&series);
        let slowed = after([(60, look(8000.0)), (120, look(4000.0))]);
        assert_eq!((slowed.verdict, slowed.reason), (Verdict::Inconclusive, Some(Reason::Decelerating)));
        assert_eq!(slowed.looks, [(60, Verdict::Leak), (120, Verdict::Leak)]);
        assert_eq!(after([(60, look(8000.0)), (120, look(6500.0))]).verdict, Verdict::Leak);
        // In half as many rounds more it may lose less.
        assert_eq!(after([(80, look(8000.0)), (120, look(6500.0))]).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn the_figures_say_why_looks_do_not_agree() {
        let warming: Vec<u64> = (0..240u32).map(|t| (2e7 + 2e6 * f64::from(t + 1).ln()) as u64).collect();
        let (judgement, _) = run(&warming, 240).unwrap();
        assert_eq!(
            (judgement.verdict, judgement.reason),
            (Verdict::Inconclusive, Some(Reason::Decelerating))
        );
    }

    proptest! {
        #[test]
        fn a_resumed_run_comes_to_the_same(
            series in prop::collection::vec(0u64..1 << 30, 0..300),
            cut in 0usize..300,
            allowed in 0u32..300,
        ) {
            let (mut whole, mut resumed) = (sequence(allowed), sequence(allowed));
            let in_one = (0..=series.len()).find_map(|n| whole.take_in(&series[..n]));
            let cut = cut.min(series.len());
            let in_two = (cut..=series.len()).find_map(|n| resumed.take_in(&series[..n]));
            prop_assert_eq!(in_one.as_ref().map(|j| j.verdict), in_two.as_ref().map(|j| j.verdict));
            prop_assert_eq!(in_one.map(|j| j.looks), in_two.map(|j| j.looks));
        }
    }
}

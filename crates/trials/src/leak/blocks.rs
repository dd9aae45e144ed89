//! Whether the blocks of a site pile up, from the rounds they were allocated in.

use memtrial_report::leak::Survival;
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

/// The first rounds, whose blocks are left out: what a program sets up once.
const SET_UP: usize = 5;

/// The newest rounds are left out too, as their blocks may be about to be freed: a tenth, at least so many.
const NEWEST: usize = 3;

/// Rounds that must be left in each half.
const LEAST_HALF: usize = 5;

/// Blocks that must have survived in both halves together.
const LEAST_SURVIVORS: u64 = 8;

/// Fewer old survivors than new ones, so many to one, are turnover if chance does not explain them.
const DECAYED: f64 = 0.9;

/// Chance below which it does not.
const DECAY_ALPHA: f64 = 0.02;

/// For blocks to come regularly, this share of the parts that the rounds are cut into must have survivors.
const COVERED: f64 = 0.9;

/// Fewest parts that the rounds are cut into, and survivors that there should be for each part: four leave one of fifty
/// without by chance. With many survivors each round is a part.
const PARTS: usize = 10;
const FOR_EACH_PART: u64 = 4;

/// Chance below which a half as many old survivors as new ones is no longer believed.
const HALVED_ALPHA: f64 = 0.01;

/// How the living blocks of a site behave, by the round they were allocated in (the oldest first, the newest
/// last), if so many blocks of the site were `freed` in these rounds. Never [`Survival::Lost`]: that takes a look
/// at what points to the blocks.
///
/// Blocks that come and go die with age, so that fewer of the older rounds live than of the newer; leaked blocks
/// live whatever their age. The rounds without the first 5 and the newest tenth are halved. A site leaks if at least
/// 8 blocks survive in them, the older half has not significantly (2 %) fewer than nine for ten of the newer, and
/// either survivors are spread over nine tenths of the time or there is significantly (1 %) more than one old survivor
/// for two new ones.
///
/// Survivors may be sparser than rounds: the time is cut into at least ten parts, and into so few more that four
/// survivors come to each. Asked of single rounds, a block in every tenth round would take 600 rounds to be called; so it
/// takes 120, and one in a tenth of the rounds by chance some 240 (three of four are found) to 480 (nearly all). In 61
/// rounds either leaves fewer than 8 survivors, and can't be called.
///
/// At least 20 rounds are needed, which show a leak of a block a round; and for blocks that are freed in time, at least
/// twice as many rounds as their longest life, or four times as many as their mean life if that has no bound: with
/// fewer they look the same as leaked ones. A cache that is filled once and is not full yet can't be told from a
/// leak, as nothing of it was freed so far. Nine for ten instead of equal numbers, since with thousands of survivors a
/// leak need but vary a little from round to round to differ significantly.
#[must_use]
pub fn judge(by_round: &[u64], freed: u64) -> Survival {
    if leaks(by_round) {
        Survival::Leaking
    } else if freed == 0 {
        Survival::NeverFreed
    } else {
        Survival::Turnover
    }
}

fn leaks(by_round: &[u64]) -> bool {
    let newest = (by_round.len() / 10).max(NEWEST);
    if by_round.len() < SET_UP + newest + 2 * LEAST_HALF {
        return false;
    }
    let judged = &by_round[SET_UP..by_round.len() - newest];
    let half = judged.len() / 2;
    let sum = |rounds: &[u64]| rounds.iter().fold(0u64, |sum, &blocks| sum.saturating_add(blocks));
    let (old, new) = (sum(&judged[..half]), sum(&judged[judged.len() - half..]));
    let survivors = old.saturating_add(new);
    if survivors < LEAST_SURVIVORS || at_most(old, survivors, DECAYED / (1.0 + DECAYED)) <= DECAY_ALPHA {
        return false;
    }
    let count = usize::try_from(survivors / FOR_EACH_PART).unwrap_or(usize::MAX).clamp(PARTS, judged.len());
    let part = |i: usize| &judged[i * judged.len() / count..(i + 1) * judged.len() / count];
    let covered = (0..count).filter(|&i| part(i).iter().any(|&blocks| blocks > 0)).count();
    covered as f64 >= COVERED * count as f64
        || old > 0 && 1.0 - at_most(old - 1, survivors, 1.0 / 3.0) < HALVED_ALPHA
}

/// Chance of at most so many of `all` if each is one with probability `p`.
fn at_most(count: u64, all: u64, p: f64) -> f64 {
    // Beyond this the normal approximation is better than what the incomplete beta function is computed to.
    if all <= 10_000 {
        Binomial::new(p, all).map_or(1.0, |binomial| binomial.cdf(count))
    } else {
        let all = all as f64;
        Normal::standard().cdf((count as f64 + 0.5 - p * all) / (p * (1.0 - p) * all).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_in_every_round_is_a_leak() {
        for rounds in [20, 60, 61, 240] {
            assert_eq!(judge(&vec![1; rounds], 0), Survival::Leaking);
            assert_eq!(judge(&vec![1; rounds], 1000), Survival::Leaking);
        }
    }

    #[test]
    fn fewer_rounds_than_a_verdict_needs_are_no_leak() {
        for rounds in 0..18 {
            assert_eq!(judge(&vec![100; rounds], 0), Survival::NeverFreed);
        }
    }

    #[test]
    fn a_million_blocks_a_round_more_or_less_are_a_leak() {
        // The newer half has 2 % more, which chance does not explain, but neither does a life of some rounds.
        let by_round: Vec<u64> = (0..61).map(|t| 1_000_000 + t * 700).collect();
        assert_eq!(judge(&by_round, 5), Survival::Leaking);
    }

    #[test]
    fn blocks_of_the_first_rounds_are_what_a_program_sets_up() {
        let mut by_round = vec![0; 61];
        by_round[0] = 500;
        by_round[1] = 20;
        assert_eq!(judge(&by_round, 0), Survival::NeverFreed);
        assert_eq!(judge(&by_round, 3), Survival::Turnover);
    }

    #[test]
    fn blocks_of_the_last_rounds_are_still_in_use() {
        let by_round: Vec<u64> = (0..61).map(|t| if t >= 40 { 10 } else { 0 }).collect();
        assert_eq!(judge(&by_round, 400), Survival::Turnover);
    }

    #[test]
    fn a_block_in_every_tenth_round_is_not_called_in_61_rounds() {
        let leaking = |rounds: usize| (0..rounds).map(|t| u64::from(t % 10 == 9)).collect::<Vec<_>>();
        assert_eq!(judge(&leaking(61), 0), Survival::NeverFreed);
        assert_eq!(judge(&leaking(61), 9), Survival::Turnover);
        assert_eq!(judge(&leaking(120), 9), Survival::Leaking);
    }

    #[test]
    fn the_two_ways_to_the_chance_agree_where_they_meet() {
        for (count, p) in [(4950, 0.5), (4700, 0.4737), (3300, 1.0 / 3.0)] {
            let (below, above) = (at_most(count, 10_000, p), at_most(count, 10_001, p));
            assert!((below - above).abs() < 0.01, "{below} {above}");
        }
    }

    proptest! {
        #[test]
        fn any_counts_are_survived(by_round in prop::collection::vec(any::<u64>(), 0..200), freed in any::<u64>()) {
            prop_assert_ne!(judge(&by_round, freed), Survival::Lost);
        }
    }
}

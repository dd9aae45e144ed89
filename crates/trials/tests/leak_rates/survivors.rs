//! Simulated sites: the living blocks by the round they were allocated in.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Poisson};

/// A kind of site.
pub struct Class {
    pub name: &'static str,
    pub is_leak: bool,
    /// Blocks alive after so many rounds, the oldest round first.
    pub alive: fn(&mut ChaCha8Rng, usize) -> Vec<u64>,
}

/// The classes, leaks first.
pub fn classes() -> Vec<Class> {
    let class = |name, is_leak, alive| Class { name, is_leak, alive };
    vec![
        class("1 block in every round", true, |_, n| vec![1; n]),
        class("1 block in one round of ten, by chance", true, |r, n| {
            (0..n).map(|_| u64::from(r.random_bool(0.1))).collect()
        }),
        class("1 block in every tenth round", true, |_, n| (0..n).map(|t| u64::from(t % 10 == 9)).collect()),
        class("5 blocks a round, Poisson", true, |r, n| (0..n).map(|_| poisson(r, 5.0)).collect()),
        class("10,000 blocks a round, 3 % more or less", true, |r, n| {
            (0..n).map(|_| r.random_range(9_700..10_300)).collect()
        }),
        class("set up at first", false, |_, n| {
            (0..n).map(|t| [500, 20].get(t).copied().unwrap_or(0)).collect()
        }),
        class("hash that doubles", false, |_, n| {
            let last = (0..n).rev().find(|t| t.is_power_of_two());
            (0..n).map(|t| u64::from(Some(t) == last)).collect()
        }),
        class("sessions that live 30 rounds", false, |r, n| {
            (0..n).map(|t| if n - 1 - t < 30 { poisson(r, 5.0) } else { 0 }).collect()
        }),
        class("cache, mean life 3 rounds", false, |r, n| cache(r, n, 20, 3.0)),
        class("cache, mean life 10 rounds", false, |r, n| cache(r, n, 20, 10.0)),
        class("cache, mean life 30 rounds", false, |r, n| cache(r, n, 20, 30.0)),
        class("cache, mean life 100 rounds", false, |r, n| cache(r, n, 20, 100.0)),
        class("small cache, mean life 10 rounds", false, |r, n| small_cache(r, n, 10.0)),
        class("small cache, mean life 30 rounds", false, |r, n| small_cache(r, n, 30.0)),
        class("small cache, mean life 100 rounds", false, |r, n| small_cache(r, n, 100.0)),
        class("cache of 1,000, filled once, 3 a round", false, |_, n| {
            (0..n).map(|t| 1000u64.saturating_sub(3 * t as u64).min(3)).collect()
        }),
    ]
}

fn poisson(r: &mut ChaCha8Rng, mean: f64) -> u64 {
    let blocks: f64 = Poisson::new(mean).expect("a mean").sample(r);
    blocks as u64
}

/// So many blocks a round, replaced at random.
fn cache(r: &mut ChaCha8Rng, n: usize, blocks: u64, life: f64) -> Vec<u64> {
    let mut alive = |age: f64| Binomial::new(blocks, (-age / life).exp()).expect("a probability").sample(r);
    (0..n).map(|t| alive((n - 1 - t) as f64)).collect()
}

/// One block in every second round, replaced at random.
fn small_cache(r: &mut ChaCha8Rng, n: usize, life: f64) -> Vec<u64> {
    (0..n).map(|t| u64::from(r.random_bool(0.5 * (-((n - 1 - t) as f64) / life).exp()))).collect()
}

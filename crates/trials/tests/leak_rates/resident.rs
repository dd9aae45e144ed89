//! Simulated resident memory: what programs with and without a leak hold after each round.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

const KIB: f64 = 1024.0;
const PAGE: f64 = 4.0;
/// What the program holds to begin with, in KiB.
const BASE: f64 = 20_000.0;

/// A kind of program.
pub struct Class {
    pub name: &'static str,
    /// What it leaks, in bytes a round; `None` where it has no slope that could be estimated.
    pub leaks: Option<f64>,
    /// What it holds on top of what it leaks and of the base after each of so many rounds, in KiB.
    pub held: fn(&mut ChaCha8Rng, usize) -> Vec<f64>,
}

impl Class {
    /// A series in bytes, with so much more growth a round than the class has, counted in pages.
    pub fn series(&self, rng: &mut ChaCha8Rng, rounds: usize, more: f64) -> Vec<u64> {
        let slope = (self.leaks.unwrap_or(0.0) + more) / KIB;
        let held = (self.held)(rng, rounds);
        let pages = held.iter().enumerate().map(|(t, y)| ((BASE + y + slope * t as f64) / PAGE).round());
        pages.map(|pages| (pages * PAGE * KIB) as u64).collect()
    }

    pub fn is_leak(&self) -> bool {
        self.leaks.is_some_and(|leaks| leaks > 0.0)
    }
}

fn class(
    name: &'static str,
    leaks: impl Into<Option<f64>>,
    held: fn(&mut ChaCha8Rng, usize) -> Vec<f64>,
) -> Class {
    Class { name, leaks: leaks.into(), held }
}

/// The classes, those without a leak first.
pub fn classes() -> Vec<Class> {
    vec![
        class("flat, quiet", 0.0, quiet),
        class("flat, AR(0.8), 150 KiB", 0.0, |r, n| ar(r, n, 0.8, 150.0)),
        class("flat, AR(0.97), 200 KiB", 0.0, |r, n| ar(r, n, 0.97, 200.0)),
        class("warm-up, exponential, 15 rounds, 4 MiB", None, |r, n| {
            add(add(warm(n, 15.0, 4000.0), quiet(r, n)), white(r, n, 20.0))
        }),
        class("warm-up, exponential, 60 rounds, 8 MiB", None, |r, n| {
            add(warm(n, 60.0, 8000.0), white(r, n, 20.0))
        }),
        class("warm-up, 300 KiB × ln t", None, |r, n| add(logarithm(n, 300.0), white(r, n, 20.0))),
        class("noisy warm-up, 300 KiB × ln t, white, 40 KiB", None, |r, n| {
            add(logarithm(n, 300.0), white(r, n, 40.0))
        }),
        class("noisy warm-up, 300 KiB × ln t, white, 80 KiB", None, |r, n| {
            add(logarithm(n, 300.0), white(r, n, 80.0))
        }),
        class("noisy warm-up, 500 KiB × ln t, AR(0.8), 80 KiB", None, |r, n| {
            add(logarithm(n, 500.0), ar(r, n, 0.8, 80.0))
        }),
        class("noisy warm-up, 100 KiB × √t, white, 20 KiB", None, |r, n| {
            add((0..n).map(|t| 100.0 * (t as f64).sqrt()).collect(), white(r, n, 20.0))
        }),
        class("warm-up, 1 MiB × ln t, quiet", None, |r, n| add(logarithm(n, 1000.0), quiet(r, n))),
        class("hash that doubles", None, |r, n| {
            let doubling = (0..n).map(|t| 16.0 * ((t + 1) as f64).log2().floor().exp2()).collect();
            add(doubling, quiet(r, n))
        }),
        class("one step of 1 MiB", None, |r, n| {
            let at = r.random_range(n / 10..n * 9 / 10);
            add((0..n).map(|t| if t > at { 1000.0 } else { 0.0 }).collect(), white(r, n, 20.0))
        }),
        class("sawtooth, 25 rounds, 2 MiB", 0.0, |r, n| add(saw(r, n), white(r, n, 20.0))),
        class("random walk, 40 KiB in one round of four", None, |r, n| {
            let mut level = 0.0;
            let mut step = || {
                level += if r.random_bool(0.25) { normal(r, 40.0) } else { 0.0 };
                level
            };
            (0..n).map(|_| step()).collect()
        }),
        class("4 KiB a round, quiet", 4096.0, quiet),
        class("4 KiB a round, white, 40 KiB", 4096.0, |r, n| white(r, n, 40.0)),
        class("4 KiB a round, AR(0.8), 150 KiB", 4096.0, |r, n| ar(r, n, 0.8, 150.0)),
        class("512 B a round, quiet", 512.0, |r, n| {
            let phase = r.random_range(0.0..PAGE) - PAGE / 2.0;
            quiet(r, n).iter().map(|y| y + phase).collect()
        }),
        class("1 KiB a round, white, 20 KiB", 1024.0, |r, n| white(r, n, 20.0)),
        class("64 KiB every 16 rounds, quiet", 4096.0, |r, n| {
            let phase = r.random_range(0..16);
            let stairs = (0..n).map(|t| 64.0 * ((t + phase) / 16) as f64 - 4.0 * t as f64).collect();
            add(stairs, quiet(r, n))
        }),
        class("4 KiB a round with a warm-up", 4096.0, |r, n| add(warm(n, 15.0, 4000.0), white(r, n, 20.0))),
        class("4 KiB a round with a sawtooth", 4096.0, |r, n| add(saw(r, n), white(r, n, 20.0))),
        class("64 KiB a round, AR(0.8), 150 KiB", 65536.0, |r, n| ar(r, n, 0.8, 150.0)),
    ]
}

fn add(a: Vec<f64>, b: Vec<f64>) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn normal(r: &mut ChaCha8Rng, sd: f64) -> f64 {
    Normal::new(0.0, sd).expect("a standard deviation").sample(r)
}

/// A page or two more or less in one round of twenty.
fn quiet(r: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let mut noise = || {
        let pages = [-2.0, -1.0, 1.0, 2.0][r.random_range(0..4)];
        if r.random_bool(0.05) { pages * PAGE } else { 0.0 }
    };
    (0..n).map(|_| noise()).collect()
}

fn white(r: &mut ChaCha8Rng, n: usize, sd: f64) -> Vec<f64> {
    (0..n).map(|_| normal(r, sd)).collect()
}

/// Autoregressive: each round inherits the share `phi` from the one before.
fn ar(r: &mut ChaCha8Rng, n: usize, phi: f64, sd: f64) -> Vec<f64> {
    let mut level = normal(r, sd);
    let mut next = || {
        let now = level;
        level = phi * level + normal(r, sd * (1.0 - phi * phi).sqrt());
        now
    };
    (0..n).map(|_| next()).collect()
}

fn warm(n: usize, rounds: f64, height: f64) -> Vec<f64> {
    (0..n).map(|t| height * (1.0 - (-(t as f64) / rounds).exp())).collect()
}

fn logarithm(n: usize, height: f64) -> Vec<f64> {
    (0..n).map(|t| height * (t as f64).ln_1p()).collect()
}

fn saw(r: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let phase = r.random_range(0..25);
    (0..n).map(|t| ((t + phase) % 25) as f64 / 25.0 * 2000.0).collect()
}

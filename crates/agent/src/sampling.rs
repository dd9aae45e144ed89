//! Following a share of the blocks only: on average one for so many bytes, the bigger the likelier.

use core::cell::Cell;

use crate::thread;

/// Whether an allocation of `bytes` is one of those that are followed, of which there is one for every `mean` bytes
/// on average: each byte is as likely as any other (a Poisson process, as in gperftools' and Go's heap profilers).
#[inline]
pub fn takes(bytes: u64, mean: u64) -> bool {
    if passes(bytes) {
        return false;
    }
    let left: &Cell<u64> = thread::until_sample();
    // 0 stands for a thread that has not drawn yet.
    let first = left.get() == 0;
    left.set(draw(mean));
    !first
}

/// Counts an allocation of `bytes` if it is none of those that are followed; says whether it is.
#[inline]
pub fn passes(bytes: u64) -> bool {
    let left: &Cell<u64> = thread::until_sample();
    let passes = bytes < left.get();
    if passes {
        left.set(left.get() - bytes);
    }
    passes
}

/// A distance to the next sample: exponentially distributed with this mean, at least 1.
#[cold]
fn draw(mean: u64) -> u64 {
    let random = thread::random();
    // -ln(u) for u = random / 2^64, as ln 2 times the distance from 2^64 in powers of two.
    let distance = 64.0 - log2(random | 1);
    let bytes = distance * core::f64::consts::LN_2 * mean as f64;
    (bytes as u64).max(1)
}

/// Binary logarithm, to within 0.01: exponent and a parabola through the mantissa's ends.
fn log2(number: u64) -> f64 {
    let exponent = 63 - number.leading_zeros();
    let mantissa = number as f64 / (1u64 << exponent) as f64 - 1.0;
    f64::from(exponent) + mantissa * (1.3465 - 0.3465 * mantissa)
}

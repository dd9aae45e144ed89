//! The growth of one series beside that of another, as of a version known to be good.

use super::series;
use super::trend::Estimate;

/// How much two series grow, and by how much they differ in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Growth there and here, in bytes a round.
    pub slopes: [f64; 2],
    /// 90 % interval of the difference, here minus there, in bytes a round.
    pub interval: [f64; 2],
}

/// Compares the bytes held after each round here and there; `None` if either has too few rounds.
///
/// Each slope has its standard error as [`series::judge`] has it, widened for autocorrelation; the degrees of
/// freedom of the difference are those of Welch and Satterthwaite.
#[must_use]
pub fn compare(here: &[u64], there: &[u64]) -> Option<Difference> {
    let (here, there) = (series::estimate(here)?, series::estimate(there)?);
    let (a, b) = (here.error.powi(2), there.error.powi(2));
    let freedom = (a + b).powi(2) / (a * a / here.freedom + b * b / there.freedom);
    let difference = Estimate {
        slope: here.slope - there.slope,
        error: (a + b).sqrt(),
        freedom: if freedom.is_finite() { freedom } else { here.freedom.min(there.freedom) },
    };
    Some(Difference { slopes: [there.slope, here.slope], interval: difference.interval() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaking(bytes: u64, rounds: u64) -> Vec<u64> {
        (0..rounds).map(|t| (1 << 24) + t * bytes + (t.wrapping_mul(7919) % 5) * 4096).collect()
    }

    #[test]
    fn a_new_leak_stands_out_from_the_version_without() {
        let difference = compare(&leaking(8192, 120), &leaking(0, 120)).unwrap();
        assert!(difference.interval[0] > 7000.0 && difference.interval[1] < 9500.0, "{difference:?}");
        assert!((difference.slopes[1] - 8192.0).abs() < 300.0 && difference.slopes[0].abs() < 300.0);
    }

    #[test]
    fn the_same_leak_in_both_is_no_difference() {
        let difference = compare(&leaking(8192, 120), &leaking(8192, 90)).unwrap();
        assert!(difference.interval[0] < 0.0 && difference.interval[1] > 0.0, "{difference:?}");
    }

    #[test]
    fn too_few_rounds_on_either_side_compare_to_nothing() {
        assert_eq!(compare(&leaking(8192, 20), &leaking(0, 120)), None);
        assert_eq!(compare(&leaking(8192, 120), &[]), None);
    }
}

//! Least squares: a line through points, and the test for a unit root.

/// A line fitted to points.
pub(super) struct Line {
    /// By how much it rises for each unit of x.
    pub slope: f64,
    /// What the line leaves of each y.
    pub residuals: Vec<f64>,
    /// Sum of the squares of what is left.
    pub squares: f64,
    /// Sum of the squared distances of the x from their mean.
    pub spread: f64,
}

/// The line with the least squared error. Where all x are the same its slope is 0.
pub(super) fn line(x: &[f64], y: &[f64]) -> Line {
    let (x_mean, y_mean) = (mean(x), mean(y));
    let spread: f64 = x.iter().map(|x| (x - x_mean).powi(2)).sum();
    let product: f64 = x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let slope = if spread > 0.0 { product / spread } else { 0.0 };
    let residuals: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - y_mean - slope * (x - x_mean)).collect();
    let squares = dot(&residuals, &residuals);
    Line { slope, residuals, squares, spread }
}

/// The arithmetic mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The statistic of the augmented Dickey-Fuller test with constant, trend and one lag: the more negative, the
/// surer it is that the values return to a line instead of drifting like a random walk. `-∞` where nothing
/// is left beside a line.
///
/// Dickey and Fuller, "Distribution of the estimators for autoregressive time series with a unit root", JASA
/// 74 (1979). The regression is done by taking the constant, the trend and the lag out of both sides
/// (Frisch-Waugh-Lovell), which needs no matrix to be inverted.
pub(super) fn dickey_fuller(y: &[f64]) -> f64 {
    let rises: Vec<f64> = y.windows(2).map(|w| w[1] - w[0]).collect();
    if rises.len() < 6 {
        return 0.0;
    }
    let mut rise = rises[1..].to_vec();
    let mut level = y[1..y.len() - 1].to_vec();
    let mut lag = rises[..rises.len() - 1].to_vec();
    let rounds = rise.len();
    let mut trend: Vec<f64> = (0..rounds).map(|t| t as f64).collect();
    let mut taken = 2;
    for column in [&mut trend, &mut lag, &mut level, &mut rise] {
        let mean = mean(column);
        column.iter_mut().for_each(|value| *value -= mean);
    }
    let (lag_before, level_before) = (dot(&lag, &lag), dot(&level, &level));
    for column in [&mut lag, &mut level, &mut rise] {
        take_out(column, &trend);
    }
    // A lag that is a line itself has been taken out already.
    if dot(&lag, &lag) > NOTHING * lag_before {
        take_out(&mut level, &lag);
        take_out(&mut rise, &lag);
        taken += 1;
    }
    let level_squares = dot(&level, &level);
    if level_squares <= NOTHING * level_before {
        return f64::NEG_INFINITY;
    }
    let pull = dot(&level, &rise) / level_squares;
    let left: f64 = level.iter().zip(&rise).map(|(level, rise)| (rise - pull * level).powi(2)).sum();
    let variance = left / (rounds - taken - 1).max(1) as f64;
    if variance <= NOTHING * level_squares {
        return f64::NEG_INFINITY;
    }
    pull / (variance / level_squares).sqrt()
}

/// Below this share of what there was before, what is left is rounding.
const NOTHING: f64 = 1e-14;

/// Takes out of `column` what `by` explains of it, twice: the second time for what rounding left.
fn take_out(column: &mut [f64], by: &[f64]) {
    let squares = dot(by, by);
    if squares <= 0.0 {
        return;
    }
    for _ in 0..2 {
        let share = dot(column, by) / squares;
        column.iter_mut().zip(by).for_each(|(value, by)| *value -= share * by);
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_through_points_of_a_line_is_that_line() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 + 2.5 * x).collect();
        let line = line(&x, &y);
        assert!((line.slope - 2.5).abs() < 1e-12 && line.squares < 1e-18, "{} {}", line.slope, line.squares);
        assert!((line.spread - 665.0).abs() < 1e-9);
    }

    #[test]
    fn values_that_return_to_a_line_at_once_have_no_unit_root() {
        let y: Vec<f64> =
            (0..60).map(|t: u64| t as f64 * 10.0 + (t.wrapping_mul(7919) % 97) as f64).collect();
        assert!(dickey_fuller(&y) < -3.7, "{}", dickey_fuller(&y));
    }

    #[test]
    fn values_that_keep_each_shock_have_a_unit_root() {
        let mut level = 0.0;
        let y: Vec<f64> = (0..60u64)
            .map(|t| {
                level += ((t.wrapping_mul(2_654_435_761) >> 7) % 101) as f64 - 50.0;
                level
            })
            .collect();
        assert!(dickey_fuller(&y) > -3.7, "{}", dickey_fuller(&y));
    }

    #[test]
    fn the_statistic_is_that_of_the_regression_written_out() {
        // By hand: the coefficient of the level over its standard error, from the normal equations of
        // rise = a + b t + c lag + d level, which are solved here by elimination.
        let y: Vec<f64> =
            [3., 5., 4., 8., 7., 6., 9., 12., 10., 9., 13., 15., 12., 14., 18., 17., 16., 20., 19., 22.]
                .to_vec();
        let rises: Vec<f64> = y.windows(2).map(|w| w[1] - w[0]).collect();
        let rows: Vec<[f64; 4]> =
            (1..rises.len()).map(|i| [y[i], 1.0, (i - 1) as f64, rises[i - 1]]).collect();
        let z = &rises[1..];
        let mut m = [[0.0f64; 8]; 4];
        for row in &rows {
            for i in 0..4 {
                for j in 0..4 {
                    m[i][j] += row[i] * row[j];
                }
            }
        }
        for (i, row) in m.iter_mut().enumerate() {
            row[4 + i] = 1.0;
        }
        for i in 0..4 {
            let pivot = m[i][i];
            m[i].iter_mut().for_each(|v| *v /= pivot);
            let pivot_row = m[i];
            for (k, row) in m.iter_mut().enumerate() {
                if k != i {
                    let factor = row[i];
                    row.iter_mut().zip(pivot_row).for_each(|(v, p)| *v -= factor * p);
                }
            }
        }
        let xz: Vec<f64> = (0..4).map(|j| rows.iter().zip(z).map(|(row, z)| row[j] * z).sum()).collect();
        let beta: Vec<f64> = (0..4).map(|i| (0..4).map(|j| m[i][4 + j] * xz[j]).sum()).collect();
        let left: f64 = rows.iter().zip(z).map(|(row, z)| (z - dot(row, &beta)).powi(2)).sum::<f64>()
            / (z.len() - 4) as f64;
        let by_hand = beta[0] / (left * m[0][4]).sqrt();
        assert!((dickey_fuller(&y) - by_hand).abs() < 1e-8, "{} {by_hand}", dickey_fuller(&y));
    }
}

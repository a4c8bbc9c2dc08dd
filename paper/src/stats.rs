//! Means over seeds, their spread, and differences between pairs with their intervals.

/// Numbers of independent runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    pub mean: f64,
    /// The sample's standard deviation; 0 for a single number.
    pub deviation: f64,
    pub count: usize,
}

impl Mean {
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        Self { mean, deviation, count }
    }

    /// Half the width of the 95 % interval of the mean, by Student's t; infinite for a single number.
    pub fn half_width(&self) -> f64 {
        if self.count < 2 {
            return f64::INFINITY;
        }
        t_quantile(self.count - 1) * self.deviation / (self.count as f64).sqrt()
    }
}

/// The mean of the differences between pairs, which have their seed in common.
pub fn paired(values: &[f64], others: &[f64]) -> Mean {
    let differences: Vec<_> = values.iter().zip(others).map(|(value, other)| value - other).collect();
    Mean::of(&differences)
}

/// The 0.975 quantile of Student's t.
fn t_quantile(freedom: usize) -> f64 {
    // From any table of the distribution, to three decimals.
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    // Above the table, two terms of the expansion in 1/freedom around the normal's quantile are good to the third decimal.
    let (z, freedom) = (1.959_964_f64, freedom as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    TABLE.get(freedom as usize - 1).copied().unwrap_or(z + first / freedom + second / freedom.powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_intervals_are_those_of_a_worked_example() {
        let Mean { mean, deviation, count } = Mean::of(&[1.0, 2.0, 4.0, 5.0]);
        assert_eq!((mean, count), (3.0, 4));
        assert!((deviation - (10.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        let half = Mean::of(&[1.0, 2.0, 4.0, 5.0]).half_width();
        assert!((half - 3.182 * (10.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(Mean::of(&[1.0]).half_width(), f64::INFINITY);
    }

    #[test]
    fn pairs_share_what_makes_both_vary() {
        let difference = paired(&[3.0, 13.0, 23.0], &[2.0, 12.0, 22.0]);
        assert_eq!((difference.mean, difference.deviation), (1.0, 0.0));
    }

    #[test]
    fn the_table_of_quantiles_goes_on_smoothly() {
        // The true quantiles are 2.0395 at 31 and 1.9840 at 100 degrees of freedom.
        assert!((t_quantile(31) - 2.0395).abs() < 5e-4);
        assert!((t_quantile(100) - 1.9840).abs() < 5e-4);
    }
}

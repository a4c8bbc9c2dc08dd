//! Spearman's rank correlation.

/// The correlation of the ranks: 1 if one grows with the other, -1 if it falls, near 0 if neither. Equal values share the mean of
/// their ranks. There is none for fewer than two pairs, or if all values of one side are equal.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let [x, y] = [|pair: &(f64, f64)| pair.0, |pair: &(f64, f64)| pair.1]
        .map(|side| ranks(&pairs.iter().map(side).collect::<Vec<_>>()));
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let correlation = sum(&x, &y) / (sum(&x, &x) * sum(&y, &y)).sqrt();
    correlation.is_finite().then_some(correlation)
}

/// Ranks from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_and_size_does_not() {
        let grows = [(1.0, 10.0), (2.0, 11.0), (30.0, 12.0), (4.0, 11.5)];
        assert_eq!(spearman(&grows), Some(1.0));
        assert_eq!(spearman(&grows.map(|(x, y)| (x, -y))), Some(-1.0));
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        // scipy.stats.spearmanr([1, 2, 2, 4], [1, 3, 2, 4]).
        let found = spearman(&[(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (4.0, 4.0)]).unwrap();
        assert!((found - 0.948_683_298_050_513_8).abs() < 1e-15, "{found}");
    }

    #[test]
    fn some_have_none() {
        assert_eq!(spearman(&[]), None);
        assert_eq!(spearman(&[(1.0, 2.0)]), None);
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 2.0)]), None);
    }
}

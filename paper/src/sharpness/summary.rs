//! What the tables say: means over seeds, and rank correlations.

use super::journal::Record;
use super::rank::spearman;
use crate::stats::Mean;

/// A run under the name of its contender.
pub struct Row {
    pub name: String,
    pub record: Record,
}

impl Row {
    pub fn noise(&self) -> f64 {
        self.record.key.run.noise
    }

    /// Of the test digits after the last epoch, in %.
    pub fn last(&self) -> f64 {
        100.0 * self.record.outcome.last
    }

    /// After the best epoch by the test digits, in %.
    pub fn best(&self) -> f64 {
        100.0 * self.record.outcome.best
    }

    pub fn loss(&self) -> f64 {
        self.record.flatness.loss
    }

    pub fn top(&self) -> f64 {
        self.record.flatness.top.value
    }

    pub fn trace(&self) -> f64 {
        self.record.flatness.trace.mean
    }
}

pub type Side = fn(&Row) -> f64;

/// What is correlated with the accuracy.
const SIDES: [(&str, Side); 3] = [("top eigenvalue", Row::top), ("trace", Row::trace), ("loss", Row::loss)];

/// The rows of one noise after those of another.
pub fn by_noise(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.noise() == b.noise())
}

/// The seeds of each contender.
pub fn by_name(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.noise() == b.noise() && a.name == b.name)
}

pub fn mean(rows: &[Row], side: Side) -> Mean {
    Mean::of(&rows.iter().map(side).collect::<Vec<_>>())
}

/// A rank correlation with the accuracy after the last epoch.
pub struct Rank {
    pub noise: f64,
    pub side: &'static str,
    pub runs: usize,
    pub of_runs: Option<f64>,
    pub names: usize,
    pub of_names: Option<f64>,
}

pub fn ranks(rows: &[Row]) -> Vec<Rank> {
    let rank = |rows: &[Row], (name, side): (&'static str, Side)| {
        let runs: Vec<_> = rows.iter().map(|row| (side(row), row.last())).collect();
        let means: Vec<_> = by_name(rows).map(|runs| (mean(runs, side).mean, mean(runs, Row::last).mean)).collect();
        Rank {
            noise: rows[0].noise(),
            side: name,
            runs: runs.len(),
            of_runs: spearman(&runs),
            names: means.len(),
            of_names: spearman(&means),
        }
    };
    by_noise(rows).flat_map(|rows| SIDES.map(|side| rank(rows, side))).collect()
}

//! Loss and accuracy over the epochs, as a picture.

use std::error::Error;
use std::path::Path;

use miadam_support::plot::{self, Chart, Curve};

use crate::metrics::Epoch;

/// The epochs so far.
#[derive(Default)]
pub struct Curves {
    train_loss: Vec<(f64, f64)>,
    test_loss: Vec<(f64, f64)>,
    accuracy: Vec<(f64, f64)>,
}

impl Curves {
    /// What is not finite is not drawn.
    pub fn add(&mut self, epoch: &Epoch) {
        let &Epoch { epoch, train_loss, test_loss, test_accuracy, .. } = epoch;
        let add = |points: &mut Vec<_>, value: f64| {
            if value.is_finite() {
                points.push((f64::from(epoch), value));
            }
        };
        add(&mut self.train_loss, train_loss);
        add(&mut self.test_loss, test_loss);
        add(&mut self.accuracy, 100.0 * test_accuracy);
    }

    pub fn draw(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        if self.accuracy.is_empty() {
            return Err("--plot: this run has trained no epoch; resume with more --epochs".into());
        }
        let curve = |name: &str, points: &Vec<_>| Curve { name: name.into(), points: points.clone() };
        let losses = [curve("training, each batch before its step", &self.train_loss), curve("test", &self.test_loss)];
        let accuracy = [curve("test", &self.accuracy)];
        plot::draw(
            file,
            &[
                Chart { curves: &losses, across: "epoch", up: "cross-entropy, nats" },
                Chart { curves: &accuracy, across: "epoch", up: "accuracy, %" },
            ],
        )
    }
}

//! What is reported of each epoch, for people and as JSON lines.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One line of `--metrics`.
#[derive(Debug, Serialize)]
pub struct Epoch<'a> {
    /// Counted from 1.
    pub epoch: u32,
    /// Mean cross-entropy in nats, each batch before its own step.
    pub train_loss: f64,
    /// Mean cross-entropy in nats after the epoch.
    pub test_loss: f64,
    /// Fraction, 0 to 1, after the epoch.
    pub test_accuracy: f64,
    /// Of training; testing is not counted.
    pub seconds: f64,
    pub device: &'a str,
}

impl fmt::Display for Epoch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, train_loss, test_loss, test_accuracy, seconds, .. } = self;
        let percent = 100.0 * test_accuracy;
        write!(
            f,
            "epoch {epoch}: train loss {train_loss:.4}, test loss {test_loss:.4}, test accuracy {percent:.2} %, {seconds:.2} s"
        )
    }
}

/// The file of `--metrics`.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    pub fn create(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = File::create(path)
            .map_err(|error| format!("--metrics {}: {error}; name a file that can be written", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Whole lines at once, so that a reader may follow the file.
    pub fn write(&mut self, epoch: &Epoch<'_>) -> Result<(), Box<dyn Error>> {
        let line = serde_json::to_string(epoch)? + "\n";
        self.file.write_all(line.as_bytes()).map_err(|error| {
            let path = self.path.display();
            format!("--metrics {path}: {error}; make room or name another file").into()
        })
    }
}

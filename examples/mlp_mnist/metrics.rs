//! What is reported of each epoch, for people and as JSON lines.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use miadam::{GradOptions, Phase, Report};
use serde::{Deserialize, Serialize};

/// One line of `--metrics`.
#[derive(Debug, Serialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// Mean cross-entropy in nats, each batch before its own step.
    pub train_loss: f64,
    /// Mean cross-entropy in nats after the epoch.
    pub test_loss: f64,
    /// Fraction, 0 to 1, after the epoch.
    pub test_accuracy: f64,
    /// The time of training, without testing.
    pub seconds: f64,
    pub device: String,
    #[serde(flatten)]
    pub step: StepNumbers,
}

/// The optimizer's numbers after an epoch.
#[derive(Debug, Serialize)]
pub struct StepNumbers {
    /// The learning rate of the last step.
    pub lr: f64,
    /// What the last step taken did: `integrating` or `adam`.
    pub phase: &'static str,
    /// Steps skipped since training began.
    pub skipped: u32,
    /// The norm of the last step, before clipping; null in JSON if it is not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f32>,
    /// The factor on the next loss, where it is scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// Whether a step can be skipped at all.
    #[serde(skip)]
    skips: bool,
}

impl StepNumbers {
    pub fn new(report: &Report, options: &GradOptions) -> Self {
        // All tensors are in one group.
        let group = &report.groups[0];
        let phase = match group.phase {
            Phase::Integrating => "integrating",
            Phase::Adam => "adam",
        };
        Self {
            lr: group.lr,
            phase,
            skipped: report.skipped,
            grad_norm: report.grad_norm,
            loss_scale: options.scaler.map(|_| report.loss_scale),
            skips: options.skip_non_finite || options.scaler.is_some(),
        }
    }
}

impl fmt::Display for StepNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lr, phase, skipped, grad_norm, loss_scale, skips } = self;
        write!(f, "{phase}, lr {lr:.2e}")?;
        if let Some(norm) = grad_norm {
            write!(f, ", gradient norm {norm:.3e}")?;
        }
        if let Some(scale) = loss_scale {
            write!(f, ", loss scale {scale:e}")?;
        }
        if *skips {
            write!(f, ", {skipped} skipped")?;
        }
        Ok(())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, test_accuracy, seconds, .. } = self;
        let [train_loss, test_loss] = [self.train_loss, self.test_loss].map(rounded);
        let percent = 100.0 * test_accuracy;
        write!(
            f,
            "epoch {epoch}: train loss {train_loss}, test loss {test_loss}, test accuracy {percent:.2} %, {seconds:.2} s"
        )
    }
}

/// Four decimals, while there are not too many digits before them.
fn rounded(loss: f64) -> String {
    if loss < 1e4 { format!("{loss:.4}") } else { format!("{loss:.4e}") }
}

/// The file of `--metrics`.
pub struct Metrics {
    path: PathBuf,
    file: File,
    /// Whether nothing was there before, and nothing has been written.
    is_new: bool,
    /// The lines that a resumed run found in it.
    lines: Vec<Line>,
}

/// An epoch's line, and where it ends.
#[derive(Debug, PartialEq)]
struct Line {
    epoch: u32,
    end: u64,
}

impl Metrics {
    /// Opens the file and leaves it as it is: a run that does not start touches no other's metrics.
    pub fn open(path: &Path, is_resumed: bool) -> Result<Self, Box<dyn Error>> {
        let is_new = path.symlink_metadata().is_err();
        let unwritable = |error| failed(path, error, "name a file that can be written");
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(unwritable)?;
        let mut metrics = Self { path: path.to_owned(), file, is_new, lines: Vec::new() };
        // Of a pipe, nothing can be read again.
        if is_resumed && metrics.is_regular() {
            let text = fs::read_to_string(path)
                .map_err(|error| failed(path, error, "name a file that can be read, or a new one"))?;
            metrics.lines = lines(&text).map_err(|line| {
                failed(path, format!("line {line} is no epoch of a run"), "name the run's own file, or a new one")
            })?;
        }
        Ok(metrics)
    }

    fn is_regular(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.is_file())
    }

    /// Begins after so many epochs. The lines of later ones, which will be trained again, are removed.
    pub fn begin(&mut self, epochs: u32) -> Result<(), Box<dyn Error>> {
        self.is_new = false;
        if self.is_regular() {
            let cut = self.file.set_len(kept(&self.lines, epochs));
            cut.map_err(|error| failed(&self.path, error, "name a file that can be written"))?;
        }
        Ok(())
    }

    /// Whole lines at once, so that a reader may follow the file.
    pub fn write(&mut self, epoch: &Epoch) -> Result<(), Box<dyn Error>> {
        let line = serde_json::to_string(epoch)? + "\n";
        self.file.write_all(line.as_bytes()).map_err(|error| match error.kind() {
            // It is a pipe, such as /dev/stdout, whose reader has gone: the program's own end.
            ErrorKind::BrokenPipe => error.into(),
            _ => failed(&self.path, error, "make room or name another file"),
        })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if self.is_new {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path, reason: impl fmt::Display, remedy: &str) -> Box<dyn Error> {
    format!("--metrics {}: {reason}; {remedy}", path.display()).into()
}

/// All lines, or the number of the one that is no epoch's. A line without its end was not written to the end, and is none.
fn lines(text: &str) -> Result<Vec<Line>, usize> {
    #[derive(Deserialize)]
    struct Object {
        epoch: u32,
    }
    let mut end = 0;
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let lines = (1usize..).zip(whole).map(|(number, line)| {
        let Object { epoch } = serde_json::from_str(line).map_err(|_| number)?;
        end += line.len() as u64;
        Ok(Line { epoch, end })
    });
    lines.collect()
}

/// The length of the lines up to this epoch.
fn kept(lines: &[Line], epochs: u32) -> u64 {
    lines.iter().take_while(|line| line.epoch <= epochs).last().map_or(0, |line| line.end)
}

#[cfg(test)]
mod tests {
    use miadam::{GradScaler, Hyperparams, Param, ParamGroup, cpu};

    use super::*;

    /// An epoch that ends with a step by a gradient of 2.
    fn epoch(options: GradOptions) -> Epoch {
        let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 1)]);
        let mut optimizer = cpu::MiAdam::new([group]).unwrap();
        optimizer.set_grad_options(options).unwrap();
        let (mut w, mut grad) = ([1.0f32], [2.0 * optimizer.read_report().loss_scale]);
        optimizer.step([cpu::Binding::new("w", &mut w, &mut grad)]).unwrap();
        let step = StepNumbers::new(&optimizer.read_report(), &options);
        Epoch {
            epoch: 3,
            train_loss: 0.5,
            test_loss: 0.25,
            test_accuracy: 0.875,
            seconds: 1.5,
            device: "CPU".into(),
            step,
        }
    }

    #[test]
    fn what_is_not_measured_is_left_out() {
        let plain = epoch(GradOptions::default());
        let expected = r#"{"epoch":3,"train_loss":0.5,"test_loss":0.25,"test_accuracy":0.875,"seconds":1.5,"device":"CPU","lr":0.001,"phase":"integrating","skipped":0}"#;
        assert_eq!(serde_json::to_string(&plain).unwrap(), expected);
        let line = "epoch 3: train loss 0.5000, test loss 0.2500, test accuracy 87.50 %, 1.50 s";
        assert_eq!(plain.to_string(), line);
        assert_eq!(plain.step.to_string(), "integrating, lr 1.00e-3");
    }

    #[test]
    fn a_loss_out_of_bounds_stays_short() {
        for (loss, shown) in [
            (0.12345, "0.1235"),
            (9999.0, "9999.0000"),
            (1e300, "1.0000e300"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(rounded(loss), shown);
        }
    }

    #[test]
    fn a_resumed_run_keeps_the_lines_before_it() {
        let text = "{\"epoch\":1,\"lr\":1}\n{\"epoch\":2,\"lr\":1}\n{\"epoch\":3,\"lr\":1}\n";
        let line = text.len() / 3;
        let kept = |text, epochs| lines(text).map(|lines| kept(&lines, epochs) as usize);
        for epochs in 0..5 {
            assert_eq!(kept(text, epochs), Ok(line * epochs.min(3) as usize));
        }
        assert_eq!(kept(&text[..text.len() - 1], 3), Ok(2 * line), "a line that was not finished");
        assert_eq!(kept("", 3), Ok(0));
        assert_eq!(kept("{\"epoch\":1}\nnotes\n", 3), Err(2));
    }

    #[test]
    fn what_is_measured_is_there() {
        let all = epoch(GradOptions { scaler: Some(GradScaler::default()), ..GradOptions::default() });
        let json = serde_json::to_string(&all).unwrap();
        let end = r#""phase":"integrating","skipped":0,"grad_norm":2.0,"loss_scale":65536.0}"#;
        assert!(json.ends_with(end), "{json}");
        let step = all.step.to_string();
        assert_eq!(step, "integrating, lr 1.00e-3, gradient norm 2.000e0, loss scale 6.5536e4, 0 skipped");
    }
}

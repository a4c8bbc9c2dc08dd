//! A run that was stopped and resumed is the same as one that was never stopped.

mod defaults;
mod process;
mod refused;
#[cfg(unix)]
mod targets;

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use miadam_support::command_line;
use serde_json::Value;

use crate::args::Args;
use crate::run_file::{RunFile, Saved};
use crate::tests::gpu;
use crate::training::run;

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mlp_mnist-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// The flags of a run of this name: its files besides those given.
    fn flags(&self, name: &str, flags: &str) -> String {
        let (checkpoint, metrics) = (self.checkpoint(name), self.metrics(name));
        format!("{flags} --checkpoint {} --metrics {}", checkpoint.display(), metrics.display())
    }

    fn checkpoint(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.safetensors"))
    }

    fn metrics(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.jsonl"))
    }

    /// All that a run has left in its files, but for the time that it took.
    fn outcome(&self, name: &str) -> (Saved, Vec<Value>) {
        let file = RunFile::new(&self.checkpoint(name));
        let metrics = fs::read_to_string(self.metrics(name)).unwrap();
        let lines = metrics.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("seconds").unwrap();
            line
        });
        (file.read().unwrap(), lines.collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_parse(flags: &str) -> Result<Args, String> {
    let words: Vec<_> = ["mlp_mnist"].into_iter().chain(flags.split_whitespace()).map(OsString::from).collect();
    let mut args: Args = command_line::parse(&words).map_err(|error| command_line::objection(&error))?;
    args.words = words;
    Ok(args)
}

fn parse(flags: &str) -> Args {
    try_parse(flags).unwrap()
}

/// What was said, without the breaks of lines that are too long.
fn unwrapped(said: &str) -> String {
    said.replace("\n  ", " ")
}

/// Runs until `asks` times were asked whether to stop. Returns the last line.
fn run_until(flags: &str, asks: usize) -> Result<String, String> {
    let (mut out, left) = (Vec::new(), Cell::new(asks));
    let is_stopped = || {
        left.set(left.get().saturating_sub(1));
        left.get() == 0
    };
    run(&try_parse(flags)?, &mut out, &is_stopped).map_err(|error| error.to_string())?;
    let said = String::from_utf8(out).unwrap();
    // A path may be longer.
    assert!(said.lines().all(|line| line.chars().count() <= 80 || !line.trim().contains(' ')), "{said}");
    let said = unwrapped(&said);
    Ok(said.lines().last().unwrap().to_owned())
}

/// Runs to the end, in parts of so many asks. Returns how many ended inside an epoch.
fn run_in_parts(flags: &str, asks: usize) -> usize {
    let mut inside = 0;
    let mut last = run_until(flags, asks).unwrap();
    while !last.starts_with("test accuracy: ") {
        assert!(last.starts_with("stopped and saved ") && last.ends_with(" --resume"), "{last}");
        inside += usize::from(last.contains(" in epoch "));
        last = run_until(&format!("{flags} --resume"), asks).unwrap();
    }
    inside
}

/// 125 batches in an epoch, and rows that the GPU pads.
const SMALL: &str = "--epochs 3 --batch-size 64 --hidden 20";
/// 42 steps in an epoch, one of two batches; the learning rate is so large that some overflow and are skipped.
const ALL: &str = "--accumulate 3 --clip-norm 0.5 --clip-value 0.1 --loss-scale 8e37 --skip-non-finite \
                   --order 2 --lr 0.1 --step-scale unit-gain --schedule one-cycle --switch-epoch 2 \
                   --label-noise 0.1 --seed 3";

const F16: &str = "--dtype f16 --loss-scale --accumulate 2";
const BF16: &str = "--dtype bf16 --stochastic-rounding";

/// The devices that there are, each with a number of asks after which a part ends inside an epoch. The GPU asks after 32
/// batches, while 32 more run.
fn devices() -> Vec<(&'static str, usize)> {
    let mut devices = vec![("--device cpu", 37)];
    devices.extend(gpu().map(|_| ("--device gpu", 2)));
    devices
}

#[test]
fn a_resumed_run_is_the_same_to_the_bit() {
    let folder = Folder::new("same");
    for (device, asks) in devices() {
        for options in ["", ALL, F16, BF16] {
            let flags = format!("{device} {SMALL} {options}");
            let name = |part: &str| format!("{part}{device}{}", options.len()).replace(' ', "");
            let [whole, parts] = ["whole", "parts"].map(name);
            run_until(&folder.flags(&whole, &flags), usize::MAX).unwrap();
            let inside = run_in_parts(&folder.flags(&parts, &flags), asks);
            assert!(inside >= 3, "{flags}: only {inside} stops inside epochs");
            let (expected, found) = (folder.outcome(&whole), folder.outcome(&parts));
            assert_eq!(found.1, expected.1, "{flags}");
            assert_eq!(found.1.len(), 3, "{flags}");
            let skipped = found.1[2]["skipped"].as_u64().unwrap();
            assert_eq!(skipped > 0, options == ALL, "{flags}: {skipped} steps skipped");
            assert!(found.0.checkpoint == expected.0.checkpoint, "{flags}: another state");
        }
    }
}

#[test]
fn another_device_goes_on_nearly_the_same() {
    let devices = devices();
    let [(cpu, _), (gpu, _)] = devices[..] else { return };
    let folder = Folder::new("other");
    run_until(&folder.flags("whole", &format!("{cpu} {SMALL}")), usize::MAX).unwrap();
    let (_, expected) = folder.outcome("whole");
    for (name, first, asks, second) in [("there", gpu, 2, cpu), ("back", cpu, 60, gpu)] {
        let flags = |device: &str| folder.flags(name, &format!("{device} {SMALL}"));
        let last = run_until(&flags(first), asks).unwrap();
        assert!(last.contains("in epoch 1, after "), "{last}");
        run_until(&format!("{} --resume", flags(second)), usize::MAX).unwrap();
        let (_, found) = folder.outcome(name);
        for (found, expected) in found.iter().zip(&expected) {
            for loss in ["train_loss", "test_loss"] {
                let (found, expected) = (found[loss].as_f64().unwrap(), expected[loss].as_f64().unwrap());
                // Where a gradient is near 0, rounding decides the sign of Adam's step.
                assert!((found - expected).abs() < 5e-3 * expected, "{name}: {loss} {found}, not {expected}");
            }
        }
    }
}

#[test]
fn saves_come_when_they_are_due() {
    let folder = Folder::new("due");
    let flags = folder.flags("run", &format!("--device cpu {SMALL} --save-every 2"));
    let steps = || folder.outcome("run").0.checkpoint.step();
    // The run is stopped as soon as anything is saved, which is after the second epoch.
    let is_stopped = || folder.checkpoint("run").exists();
    let mut out = Vec::new();
    run(&parse(&flags), &mut out, &is_stopped).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("epoch 2: ") && !out.contains("epoch 3: "), "{out}");
    assert!(steps() > 250 && steps() < 375, "{} steps", steps());
    // A run may be given more epochs, and no fewer than it has begun.
    let longer = flags.replace("--epochs 3", "--epochs 4") + " --resume";
    let error = run_until(&longer.replace("--epochs 4", "--epochs 2"), usize::MAX).unwrap_err();
    assert!(error.starts_with("--epochs 2: ") && error.contains("choose 3 or more"), "{error}");
    run_until(&longer, usize::MAX).unwrap();
    let (saved, metrics) = folder.outcome("run");
    assert_eq!((saved.checkpoint.step(), metrics.len()), (500, 4));
    // Once all epochs are done, only the test is left.
    assert!(run_until(&longer, usize::MAX).unwrap().starts_with("test accuracy: "));
}

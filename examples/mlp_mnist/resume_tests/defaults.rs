//! Flags that are not given when a run goes on, and defaults that follow from other flags.

use std::f64::consts::FRAC_PI_2;
use std::fs;
use std::path::Path;

use miadam::Checkpoint;
use safetensors::{SafeTensors, serialize};
use serde_json::Value;

use super::{Folder, run_until};

/// A run of two epochs, saved.
fn saved(folder: &Folder, name: &str, flags: &str) -> Vec<Value> {
    saved_of(2, folder, name, flags)
}

fn saved_of(epochs: u32, folder: &Folder, name: &str, flags: &str) -> Vec<Value> {
    run_until(&folder.flags(name, &format!("--device cpu --hidden 8 --epochs {epochs} {flags}")), usize::MAX).unwrap();
    folder.outcome(name).1
}

fn resume(folder: &Folder, name: &str, flags: &str) -> Result<Vec<Value>, String> {
    let files = folder.flags(name, "");
    run_until(&format!("{files} --device cpu --resume {flags}"), usize::MAX).map(|_| folder.outcome(name).1)
}

fn copy(folder: &Folder, from: &str, to: &str) {
    fs::copy(folder.checkpoint(from), folder.checkpoint(to)).unwrap();
    fs::copy(folder.metrics(from), folder.metrics(to)).unwrap();
}

/// What the version before has saved: --epochs was not among the flags, and they were beside the optimizer's metadata.
fn make_older(path: &Path) {
    let mut checkpoint = Checkpoint::open(path).unwrap();
    let saved = checkpoint.user_data_mut().remove("mlp_mnist").unwrap();
    let mut run: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(run["flags"].as_object_mut().unwrap().remove("--epochs"), Some("2".into()));
    let bytes = checkpoint.to_bytes().unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut entries = header.metadata().clone().unwrap();
    entries.insert("mlp_mnist".to_owned(), run.to_string());
    let older = serialize(SafeTensors::deserialize(&bytes).unwrap().tensors(), Some(entries)).unwrap();
    fs::write(path, older).unwrap();
}

#[test]
fn more_epochs_keep_the_switch_of_the_saved_run() {
    let folder = Folder::new("longer");
    let two = saved(&folder, "two", "");
    // The run as it goes on: it switched after its first epoch, four fifths of two.
    let four = saved_of(4, &folder, "whole", "--switch-epoch 1");
    assert_eq!(two.iter().map(|line| line["phase"].as_str().unwrap()).collect::<Vec<_>>(), ["integrating", "adam"]);
    assert_eq!(four[..2], two[..]);
    for given in ["", "--hidden 8", "--switch-epoch 1", "--schedule constant --lr 0.001"] {
        copy(&folder, "two", "run");
        assert_eq!(resume(&folder, "run", &format!("--epochs 4 {given}")).unwrap(), four, "{given}");
        // Without --epochs, it has the saved ones, and those are done.
        assert_eq!(resume(&folder, "run", given).unwrap(), four, "{given}");
    }
    copy(&folder, "two", "run");
    make_older(&folder.checkpoint("run"));
    assert_eq!(resume(&folder, "run", "--epochs 4").unwrap(), four, "saved by the version before");
    let error = resume(&folder, "run", "--epochs 5 --switch-epoch 4").unwrap_err();
    assert!(error.starts_with("--switch-epoch: 1 when the run was saved and 4 now"), "{error}");
}

#[test]
fn more_epochs_keep_the_schedule_of_the_saved_run() {
    let folder = Folder::new("scheduled");
    // 63 steps in an epoch: the three cosines over 18, 36 and 72 steps are over, and this is step 62 of a fourth of 144.
    let restarted = 1e-3 * (FRAC_PI_2 * 62.0 / 144.0).cos().powi(2);
    for (schedule, last) in [
        ("linear", 0.0),
        ("polynomial", 0.0),
        ("warmup-cosine", 0.0),
        ("cosine-restarts", restarted),
        ("multi-step", 1e-5),
        ("one-cycle", 1e-3 / 250_000.0),
    ] {
        let two = saved(&folder, schedule, &format!("--schedule {schedule}"));
        let mut kept = Vec::new();
        for is_older in [false, true] {
            copy(&folder, schedule, "run");
            if is_older {
                make_older(&folder.checkpoint("run"));
            }
            assert_eq!(resume(&folder, "run", "").unwrap(), two, "{schedule}");
            let three = resume(&folder, "run", "--epochs 3").unwrap();
            assert_eq!((&three[..2], three.len()), (&two[..], 3), "{schedule}");
            let lr = three[2]["lr"].as_f64().unwrap();
            assert!((lr - last).abs() <= 1e-9 * last, "{schedule}: {lr}, not {last}");
            kept.push(three);
        }
        assert_eq!(kept[0], kept[1]);
        let error = resume(&folder, "run", "--schedule constant").unwrap_err();
        let start = format!("--schedule: {schedule} over --epochs 2 when the run was saved and constant now");
        assert!(error.starts_with(&start), "{error}");
    }
}

/// Every flag that decides on a run's metrics: a value of the saved run, and others.
const FLAGS: [(&str, &str, &[&str]); 17] = [
    ("--batch-size", "--batch-size 100", &["--batch-size 128", "--batch-size 99"]),
    ("--hidden", "", &["--hidden 7", "--hidden 256"]),
    ("--lr", "--lr 0.01", &["--lr 0.001", "--lr 0.02"]),
    ("--order", "--order 2", &["--order 1", "--order 0"]),
    ("--kappa", "--kappa 0.25", &["--kappa 0.5", "--kappa 0"]),
    ("--switch-epoch", "--switch-epoch 0", &["--switch-epoch 1", "--switch-epoch 2"]),
    ("--step-scale", "--step-scale unit-gain", &["--step-scale paper"]),
    ("--label-noise", "--label-noise 0.25", &["--label-noise 0", "--label-noise 0.5"]),
    ("--seed", "--seed 7", &["--seed 0", "--seed 8"]),
    ("--clip-norm", "--clip-norm 0.5", &["--clip-norm inf"]),
    ("--clip-value", "--clip-value 0.01", &["--clip-value 1"]),
    ("--accumulate", "--accumulate 3", &["--accumulate 1", "--accumulate 2"]),
    ("--loss-scale", "--loss-scale 8", &["--loss-scale", "--loss-scale 16"]),
    ("--skip-non-finite", "--skip-non-finite", &[]),
    ("--schedule", "--schedule multi-step", &["--schedule constant", "--schedule one-cycle"]),
    ("--dtype", "--dtype f16", &["--dtype f32", "--dtype bf16"]),
    ("--stochastic-rounding", "--dtype bf16 --stochastic-rounding", &[]),
];

#[test]
fn only_what_is_given_is_compared() {
    let folder = Folder::new("given");
    saved(&folder, "plain", "");
    for (number, (flag, was, others)) in FLAGS.into_iter().enumerate() {
        let name = &format!("run{number}");
        let two = saved(&folder, name, was);
        // Not given, or the same, with its defaults or without.
        for same in ["", was, "--epochs 2"] {
            assert_eq!(resume(&folder, name, same).unwrap(), two, "{was}, then {same:?}");
        }
        for other in others {
            let error = resume(&folder, name, other).unwrap_err();
            assert!(error.starts_with(&format!("{flag}: ")) && error.contains("; make it the same"), "{was}: {error}");
        }
        // A flag that the saved run did not have.
        if let Some(first) = was.split_whitespace().next() {
            let error = resume(&folder, "plain", was).unwrap_err();
            assert!(error.starts_with(&format!("{first}: ")) && error.contains("; make it the same"), "{was}: {error}");
        }
    }
}

//! Flags that comparisons with the paper need, from the command line to what they decide on.

use std::fs;

use miadam::{Hyperparams, WeightDecay};
use miadam_support::command_line::parse;

use crate::args::Args;
use crate::training;

fn args(words: &str) -> Args {
    parse(format!("mlp_mnist {words}").split(' ')).unwrap()
}

fn run(words: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let result = training::run(&args(words), &mut out, &|| false);
    result.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn betas_and_decay_are_the_optimizers() {
    let of = |words| args(words).recipe(1000).unwrap().hyperparams;
    let Hyperparams { beta1, beta2, weight_decay, .. } = of("--beta1 0.95 --beta2 0.99 --weight-decay 5e-5");
    assert_eq!((beta1, beta2, weight_decay), (0.95, 0.99, WeightDecay::Coupled(5e-5)));
    let Hyperparams { beta1, beta2, weight_decay, .. } = of("--epochs 2");
    assert_eq!((beta1, beta2, weight_decay), (0.9, 0.999, WeightDecay::None));
}

#[test]
fn a_run_says_what_it_trains_on_what_and_draws_every_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("curves.svg");
    let told = run(&format!("--device cpu --hidden 8 --epochs 3 --label-noise 0.2 --plot {}", file.display())).unwrap();
    let task = told.lines().skip(1).take(2).collect::<Vec<_>>().join(" ");
    for part in ["784-8-10", "MIAdam1", "8000 labels", "20 % of them wrong", "2000 to test"] {
        assert!(task.contains(part), "{task:?} does not say {part:?}");
    }
    let picture = fs::read_to_string(file).unwrap();
    let curves: Vec<_> = picture.lines().filter(|line| line.starts_with("<polyline")).collect();
    assert_eq!(curves.len(), 3, "training loss, test loss, accuracy");
    for curve in curves {
        let points = curve.split("points=").nth(1).unwrap();
        assert_eq!(points.matches(',').count(), 3, "{curve}");
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_refused_before_the_training() {
    let error = run("--device cpu --epochs 100000 --plot /nowhere/at/all.svg").unwrap_err();
    assert!(error.contains("--plot") && error.contains("/nowhere/at"), "{error}");
    let error = run("--device cpu --epochs 100000 --plot m.svg --metrics m.svg").unwrap_err();
    assert!(error.contains("each its own"), "{error}");
}

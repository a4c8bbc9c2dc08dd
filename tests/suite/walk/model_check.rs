//! The model against PyTorch, in `f64` on both sides.

use std::collections::BTreeMap;

use miadam_support::replay::Case;

use super::model::Model;
use crate::golden::Golden;

/// Both sides round in `f64`, which has 2⁻⁵² for an epsilon. An update is a difference of parameters, and errors add up over
/// the steps.
const TOLERANCE: f64 = 64.0 * f64::EPSILON;

/// The updates of every step, and each parameter's own count after the last.
fn check(golden: &Golden, case: &Case) {
    let mut model = Model { options: case.grad_options, ..Model::default() };
    for (number, group) in case.groups.iter().enumerate() {
        model.groups.push(group.hyperparams.clone());
        for tensor in &group.params {
            let theta: Vec<_> = tensor.values.iter().copied().map(f64::from).collect();
            model.add(&tensor.name, number, tensor.dtype, &theta);
        }
    }
    let expected: BTreeMap<_, _> =
        case.tensors().map(|tensor| (&tensor.name, golden.expected("update", &tensor.name))).collect();
    for (step, recorded) in case.steps.iter().enumerate() {
        for (group, &lr) in recorded.lrs.iter().enumerate() {
            model.groups[group].lr = lr;
        }
        let mut grads = BTreeMap::new();
        for (tensor, grad) in case.tensors().zip(&recorded.grads) {
            model.tensor(&tensor.name).skipped = grad.is_none();
            // Nobody may look at the gradient of one that rests.
            let grad = grad.as_ref().map(|grad| grad.iter().copied().map(f64::from).collect());
            grads.insert(tensor.name.clone(), grad.unwrap_or(vec![f64::NAN; tensor.values.len()]));
        }
        let before = model.params.clone();
        model.step(&mut grads);
        for (name, tensor) in &model.params {
            for (i, (theta, before)) in tensor.theta.iter().zip(&before[name].theta).enumerate() {
                let (update, scale) = expected[name][step * tensor.len() + i];
                let bound = TOLERANCE * (scale + theta.abs());
                let found = theta - before;
                assert!(
                    (found - update).abs() <= bound,
                    "{}: update {} of {name}[{i}] is {found:e}, not {update:e} ± {bound:e}",
                    golden.name,
                    step + 1
                );
            }
        }
    }
    for (name, tensor) in &model.params {
        let taken = golden.floats_if_any(&format!("expect/count/{name}"));
        let taken = taken.map_or(f64::from(model.step), |taken| taken[0]);
        assert_eq!(f64::from(tensor.count), taken, "{}: steps of {name}", golden.name);
    }
}

#[test]
fn the_model_is_pytorchs() {
    let mut living = 0;
    for golden in Golden::all() {
        let case = golden.case();
        // A loss scale is not in the model, and gradients that were added up in `f32` are not PyTorch's in `f64`.
        if case.grad_options.scaler.is_some() || case.grad_options.factor != 1.0 {
            continue;
        }
        check(&golden, &case);
        living += usize::from(golden.name.starts_with("living"));
    }
    assert_eq!(living, 9);
}

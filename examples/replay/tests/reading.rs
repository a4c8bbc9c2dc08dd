//! What is read from a case.

use miadam::{GradOptions, GradScaler, Schedule};
use miadam_support::replay::{Case, check};
use safetensors::Dtype;

use super::good;

#[test]
fn reads_a_case() {
    let case = good().meta("lr_per_step", "[0.5, [1, 2]]").meta("format", "pt").case();
    let tensors: Vec<_> = case.tensors().map(|tensor| (&tensor.name[..], &tensor.shape[..])).collect();
    assert_eq!(tensors, [("s", &[][..]), ("a.b/c", &[2, 3][..])]);
    assert_eq!(case.steps.len(), 2);
    assert_eq!(case.steps[0].lrs, [0.5, 0.5]);
    assert_eq!(case.steps[1].lrs, [1.0, 2.0]);
    assert_eq!(case.steps[1].grads, [Some(vec![1.0]), Some(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    assert_eq!(case.grad_options, GradOptions::default());
    assert!(case.groups.iter().all(|group| group.hyperparams.schedule == Schedule::Constant));
}

#[test]
fn a_gradient_may_be_missing() {
    let case = good().without("grad/1/s").set("grad/4/s", Dtype::F32, &[]).case();
    let has = |step: usize| case.steps[step].grads.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(case.steps.len(), 4);
    assert_eq!([0, 1, 2, 3].map(has), [[false, true], [true, true], [false, false], [true, false]]);
    // The longest rest that there may be.
    assert_eq!(good().set("grad/103/s", Dtype::F32, &[]).case().steps.len(), 103);
}

#[test]
fn reads_the_options_for_gradients() {
    let plain = GradOptions::default();
    let scaler = |scaler| GradOptions { scaler: Some(scaler), ..plain };
    let default = GradScaler::default();
    let all = r#"{"init_scale": 1000, "growth_factor": 3, "backoff_factor": 0.25, "growth_interval": 7}"#;
    let every = GradScaler { init_scale: 1000.0, growth_factor: 3.0, backoff_factor: 0.25, growth_interval: 7 };
    for (key, value, expected) in [
        ("max_grad_norm", "0", GradOptions { clip_norm: Some(0.0), ..plain }),
        ("max_grad_norm", "1e300", GradOptions { clip_norm: Some(1e300), ..plain }),
        ("clip_value", "2.5", GradOptions { clip_value: Some(2.5), ..plain }),
        ("grad_factor", "0.25", GradOptions { factor: 0.25, ..plain }),
        ("skip_non_finite", "true", GradOptions { skip_non_finite: true, ..plain }),
        ("skip_non_finite", "false", plain),
        ("zero_grads", "true", GradOptions { zero: true, ..plain }),
        ("zero_grads", "false", plain),
        ("scaler", "{}", scaler(default)),
        ("scaler", r#"{"growth_interval": 3}"#, scaler(GradScaler { growth_interval: 3, ..default })),
        ("scaler", all, scaler(every)),
    ] {
        assert_eq!(good().meta(key, value).case().grad_options, expected, "{key}: {value}");
    }
}

#[test]
fn reads_every_schedule() {
    let warmup = Schedule::LinearWarmup { start_factor: 0.5, steps: 3 };
    let linear = Schedule::Linear { start_factor: 1.5, end_factor: 0.0, steps: 3 };
    let polynomial = Schedule::Polynomial { steps: 9, power: 2.0, end_factor: 0.1 };
    let restarts = Schedule::CosineRestarts { steps: 4, growth: 2, end_factor: 0.0 };
    let one_cycle = Schedule::OneCycle { steps: 10, warmup: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
    for (json, expected) in [
        (r#"{"kind": "constant"}"#, Schedule::Constant),
        (r#"{"kind": "linear_warmup", "start_factor": 0.5, "steps": 3}"#, warmup.clone()),
        (r#"{"kind": "linear", "start_factor": 1.5, "end_factor": 0, "steps": 3}"#, linear.clone()),
        (r#"{"kind": "polynomial", "steps": 9, "power": 2, "end_factor": 0.1}"#, polynomial),
        (r#"{"kind": "cosine_restarts", "steps": 4, "growth": 2, "end_factor": 0}"#, restarts),
        (r#"{"kind": "cosine", "steps": 100, "end_factor": 0}"#, Schedule::Cosine { steps: 100, end_factor: 0.0 }),
        (r#"{"kind": "step", "every": 2, "gamma": 0.1}"#, Schedule::Step { every: 2, gamma: 0.1 }),
        (r#"{"kind": "multi_step", "at": [1, 5], "gamma": 2}"#, Schedule::MultiStep { at: vec![1, 5], gamma: 2.0 }),
        (r#"{"kind": "exponential", "gamma": 0.9}"#, Schedule::Exponential { gamma: 0.9 }),
        (r#"{"kind": "one_cycle", "steps": 10, "warmup": 0.3, "div_factor": 25, "final_div_factor": 1e4}"#, one_cycle),
        (
            r#"{"kind": "sequence", "pieces": [
                [0, {"kind": "linear_warmup", "start_factor": 0.5, "steps": 3}], [3, {"kind": "constant"}]
            ]}"#,
            Schedule::Sequence(vec![(0, warmup), (3, Schedule::Constant)]),
        ),
        (
            r#"{"kind": "scaled", "factor": 0.5, "schedule":
                {"kind": "linear", "start_factor": 1.5, "end_factor": 0, "steps": 3}
            }"#,
            linear.scaled(0.5),
        ),
    ] {
        let case = good().scheduled(json).case();
        assert_eq!(case.groups[0].hyperparams.schedule, Schedule::Constant);
        assert_eq!(case.groups[1].hyperparams.schedule, expected);
        check(&case).unwrap();
    }
    // A schedule that changes nothing leaves room for the learning rates of the steps.
    assert!(
        Case::from_bytes(&good().scheduled(r#"{"kind": "constant"}"#).meta("lr_per_step", "[1, 1]").bytes()).is_ok()
    );
}

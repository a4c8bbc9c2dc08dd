//! Schedules that cannot be, or leave the range of `f32`.

use miadam::{Error, Hyperparams, Schedule, WeightDecay, cpu};

use super::cosine;
use crate::common::{empty_groups, empty_on_gpu, gpu};

#[test]
fn values_out_of_range() {
    let Some(gpu) = gpu() else { return };
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    let mut bad = Vec::new();
    for start_factor in [-0.1, 1.1, nan, infinite, -infinite] {
        bad.push(("schedule.start_factor", Schedule::LinearWarmup { start_factor, steps: 1 }));
    }
    for value in [-0.1, nan, infinite, -infinite] {
        let linear = |start_factor, end_factor| Schedule::Linear { start_factor, end_factor, steps: 1 };
        bad.push(("schedule.start_factor", linear(value, 1.0)));
        bad.push(("schedule.end_factor", linear(1.0, value)));
        bad.push(("schedule.end_factor", Schedule::Polynomial { steps: 1, power: 1.0, end_factor: value }));
        bad.push(("schedule.end_factor", Schedule::CosineRestarts { steps: 1, growth: 1, end_factor: value }));
        bad.push(("schedule.factor", cosine().scaled(value)));
        bad.push(("schedule.end_factor", Schedule::Cosine { steps: 1, end_factor: value }));
        bad.push(("schedule.gamma", Schedule::Step { every: 1, gamma: value }));
        bad.push(("schedule.gamma", Schedule::MultiStep { at: vec![1], gamma: value }));
        bad.push(("schedule.gamma", Schedule::Exponential { gamma: value }));
    }
    let one_cycle = |steps, warmup, div_factor, final_div_factor| Schedule::OneCycle {
        steps,
        warmup,
        div_factor,
        final_div_factor,
    };
    for value in [-0.1, 1.1, nan, infinite, -infinite] {
        bad.push(("schedule.warmup", one_cycle(9, value, 25.0, 1e4)));
    }
    for value in [-1.0, 0.0, nan, infinite, -infinite] {
        bad.push(("schedule.power", Schedule::Polynomial { steps: 1, power: value, end_factor: 0.0 }));
        bad.push(("schedule.div_factor", one_cycle(9, 0.3, value, 1e4)));
        bad.push(("schedule.final_div_factor", one_cycle(9, 0.3, 25.0, value)));
    }
    let sequence = |firsts: &[u32]| Schedule::Sequence(firsts.iter().map(|&first| (first, cosine())).collect());
    let bad_piece = Schedule::Sequence(vec![(0, Schedule::Constant), (5, Schedule::Step { every: 0, gamma: 0.1 })]);
    bad.extend([
        ("schedule.steps", Schedule::LinearWarmup { start_factor: 0.1, steps: 0 }),
        ("schedule.steps", Schedule::Linear { start_factor: 1.0, end_factor: 0.0, steps: 0 }),
        ("schedule.steps", Schedule::Polynomial { steps: 0, power: 2.0, end_factor: 0.0 }),
        ("schedule.steps", Schedule::Cosine { steps: 0, end_factor: 0.0 }),
        ("schedule.steps", Schedule::CosineRestarts { steps: 0, growth: 2, end_factor: 0.0 }),
        ("schedule.growth", Schedule::CosineRestarts { steps: 3, growth: 0, end_factor: 0.0 }),
        ("schedule.steps", Schedule::warmup_cosine(0, 0, 0.0)),
        ("schedule.steps", Schedule::warmup_cosine(5, 5, 0.0)),
        ("schedule.steps", Schedule::warmup_cosine(u32::MAX, 5, 0.0)),
        ("schedule.end_factor", Schedule::warmup_cosine(5, 10, -0.1)),
        ("schedule.steps", Schedule::Cosine { steps: 0, end_factor: 0.0 }.scaled(0.5).scaled(0.5)),
        ("schedule.first_step", Schedule::Sequence(vec![(0, sequence(&[0, 3, 3]).scaled(0.5))])),
        ("schedule.every", Schedule::Step { every: 0, gamma: 0.1 }),
        ("schedule.steps", one_cycle(0, 0.3, 25.0, 1e4)),
        ("schedule.at", Schedule::MultiStep { at: vec![1, 5, 4], gamma: 0.1 }),
        ("schedule.pieces", sequence(&[])),
        ("schedule.first_step", sequence(&[1])),
        ("schedule.first_step", sequence(&[0, 5, 5])),
        ("schedule.first_step", sequence(&[0, 5, 4])),
        ("schedule.every", bad_piece.clone()),
        ("schedule.every", Schedule::Sequence(vec![(0, Schedule::Constant), (9, bad_piece)])),
        ("schedule.first_step", Schedule::Sequence(vec![(0, sequence(&[0, 3, 3]))])),
        // Factors that grow without end, or beyond f32.
        ("schedule.factor", Schedule::Exponential { gamma: 1.001 }),
        ("schedule.factor", Schedule::Step { every: 1000, gamma: 2.0 }),
        ("schedule.factor", Schedule::MultiStep { at: vec![1; 50], gamma: 10.0 }),
        ("schedule.factor", Schedule::Cosine { steps: 9, end_factor: 1e42 }),
        ("schedule.factor", Schedule::Linear { start_factor: 1e42, end_factor: 0.0, steps: 9 }),
        ("schedule.factor", Schedule::Polynomial { steps: 9, power: 2.0, end_factor: 1e42 }),
        ("schedule.factor", Schedule::CosineRestarts { steps: 9, growth: 1, end_factor: 1e42 }),
        ("schedule.factor", cosine().scaled(1e42)),
        ("schedule.factor", Schedule::Exponential { gamma: 1.001 }.scaled(1e-300)),
        ("schedule.factor", Schedule::Sequence(vec![(0, cosine()), (9, cosine().scaled(1e30).scaled(1e30))])),
        ("schedule.factor", one_cycle(9, 0.3, 1e-42, 1e4)),
        ("schedule.factor", Schedule::Sequence(vec![(0, Schedule::Exponential { gamma: 2.0 }), (200, cosine())])),
    ]);
    for (field, schedule) in bad {
        // No panic, whatever they are.
        for step in [0, 1, 5, u32::MAX] {
            let _ = schedule.factor(step);
        }
        let hyperparams = Hyperparams { schedule: schedule.clone(), ..Hyperparams::default() };
        let groups = empty_groups([Hyperparams::default(), hyperparams.clone()]);
        let error = empty_on_gpu(&gpu, groups).expect_err(&format!("{schedule:?}"));
        assert!(matches!(error, Error::InvalidHyperparam { group: 1, field: f, .. } if f == field), "{error}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("group 1: `{field}` is ")), "{message}");
        assert!(message.contains("; it must be ") && !message.contains('\n'), "{message}");
        let error = cpu::MiAdam::new(empty_groups([hyperparams])).expect_err(field);
        assert!(matches!(error, Error::InvalidHyperparam { group: 0, field: f, .. } if f == field), "{error}");
    }
    // What the messages say.
    let message = |schedule| Hyperparams { schedule, ..Default::default() }.validate(2).unwrap_err().to_string();
    assert_eq!(
        message(sequence(&[0, 5, 4])),
        "group 2: `schedule.first_step` is 4; it must be above that of the piece before it"
    );
    assert_eq!(
        message(Schedule::Exponential { gamma: 1.001 }),
        "group 2: `schedule.factor` is inf; it must be such that lr times it is in the range of f32 at every step; \
         end what grows by a Sequence"
    );
    assert_eq!(message(sequence(&[])), "group 2: `schedule.pieces` is 0; it must be at least 1 in a sequence");

    // The ends of the ranges are allowed.
    for schedule in [
        Schedule::LinearWarmup { start_factor: 0.0, steps: u32::MAX },
        Schedule::Linear { start_factor: 0.0, end_factor: 0.0, steps: u32::MAX },
        Schedule::Linear { start_factor: 1e40, end_factor: 1e39, steps: 1 },
        Schedule::Polynomial { steps: u32::MAX, power: f64::MAX, end_factor: 0.0 },
        Schedule::Polynomial { steps: 1, power: f64::MIN_POSITIVE, end_factor: 1e40 },
        Schedule::Cosine { steps: 1, end_factor: 0.0 },
        Schedule::CosineRestarts { steps: u32::MAX, growth: u32::MAX, end_factor: 0.0 },
        Schedule::CosineRestarts { steps: 1, growth: 1, end_factor: 1e42 },
        cosine().scaled(0.0),
        Schedule::Exponential { gamma: 2.0 }.scaled(0.0),
        Schedule::Step { every: u32::MAX, gamma: 0.0 },
        Schedule::MultiStep { at: vec![0, 0, u32::MAX], gamma: 0.0 },
        Schedule::Exponential { gamma: 0.0 },
        one_cycle(1, 0.0, 1e-30, f64::MAX),
        one_cycle(u32::MAX, 1.0, f64::MAX, f64::MAX),
        // As in a test of the range of learning rates.
        Schedule::Sequence(vec![(0, Schedule::Exponential { gamma: 1.1 }), (100, Schedule::Constant)]),
    ] {
        Hyperparams { schedule, ..Hyperparams::default() }.validate(0).unwrap();
    }
}

#[test]
fn step_scales_out_of_range() {
    let rising = Schedule::Cosine { steps: 9, end_factor: 1e10 };
    let with = |schedule: &Schedule, lr, order| {
        let schedule = schedule.clone();
        Hyperparams { lr, order, schedule, weight_decay: WeightDecay::Decoupled(1.0), ..Hyperparams::default() }
    };
    let remedy = "bring `lr` nearer to 1, lower `order`, or use `StepScale::UnitGain`";
    // A factor that goes to 0 is welcome; a base that vanishes is not.
    for schedule in [cosine(), Schedule::Exponential { gamma: 0.0 }, Schedule::Constant] {
        with(&schedule, 1e-3, 12).validate(0).unwrap();
        let expected = Error::StepScaleRange { group: 0, lr: 1e-3, order: 13, scale: 1e-3f64.powf(13.0), remedy };
        assert_eq!(with(&schedule, 1e-3, 13).validate(0), Err(expected));
    }
    // The largest factor counts for what is too large.
    with(&rising, 1e-3, 5).validate(0).unwrap();
    let error = with(&rising, 1e-3, 6).validate(0).unwrap_err();
    assert_eq!(error, Error::StepScaleRange { group: 0, lr: 1e7, order: 6, scale: 1e7f64.powf(6.0), remedy });
    // It counts for the decay, too.
    let decay = Hyperparams { weight_decay: WeightDecay::Decoupled(1e35), ..with(&rising, 1e-3, 1) };
    assert!(matches!(decay.validate(0), Err(Error::InvalidHyperparam { field: "weight_decay", .. })));
    // And for `set_lr`, which may go down to 0.
    let mut optimizer = cpu::MiAdam::new(empty_groups([with(&rising, 1e-3, 5)])).unwrap();
    optimizer.set_lr(0, 0.0).unwrap();
    optimizer.set_lr(0, 1e-30).unwrap();
    assert!(matches!(optimizer.set_lr(0, 1.0), Err(Error::StepScaleRange { lr: 1e10, .. })));
    assert!(matches!(optimizer.set_lr(0, 1e30), Err(Error::InvalidHyperparam { field: "schedule.factor", .. })));
    assert_eq!(optimizer.hyperparams().next().unwrap().lr, 1e-30, "unchanged");
}

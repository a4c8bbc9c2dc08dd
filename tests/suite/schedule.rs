//! Schedules: PyTorch's learning rate at every step, and on both devices the step that goes with it.

use miadam::{Error, Hyperparams, MiAdam, Param, ParamGroup, Schedule, Slice, StepScale, WeightDecay, cpu};
use serde::Deserialize;

use crate::common::{Gpu, Home, Random, Rig, Spot, bits, gpu, scatter};
use crate::parity::assert_parity;

/// A case of tests/golden/schedules.py.
#[derive(Deserialize)]
struct Case {
    lr: f64,
    lrs: Vec<f64>,
    #[serde(flatten)]
    schedule: Described,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Described {
    Constant,
    LinearWarmup { start_factor: f64, steps: u32 },
    Cosine { steps: u32, end_factor: f64 },
    Step { every: u32, gamma: f64 },
    MultiStep { at: Vec<u32>, gamma: f64 },
    Exponential { gamma: f64 },
    OneCycle { steps: u32, warmup: f64, div_factor: f64, final_div_factor: f64 },
    Sequence { pieces: Vec<(u32, Described)> },
}

impl From<Described> for Schedule {
    fn from(described: Described) -> Self {
        match described {
            Described::Constant => Self::Constant,
            Described::LinearWarmup { start_factor, steps } => Self::LinearWarmup { start_factor, steps },
            Described::Cosine { steps, end_factor } => Self::Cosine { steps, end_factor },
            Described::Step { every, gamma } => Self::Step { every, gamma },
            Described::MultiStep { at, gamma } => Self::MultiStep { at, gamma },
            Described::Exponential { gamma } => Self::Exponential { gamma },
            Described::OneCycle { steps, warmup, div_factor, final_div_factor } => {
                Self::OneCycle { steps, warmup, div_factor, final_div_factor }
            }
            Described::Sequence { pieces } => {
                Self::Sequence(pieces.into_iter().map(|(first, piece)| (first, piece.into())).collect())
            }
        }
    }
}

fn golden() -> Vec<(Hyperparams, Vec<f64>)> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/schedules.json")).unwrap();
    let hyperparams = |lr, schedule: Described| Hyperparams { lr, schedule: schedule.into(), ..Default::default() };
    cases.into_iter().map(|case| (hyperparams(case.lr, case.schedule), case.lrs)).collect()
}

fn cosine() -> Schedule {
    Schedule::Cosine { steps: 6, end_factor: 0.1 }
}

/// One of each kind, all over before step 10 but those that never end.
fn all_kinds() -> [Schedule; 8] {
    [
        Schedule::Constant,
        Schedule::LinearWarmup { start_factor: 0.1, steps: 4 },
        cosine(),
        Schedule::Step { every: 2, gamma: 0.5 },
        Schedule::MultiStep { at: vec![1, 5, 5], gamma: 0.3 },
        Schedule::Exponential { gamma: 0.7 },
        Schedule::OneCycle { steps: 7, warmup: 0.4, div_factor: 10.0, final_div_factor: 20.0 },
        Schedule::Sequence(vec![(0, Schedule::LinearWarmup { start_factor: 0.0, steps: 3 }), (3, cosine())]),
    ]
}

/// Groups that differ in all that a learning rate goes into, one for each kind of schedule.
fn groups() -> Vec<Hyperparams> {
    let scales = [StepScale::Paper, StepScale::Reference, StepScale::UnitGain];
    let decays = [WeightDecay::Decoupled(0.1), WeightDecay::None, WeightDecay::Coupled(0.1)];
    let group = |(number, schedule): (usize, Schedule)| Hyperparams {
        lr: 0.05,
        schedule,
        order: number as u32 % 4,
        switch_step: [5, Hyperparams::NEVER][number % 2],
        step_scale: scales[number % 3],
        weight_decay: decays[number % 3],
        ..Hyperparams::default()
    };
    all_kinds().into_iter().enumerate().map(group).collect()
}

fn rig(gpu: &Gpu, groups: &[Hyperparams]) -> Rig {
    let lens: Vec<_> = (0..groups.len()).flat_map(|group| [(group, 37), (group, 512 + group)]).collect();
    let (buffers, spots) = scatter(&mut Random(3), &lens, Home::OnePool);
    let mut rig = Rig::new(gpu.clone(), groups, &buffers, &spots, 4);
    let mut random = Random(5);
    rig.set_grads(|| random.normal());
    rig
}

#[test]
fn match_pytorch_at_every_step() {
    let golden = golden();
    assert!(golden.len() >= 45);
    for (hyperparams, lrs) in golden {
        hyperparams.validate(0).unwrap();
        for (step, lr) in (0..).zip(lrs) {
            let found = hyperparams.lr_at(step);
            // The file's 13 digits are off by up to 2⁻⁴⁰·⁸ of a number. What PyTorch's own roundings of 2⁻⁵³ add up
            // to is less: it multiplies the learning rate before by a quotient, at each of up to 200 steps.
            let tolerance = 2f64.powi(-40) * lr;
            assert!((found - lr).abs() <= tolerance, "{:?}, step {step}: {found:e}, not {lr:e}", hyperparams.schedule);
            // Far below an f32's rounding: the same number, or its neighbour where that is close to a tie.
            let ulps = (found as f32).to_bits().abs_diff((lr as f32).to_bits());
            assert!(ulps <= 1, "{:?}, step {step}: {ulps} ulp", hyperparams.schedule);
        }
    }
}

#[test]
fn keep_their_last_value() {
    let ends = [1.0, 1.0, 0.1, 0.0, 0.027, 0.0, 1.0 / 200.0, 0.1];
    for (schedule, end) in all_kinds().into_iter().zip(ends) {
        for step in [10_000, u32::MAX - 1, u32::MAX] {
            let found = schedule.factor(step);
            assert!((found - end).abs() < 1e-15, "{schedule:?}, step {step}: {found}");
        }
    }
    // Whatever PyTorch does from there on.
    let at = |schedule: &Schedule, steps: [u32; 3]| steps.map(|step| schedule.factor(step));
    assert_eq!(at(&cosine(), [6, 7, 12]), [0.1; 3]);
    let one_cycle = |steps, warmup| Schedule::OneCycle { steps, warmup, div_factor: 2.0, final_div_factor: 4.0 };
    assert_eq!(at(&one_cycle(10, 0.3), [9, 10, u32::MAX]), [0.125; 3]);
    assert_eq!(at(&one_cycle(10, 1.0), [9, 10, u32::MAX]), [1.0; 3]);
    assert_eq!(at(&one_cycle(1, 0.5), [0, 1, u32::MAX]), [0.125; 3]);
    assert_eq!(at(&one_cycle(1, 1.0), [0, 1, u32::MAX]), [1.0; 3]);
    // The peak at the first step, where PyTorch divides by 0.
    assert_eq!(at(&one_cycle(10, 0.1), [0, 9, 10]), [1.0, 0.125, 0.125]);
    // The longest there are.
    let longest = u32::MAX;
    let halfway = Schedule::LinearWarmup { start_factor: 0.0, steps: longest }.factor(longest / 2);
    assert!((halfway - 0.5).abs() < 1e-9);
    let halfway = Schedule::Cosine { steps: longest, end_factor: 0.0 }.factor(longest / 2);
    assert!((halfway - 0.5).abs() < 1e-9);
    assert_eq!(Schedule::Step { every: longest, gamma: 0.5 }.factor(longest), 0.5);
    assert_eq!(Schedule::MultiStep { at: vec![longest; 2], gamma: 0.5 }.factor(longest), 0.25);
    let late = Schedule::Sequence(vec![(0, Schedule::Constant), (longest, cosine())]);
    assert_eq!([0, longest - 1, longest].map(|step| late.factor(step)), [1.0; 3]);
}

#[test]
fn a_sequence_within_another_counts_from_its_own_start() {
    let warmup = Schedule::LinearWarmup { start_factor: 0.1, steps: 5 };
    let decay = Schedule::Exponential { gamma: 0.9 };
    let inner = Schedule::Sequence(vec![(0, warmup.clone()), (5, cosine())]);
    let nested = Schedule::Sequence(vec![(0, inner.clone()), (20, inner.clone()), (40, decay.clone())]);
    let pieces = [(0, &warmup), (5, &cosine()), (20, &warmup), (25, &cosine()), (40, &decay)];
    let flat = Schedule::Sequence(pieces.map(|(first, schedule)| (first, schedule.clone())).to_vec());
    for step in 0..100 {
        assert_eq!(nested.factor(step), flat.factor(step), "step {step}");
    }
}

/// By golden.rs the learning rates of `set_lr` are right; a schedule is the same, to the bit.
#[test]
fn act_as_the_callers_own_numbers_however_they_are_submitted() {
    let Some(gpu) = gpu() else { return };
    let groups = groups();
    let constant = |group: &Hyperparams| Hyperparams { schedule: Schedule::Constant, ..group.clone() };
    let mut by_hand = rig(&gpu, &groups.iter().map(constant).collect::<Vec<_>>());
    let [mut apart, mut together, mut in_pass] = [(); 3].map(|()| rig(&gpu, &groups));
    let mut encoder = gpu.encoder();
    for step in 0..12 {
        for (number, group) in groups.iter().enumerate() {
            by_hand.optimizer.set_lr(number, group.lr_at(step)).unwrap();
            by_hand.twin.set_lr(number, group.lr_at(step)).unwrap();
        }
        for rig in [&mut by_hand, &mut apart] {
            rig.step_gpu();
            rig.step_twin();
        }
        together.optimizer.step(&mut encoder).unwrap();
    }
    gpu.queue.submit([encoder.finish()]);
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    (0..12).for_each(|_| in_pass.optimizer.step_in_pass(&mut pass).unwrap());
    drop(pass);
    gpu.queue.submit([encoder.finish()]);

    assert!(bits(&apart.expected) == bits(&by_hand.expected), "the CPU twin");
    assert!(apart.twin.state() == by_hand.twin.state(), "the CPU twin's state");
    for other in [&apart, &together, &in_pass] {
        assert!(bits(&other.found()) == bits(&by_hand.found()));
        assert!(gpu.state(&other.optimizer) == gpu.state(&by_hand.optimizer));
    }
    assert_eq!(gpu.state(&together.optimizer).step, 12);
}

#[test]
fn are_the_same_on_gpu_and_cpu() {
    let Some(gpu) = gpu() else { return };
    assert_parity(&mut rig(&gpu, &groups()), 9, &mut Random(6));
}

/// Updates of one element by a steady gradient, on the GPU and on the CPU.
fn updates(gpu: &Gpu, hyperparams: &Hyperparams, steps: usize) -> [Vec<f32>; 2] {
    let spot = Spot { group: 0, len: 1, param: (0, 0), grad: (1, 0) };
    let mut rig = Rig::new(gpu.clone(), std::slice::from_ref(hyperparams), &[4, 4], &[spot], 1);
    rig.set_grads(|| 0.5);
    let [mut on_gpu, mut on_cpu] = [(); 2].map(|()| Vec::new());
    for _ in 0..steps {
        let before = [rig.found()[0][0], rig.expected[0][0]];
        rig.step_gpu();
        rig.step_twin();
        on_gpu.push(rig.found()[0][0] - before[0]);
        on_cpu.push(rig.expected[0][0] - before[1]);
    }
    [on_gpu, on_cpu]
}

#[test]
fn the_step_scale_follows() {
    let Some(gpu) = gpu() else { return };
    // α, α³ and α·(1-κ)³ before ζ, α from there on.
    for (order, step_scale, power) in
        [(0, StepScale::Paper, 1), (3, StepScale::Paper, 3), (2, StepScale::Reference, 3), (3, StepScale::UnitGain, 1)]
    {
        let steady = Hyperparams { lr: 0.5, order, step_scale, switch_step: 5, ..Hyperparams::default() };
        let halved = Hyperparams { schedule: Schedule::Step { every: 2, gamma: 0.5 }, ..steady.clone() };
        // The moments and integrals of a steady gradient do not depend on the learning rate, so the updates tell it.
        for (steady, halved) in updates(&gpu, &steady, 8).iter().zip(&updates(&gpu, &halved, 8)) {
            for (step, (steady, halved)) in steady.iter().zip(halved).enumerate() {
                let power = if step < 4 { power } else { 1 };
                let expected = steady * 0.5f32.powi(step as i32 / 2 * power);
                // θ stays below 8, and is rounded before and after in both runs.
                assert!(
                    (halved - expected).abs() <= 16.0 * f32::EPSILON,
                    "order {order}, {step_scale:?}, step {step}: {halved}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn set_lr_sets_what_they_multiply() {
    let Some(gpu) = gpu() else { return };
    let start = Hyperparams { lr: 0.5, order: 0, schedule: cosine(), ..Hyperparams::default() };
    let mut rig = rig(&gpu, std::slice::from_ref(&start));
    let mut reference = self::rig(&gpu, &[Hyperparams { schedule: Schedule::Constant, ..start.clone() }]);
    for step in 0..8 {
        let lr = if step < 3 { 0.5 } else { 0.2 };
        let now = Hyperparams { lr, ..start.clone() };
        reference.optimizer.set_lr(0, now.lr_at(step)).unwrap();
        reference.twin.set_lr(0, now.lr_at(step)).unwrap();
        if step == 3 {
            rig.optimizer.set_lr(0, lr).unwrap();
            rig.twin.set_lr(0, lr).unwrap();
            assert_eq!(rig.optimizer.hyperparams().next(), Some(&now));
            assert_eq!(rig.twin.hyperparams().next(), Some(&now));
        }
        for rig in [&mut rig, &mut reference] {
            rig.step_gpu();
            rig.step_twin();
        }
    }
    assert!(bits(&rig.found()) == bits(&reference.found()));
    assert!(bits(&rig.expected) == bits(&reference.expected));
}

#[test]
fn count_recorded_steps_only() {
    let Some(gpu) = gpu() else { return };
    // Adam without memory: a step moves θ by its learning rate, 1, 1/2, 1/4, …
    let halving = Schedule::Exponential { gamma: 0.5 };
    let adam =
        Hyperparams { lr: 1.0, order: 0, beta1: 0.0, beta2: 0.0, eps: 0.0, schedule: halving, ..Default::default() };
    let buffer = gpu.buffer(&[0.0, -1.0, -1.0, -1.0]);
    let [param, grad] = [0, 4].map(|offset| Slice::new(&buffer, offset, 1));
    let group = ParamGroup::new(adam.clone(), [Param::new("w", param.clone(), grad.clone())]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group]).unwrap();
    let step = |optimizer: &mut MiAdam| {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
        gpu.read(&buffer)[0]
    };
    // Three steps of at most 1, each right to 5 ulp for `/` and `sqrt`, with half an ulp of θ, which stays below 2.
    let tolerance = 18.0 * f32::EPSILON;
    let near = |found: f32, expected: f32| assert!((found - expected).abs() <= tolerance, "{found}, not {expected}");
    near(step(&mut optimizer), 1.0);
    // A refused step is not recorded.
    optimizer.rebind("w", param.clone(), param.clone()).unwrap();
    assert!(matches!(optimizer.step(&mut gpu.encoder()), Err(Error::Overlap { .. })));
    optimizer.rebind("w", param, grad).unwrap();
    near(step(&mut optimizer), 1.5);
    // One whose encoder is dropped is: 1/4 is passed over.
    optimizer.step(&mut gpu.encoder()).unwrap();
    near(step(&mut optimizer), 1.625);

    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(adam, [cpu::Param::new("w", 1)])]).unwrap();
    let mut w = [0.0];
    optimizer.step(&mut [&mut w], &[&[-1.0]]).unwrap();
    optimizer.step(&mut [&mut w], &[]).unwrap_err();
    optimizer.step(&mut [&mut w], &[&[-1.0]]).unwrap();
    near(w[0], 1.5);
}

#[test]
fn values_out_of_range() {
    let Some(gpu) = gpu() else { return };
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    let mut bad = Vec::new();
    for start_factor in [-0.1, 1.1, nan, infinite, -infinite] {
        bad.push(("schedule.start_factor", Schedule::LinearWarmup { start_factor, steps: 1 }));
    }
    for value in [-0.1, nan, infinite, -infinite] {
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
        bad.push(("schedule.div_factor", one_cycle(9, 0.3, value, 1e4)));
        bad.push(("schedule.final_div_factor", one_cycle(9, 0.3, 25.0, value)));
    }
    let sequence = |firsts: &[u32]| Schedule::Sequence(firsts.iter().map(|&first| (first, cosine())).collect());
    let bad_piece = Schedule::Sequence(vec![(0, Schedule::Constant), (5, Schedule::Step { every: 0, gamma: 0.1 })]);
    bad.extend([
        ("schedule.steps", Schedule::LinearWarmup { start_factor: 0.1, steps: 0 }),
        ("schedule.steps", Schedule::Cosine { steps: 0, end_factor: 0.0 }),
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
        ("schedule.factor", one_cycle(9, 0.3, 1e-42, 1e4)),
        ("schedule.factor", Schedule::Sequence(vec![(0, Schedule::Exponential { gamma: 2.0 }), (200, cosine())])),
    ]);
    for (field, schedule) in bad {
        // No panic, whatever they are.
        for step in [0, 1, 5, u32::MAX] {
            let _ = schedule.factor(step);
        }
        let good = ParamGroup::new(Hyperparams::default(), []);
        let hyperparams = Hyperparams { schedule: schedule.clone(), ..Hyperparams::default() };
        let error = MiAdam::new(&gpu.device, &gpu.queue, [good, ParamGroup::new(hyperparams.clone(), [])])
            .expect_err(&format!("{schedule:?}"));
        assert!(matches!(error, Error::InvalidHyperparam { group: 1, field: f, .. } if f == field), "{error}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("group 1: `{field}` is ")), "{message}");
        assert!(message.contains("; it must be ") && !message.contains('\n'), "{message}");
        let error = cpu::MiAdam::new([ParamGroup::new(hyperparams, [])]).expect_err(field);
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
        Schedule::Cosine { steps: 1, end_factor: 0.0 },
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
    // A factor that goes to 0 is welcome; a base that vanishes is not.
    for schedule in [cosine(), Schedule::Exponential { gamma: 0.0 }, Schedule::Constant] {
        with(&schedule, 1e-3, 12).validate(0).unwrap();
        let expected = Error::StepScaleRange { group: 0, lr: 1e-3, order: 13, scale: 1e-3f64.powf(13.0) };
        assert_eq!(with(&schedule, 1e-3, 13).validate(0), Err(expected));
    }
    // The largest factor counts for what is too large.
    with(&rising, 1e-3, 5).validate(0).unwrap();
    let error = with(&rising, 1e-3, 6).validate(0).unwrap_err();
    assert_eq!(error, Error::StepScaleRange { group: 0, lr: 1e7, order: 6, scale: 1e7f64.powf(6.0) });
    // It counts for the decay, too.
    let decay = Hyperparams { weight_decay: WeightDecay::Decoupled(1e35), ..with(&rising, 1e-3, 1) };
    assert!(matches!(decay.validate(0), Err(Error::InvalidHyperparam { field: "weight_decay", .. })));
    // And for `set_lr`, which may go down to 0.
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(with(&rising, 1e-3, 5), [])]).unwrap();
    optimizer.set_lr(0, 0.0).unwrap();
    optimizer.set_lr(0, 1e-30).unwrap();
    assert!(matches!(optimizer.set_lr(0, 1.0), Err(Error::StepScaleRange { lr: 1e10, .. })));
    assert!(matches!(optimizer.set_lr(0, 1e30), Err(Error::InvalidHyperparam { field: "schedule.factor", .. })));
    assert_eq!(optimizer.hyperparams().next().unwrap().lr, 1e-30, "unchanged");
}

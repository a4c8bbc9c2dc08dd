//! The steps that go with a schedule, on the GPU and on the CPU.

use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup, Schedule, StepScale, WeightDecay, cpu};

use super::{all_kinds, cosine};
use crate::common::{Gpu, Home, Random, Rig, Spot, gpu, scatter};
use crate::parity::assert_parity;

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
    gpu.submit(encoder);
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    (0..12).for_each(|_| in_pass.optimizer.step_in_pass(&mut pass).unwrap());
    drop(pass);
    gpu.submit(encoder);

    assert!(apart.expected == by_hand.expected, "the CPU twin");
    assert!(apart.twin.read_state() == by_hand.twin.read_state(), "the CPU twin's state");
    for other in [&apart, &together, &in_pass] {
        assert!(other.found() == by_hand.found());
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
    let spot = Spot { len: 1, param: (0, 0), grad: (1, 0), ..Spot::default() };
    let mut rig = Rig::new(gpu.clone(), std::slice::from_ref(hyperparams), &[4, 4], &[spot], 1);
    rig.set_grads(|| 0.5);
    let [mut on_gpu, mut on_cpu] = [(); 2].map(|()| Vec::new());
    for _ in 0..steps {
        let theta = |rig: &Rig| [&rig.found(), &rig.expected].map(|contents| spot.param_in(contents)[0]);
        let before = theta(&rig);
        rig.step_gpu();
        rig.step_twin();
        let after = theta(&rig);
        on_gpu.push(after[0] - before[0]);
        on_cpu.push(after[1] - before[1]);
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
    assert!(rig.found() == reference.found());
    assert!(rig.expected == reference.expected);
}

#[test]
fn count_recorded_steps_only() {
    let Some(gpu) = gpu() else { return };
    // Adam without memory: a step moves θ by its learning rate, 1, 1/2, 1/4, …
    let halving = Schedule::Exponential { gamma: 0.5 };
    let adam =
        Hyperparams { lr: 1.0, order: 0, beta1: 0.0, beta2: 0.0, eps: 0.0, schedule: halving, ..Default::default() };
    let buffer = gpu.buffer_of(&[0.0, -1.0, -1.0, -1.0]);
    let bind = |grad| Binding::new("w", (&buffer, 0), (&buffer, grad));
    let group = || ParamGroup::new(adam.clone(), [Param::new("w", 1)]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group()], [bind(4)]).unwrap();
    let step = |optimizer: &mut MiAdam| {
        gpu.step(optimizer);
        gpu.floats(&buffer)[0]
    };
    // Three steps of at most 1, each right to 5 ulp for `/` and `sqrt`, with half an ulp of θ, which stays below 2.
    let tolerance = 18.0 * f32::EPSILON;
    let near = |found: f32, expected: f32| assert!((found - expected).abs() <= tolerance, "{found}, not {expected}");
    near(step(&mut optimizer), 1.0);
    // A refused step is not recorded.
    optimizer.rebind([bind(0)]).unwrap();
    assert!(matches!(optimizer.step(&mut gpu.encoder()), Err(Error::Overlap { .. })));
    optimizer.rebind([bind(4)]).unwrap();
    near(step(&mut optimizer), 1.5);
    // One whose encoder is dropped is: 1/4 is passed over.
    optimizer.step(&mut gpu.encoder()).unwrap();
    near(step(&mut optimizer), 1.625);

    let mut optimizer = cpu::MiAdam::new([group()]).unwrap();
    let mut w = [0.0];
    optimizer.step([cpu::Binding::new("w", &mut w, &mut [-1.0])]).unwrap();
    optimizer.step([]).unwrap_err();
    optimizer.step([cpu::Binding::new("w", &mut w, &mut [-1.0])]).unwrap();
    near(w[0], 1.5);
}

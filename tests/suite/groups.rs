//! Groups are optimizers of their own: the reference code shares the first group's integrals, this crate must not.

use miadam::{Hyperparams, StepScale, WeightDecay, cpu};

use crate::common::{Gpu, Random, Rig, Spot, gpu};

fn hyperparams() -> [Hyperparams; 3] {
    [
        Hyperparams { order: 1, kappa: 0.9, switch_step: 3, ..Hyperparams::default() },
        Hyperparams {
            lr: 0.01,
            order: 3,
            kappa: 0.5,
            switch_step: 5,
            step_scale: StepScale::UnitGain,
            amsgrad: true,
            ..Hyperparams::default()
        },
        Hyperparams {
            lr: 0.1,
            beta1: 0.8,
            beta2: 0.99,
            eps: 1e-4,
            order: 0,
            weight_decay: WeightDecay::Decoupled(0.1),
            maximize: true,
            ..Hyperparams::default()
        },
    ]
}

/// Steps optimizers over `spots`, one for all groups or one each, and returns every parameter's bits and state.
fn run(gpu: &Gpu, rigs: &mut [Rig]) -> Vec<(Vec<u32>, miadam::TensorState)> {
    let mut results = Vec::new();
    for rig in rigs {
        for step in 0..7 {
            // By tensor length, so that a tensor gets the same gradients in whatever rig it is.
            let spots = rig.spots.clone();
            for spot in &spots {
                let mut random = Random(spot.len as u64 * 100 + step);
                let grad: Vec<_> = (0..spot.len).map(|_| random.normal()).collect();
                gpu.queue.write_buffer(&rig.buffers[spot.grad.0], 4 * spot.grad.1 as u64, bytemuck::cast_slice(&grad));
                rig.expected[spot.grad.0][spot.grad.1..][..spot.len].copy_from_slice(&grad);
            }
            rig.step_gpu();
            rig.step_twin();
        }
        let found = rig.found();
        for (spot, mut state) in rig.spots.iter().zip(rig.gpu.state(&rig.optimizer).tensors) {
            let param = &found[spot.param.0][spot.param.1..][..spot.len];
            state.name.clear();
            results.push((param.iter().map(|value| value.to_bits()).collect(), state));
        }
    }
    results
}

#[test]
fn groups_together_act_as_optimizers_apart() {
    let Some(gpu) = gpu() else { return };
    let all = hyperparams();
    // Starting values all alike, so that they do not depend on the rig.
    let spot =
        |group, number: usize| Spot { group, len: 300 + number, param: (0, 400 * number), grad: (1, 400 * number) };
    let level = |rig: &mut Rig| {
        for spot in &rig.spots {
            rig.expected[spot.param.0][spot.param.1..][..spot.len].fill(0.01);
        }
        gpu.queue.write_buffer(&rig.buffers[0], 0, bytemuck::cast_slice(&rig.expected[0]));
    };
    let spots: Vec<_> = (0..6).map(|number| spot(number / 2, number)).collect();
    let mut together = [Rig::new(gpu.clone(), &all, &[2400, 2400], &spots, 1)];
    together.iter_mut().for_each(level);
    let mut apart: Vec<_> = (0..3)
        .map(|group| {
            let spots: Vec<_> = (2 * group..2 * group + 2).map(|number| spot(0, number)).collect();
            Rig::new(gpu.clone(), &all[group..=group], &[2400, 2400], &spots, 1)
        })
        .collect();
    apart.iter_mut().for_each(level);

    assert!(run(&gpu, &mut together) == run(&gpu, &mut apart));

    let anonymous = |rig: &Rig| {
        let mut tensors = rig.twin.state().tensors;
        tensors.iter_mut().for_each(|tensor| tensor.name.clear());
        tensors
    };
    assert!(anonymous(&together[0]) == apart.iter().flat_map(anonymous).collect::<Vec<_>>());
}

#[test]
fn hyperparameters_can_be_read_back() {
    let groups = hyperparams().map(|hyperparams| miadam::ParamGroup::new(hyperparams, [] as [cpu::Param; 0]));
    let mut optimizer = cpu::MiAdam::new(groups).unwrap();
    optimizer.set_lr(1, 0.5).unwrap();
    let expected =
        [&hyperparams()[0], &Hyperparams { lr: 0.5, ..hyperparams()[1].clone() }, &hyperparams()[2]].map(Clone::clone);
    assert!(optimizer.hyperparams().eq(expected.iter()));
}

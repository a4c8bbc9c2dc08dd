//! One list of planes: a state on the host, a checkpoint's entries and the bytes of memory agree on it.

use miadam::{Binding, Checkpoint, Dtype, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, Plane, State, cpu};
use safetensors::SafeTensors;

use crate::common::gpu;

/// No whole number of quads.
const LEN: usize = 5;

/// Every combination of the options that a plane goes with, and the planes that there should be.
fn cases() -> Vec<(ParamGroup, Vec<Plane>)> {
    let mut cases = Vec::new();
    for amsgrad in [false, true] {
        let stochastic = HalfParams::Stochastic { seed: 1 };
        for (dtype, half_params) in
            [(Dtype::F32, HalfParams::Master), (Dtype::Bf16, HalfParams::Master), (Dtype::Bf16, stochastic)]
        {
            for order in 0..=3 {
                let hyperparams = Hyperparams { order, amsgrad, half_params, ..Hyperparams::default() };
                let mut planes = vec![Plane::FirstMoment, Plane::SecondMoment];
                planes.extend(amsgrad.then_some(Plane::MaxSecondMoment));
                let has_master = dtype != Dtype::F32 && half_params == HalfParams::Master;
                planes.extend(has_master.then_some(Plane::Master));
                planes.extend((1..=order).map(Plane::Integral));
                cases.push((ParamGroup::new(hyperparams, [Param::new("w", LEN).with_dtype(dtype)]), planes));
            }
        }
    }
    cases
}

fn assert_agree(planes: &[Plane], state: &State, checkpoint: &Checkpoint, context: &ParamGroup) {
    let [own] = &state.params[..] else { panic!("one parameter") };
    assert!(own.planes().map(|(plane, _)| plane).eq(planes.iter().copied()), "{context:?}");
    assert!(own.planes().all(|(plane, values)| values.len() == LEN && own.plane(plane) == Some(values)));
    assert_eq!((own.len(), own.plane(Plane::Integral(4))), (LEN, None));
    assert_eq!(*checkpoint.states(), state.params);

    let bytes = checkpoint.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut found = file.names().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut expected: Vec<_> = planes.iter().map(|plane| format!("{plane}/w")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{context:?}");
}

#[test]
fn agree_on_the_cpu() {
    for (group, planes) in cases() {
        let optimizer = cpu::MiAdam::new([group.clone()]).unwrap();
        assert_agree(&planes, &optimizer.read_state(), &optimizer.read_checkpoint(), &group);
        assert_eq!(optimizer.state_bytes(), (4 * LEN * planes.len()) as u64, "{group:?}");
        assert_eq!(group.state_bytes(), (16 * LEN.div_ceil(4) * planes.len()) as u64, "{group:?}");
    }
}

#[test]
fn agree_on_the_gpu() {
    let Some(gpu) = gpu() else { return };
    let buffers = [gpu.buffer_of(&[0.0; LEN]), gpu.buffer_of(&[0.0; LEN])];
    for (group, planes) in cases() {
        let binding = Binding::new("w", &buffers[0], &buffers[1]).with_grad_dtype(Dtype::F32);
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group.clone()], [binding]).unwrap();
        assert_agree(&planes, &gpu.state(&optimizer), &gpu.checkpoint(&optimizer, false), &group);
        assert_eq!(optimizer.state_bytes(), group.state_bytes(), "{group:?}");
    }
}

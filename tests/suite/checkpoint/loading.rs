//! Checkpoints without all that the optimizer has a place for.

use half::f16;
use miadam::cpu::ValuesMut;
use miadam::{Checkpoint, Dtype, Hyperparams, MiAdam, Param, ParamGroup, Slice, cpu};

use super::{LAYOUTS, OnCpu, OnGpu, Run, contents};
use crate::common::gpu;

#[test]
fn released_integrals_are_not_missed() {
    let mut run = OnCpu::new(LAYOUTS[0]).unwrap();
    run.steps(0..5);
    let full = run.checkpoint();
    run.optimizer.release_integrals().unwrap();
    let released = Checkpoint::from_bytes(&run.checkpoint().to_bytes().unwrap()).unwrap();
    assert!(released.tensors().iter().all(|tensor| tensor.integrals.is_empty()));
    run.steps(5..7);
    let expected = contents(&run.checkpoint());
    // Into an optimizer that has integrals, and the other way round.
    let mut fresh = OnCpu::new(LAYOUTS[1]).unwrap();
    fresh.load(&released);
    fresh.steps(5..7);
    fresh.optimizer.release_integrals().unwrap();
    assert!(contents(&fresh.checkpoint()) == expected);
    fresh.load(&full);
    fresh.steps(5..7);
    assert!(contents(&fresh.checkpoint()) == expected);
    // Where they are needed, they are missed.
    let mut early = OnCpu::new(LAYOUTS[0]).unwrap();
    let error = fresh.optimizer.load(&early.checkpoint()).unwrap_err();
    assert!(error.to_string().contains("integrals"), "{error}");
    let Some(mut on_gpu) = OnGpu::new(LAYOUTS[0]) else { return };
    on_gpu.load(&released);
    on_gpu.optimizer.release_integrals().unwrap();
    on_gpu.steps(5..7);
    assert_eq!(on_gpu.checkpoint().step(), 6);
    early.steps(0..1);
    assert!(on_gpu.optimizer.load(&early.checkpoint()).is_err());
}

#[test]
fn a_tensor_that_was_not_saved_gets_its_master_copy_from_the_parameter() {
    // A checkpoint of f32 parameters, loaded by a model that has become half precision.
    let saved = |dtype| {
        let param = cpu::Param::new("w", 6).with_dtype(dtype);
        cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [param])]).unwrap()
    };
    let mut single = saved(Dtype::F32);
    (0..3).for_each(|_| single.step(&mut [&mut [1.0; 6]], &[&[1.0; 6]]).unwrap());
    let checkpoint = single.checkpoint();
    let near_one = |w: &[f16]| w.iter().all(|w| (w.to_f32() - 1.0).abs() < 0.01);

    let mut twin = saved(Dtype::F16);
    assert_eq!(twin.load_lenient(&checkpoint).unwrap().len(), 1);
    // What is still to be made is so after another checkpoint, too.
    let before = twin.checkpoint();
    let mut twin = saved(Dtype::F16);
    twin.load(&before).unwrap();
    let mut w = [f16::ONE; 6];
    for _ in 0..2 {
        twin.step_values(&mut [ValuesMut::F16(&mut w)], &mut [ValuesMut::F32(&mut [1.0; 6])]).unwrap();
    }
    assert!(near_one(&w), "{w:?}");
    assert_eq!(twin.report().step, 5);

    let Some(gpu) = gpu() else { return };
    let halves = |values: [f16; 6]| gpu.buffer(&bytemuck::pod_collect_to_vec::<_, f32>(&values.map(f16::to_bits)));
    let (buffer, grad) = (halves([f16::ONE; 6]), gpu.buffer(&[1.0; 6]));
    let param = Param::new("w", Slice::new(&buffer, 0, 6).with_dtype(Dtype::F16), Slice::whole(&grad));
    let group = ParamGroup::new(Hyperparams::default(), [param]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group]).unwrap();
    assert_eq!(optimizer.load_lenient(&checkpoint).unwrap().len(), 1);
    for _ in 0..2 {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
    }
    let bits = bytemuck::pod_collect_to_vec::<f32, u16>(&gpu.read(&buffer));
    let found: Vec<_> = bits.into_iter().map(f16::from_bits).collect();
    assert!(near_one(&found), "{found:?}");
    assert!(found[..] == w[..], "{found:?} and {w:?}");
}

#[test]
fn whether_integrals_are_needed_is_the_checkpoints_to_say() {
    let with_switch = |switch_step| {
        let hyperparams = Hyperparams { switch_step, ..Hyperparams::default() };
        cpu::MiAdam::new([ParamGroup::new(hyperparams, [cpu::Param::new("w", 3)])]).unwrap()
    };
    let step = |optimizer: &mut cpu::MiAdam| optimizer.step(&mut [&mut [0.0; 3]], &[&[1.0; 3]]).unwrap();
    let [mut early, mut late] = [with_switch(3), with_switch(100)];
    for optimizer in [&mut early, &mut late] {
        (0..5).for_each(|_| step(optimizer));
    }
    early.release_integrals().unwrap();
    // One that has released its integrals takes over a run that needs them: nothing can mend that, leniency included.
    let before = early.clone();
    for error in [early.load(&late.checkpoint()).unwrap_err(), early.load_lenient(&late.checkpoint()).unwrap_err()] {
        assert!(error.to_string().contains("integrals"), "{error}");
    }
    assert_eq!(format!("{early:?}"), format!("{before:?}"));
    // The other way round nobody misses them, whatever the new optimizer's own ζ.
    let mut fresh = with_switch(Hyperparams::NEVER);
    fresh.load(&early.checkpoint()).unwrap();
    step(&mut fresh);
    step(&mut early);
    assert_eq!(fresh.state().tensors[0].first_moment, early.state().tensors[0].first_moment);
}

#[test]
fn a_learning_rate_set_near_to_0_is_no_obstacle() {
    let hyperparams = Hyperparams { order: 3, ..Hyperparams::default() };
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [cpu::Param::new("w", 3)])]).unwrap();
    optimizer.set_lr(0, 1e-20).unwrap();
    let bytes = optimizer.checkpoint().to_bytes().unwrap();
    assert!(Checkpoint::from_bytes(&bytes).unwrap() == optimizer.checkpoint());
}

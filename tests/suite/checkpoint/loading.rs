//! Checkpoints without all that the optimizer has a place for.

use half::f16;
use miadam::{Binding, Checkpoint, Dtype, Hyperparams, MiAdam, Param, ParamGroup, Plane, cpu};

use super::{LAYOUTS, begin, contents, steps};
use crate::common::{OnCpu, OnGpu, Run, gpu, lenient};

fn has_integrals(state: &miadam::ParamState) -> bool {
    state.planes().any(|(plane, _)| matches!(plane, Plane::Integral(_)))
}

#[test]
fn released_integrals_are_not_missed() {
    let mut run: OnCpu = begin(LAYOUTS[0]).unwrap();
    steps(&mut run, 0..5);
    let full = run.checkpoint();
    run.optimizer.release_integrals().unwrap();
    let released = Checkpoint::from_bytes(&run.checkpoint().to_bytes().unwrap()).unwrap();
    assert!(!released.states().iter().any(has_integrals));
    steps(&mut run, 5..7);
    let expected = contents(&run.checkpoint());
    // Into an optimizer that has integrals, and the other way round.
    let mut fresh: OnCpu = begin(LAYOUTS[1]).unwrap();
    fresh.load(&released);
    steps(&mut fresh, 5..7);
    fresh.optimizer.release_integrals().unwrap();
    assert!(contents(&fresh.checkpoint()) == expected);
    // A checkpoint that has them brings them back.
    fresh.load(&full);
    assert!(contents(&fresh.checkpoint()) == contents(&full));
    steps(&mut fresh, 5..7);
    fresh.optimizer.release_integrals().unwrap();
    assert!(contents(&fresh.checkpoint()) == expected);
}

/// An optimizer that has released its integrals goes on from a checkpoint that needs them.
fn released_integrals_come_back<R: Run>() {
    let Some(mut early) = begin::<R>(LAYOUTS[0]) else { return };
    steps(&mut early, 0..2);
    let saved = early.checkpoint();
    steps(&mut early, 2..5);
    let expected = contents(&early.checkpoint());
    let bytes = early.optimizer().state_bytes();
    assert!(early.optimizer().release_integrals().unwrap() > 0);
    early.load(&saved);
    assert_eq!(early.optimizer().state_bytes(), bytes);
    assert!(contents(&early.checkpoint()) == contents(&saved));
    steps(&mut early, 2..5);
    assert!(contents(&early.checkpoint()) == expected);
}

#[test]
fn released_integrals_come_back_on_the_cpu() {
    released_integrals_come_back::<OnCpu>();
}

#[test]
fn released_integrals_come_back_on_the_gpu() {
    released_integrals_come_back::<OnGpu>();
}

#[test]
fn a_tensor_that_was_not_saved_gets_its_master_copy_from_the_parameter() {
    // A checkpoint of f32 parameters, loaded by a model that has become half precision.
    let saved = |dtype| {
        let param = Param::new("w", 6).with_dtype(dtype);
        cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [param])]).unwrap()
    };
    let mut single = saved(Dtype::F32);
    (0..3).for_each(|_| single.step([cpu::Binding::new("w", &mut [1.0; 6], &mut [1.0; 6])]).unwrap());
    let checkpoint = single.read_checkpoint();
    let near_one = |w: &[f16]| w.iter().all(|w| (w.to_f32() - 1.0).abs() < 0.01);

    let mut twin = saved(Dtype::F16);
    assert_eq!(twin.load_with(&checkpoint, &lenient()).unwrap().len(), 1);
    // What is still to be made is so after another checkpoint, too.
    let before = twin.read_checkpoint();
    let mut twin = saved(Dtype::F16);
    twin.load(&before).unwrap();
    let mut w = [f16::ONE; 6];
    for _ in 0..2 {
        twin.step([cpu::Binding::new("w", &mut w, &mut [1.0; 6])]).unwrap();
    }
    assert!(near_one(&w), "{w:?}");
    assert_eq!(twin.read_report().step, 5);

    let Some(gpu) = gpu() else { return };
    let halves = |values: [f16; 6]| gpu.buffer_of(&bytemuck::pod_collect_to_vec::<_, f32>(&values.map(f16::to_bits)));
    let (buffer, grad) = (halves([f16::ONE; 6]), gpu.buffer_of(&[1.0; 6]));
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 6).with_dtype(Dtype::F16)]);
    let binding = Binding::new("w", &buffer, &grad).with_grad_dtype(Dtype::F32);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).unwrap();
    assert_eq!(optimizer.load_with(&checkpoint, &lenient()).unwrap().len(), 1);
    for _ in 0..2 {
        gpu.step(&mut optimizer);
    }
    let bits = bytemuck::pod_collect_to_vec::<f32, u16>(&gpu.floats(&buffer));
    let found: Vec<_> = bits.into_iter().map(f16::from_bits).collect();
    assert!(near_one(&found), "{found:?}");
    assert!(found[..] == w[..], "{found:?} and {w:?}");
}

#[test]
fn whether_integrals_are_needed_is_the_checkpoints_to_say() {
    let with_switch = |switch_step| {
        let hyperparams = Hyperparams { switch_step, ..Hyperparams::default() };
        cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", 3)])]).unwrap()
    };
    let step = |optimizer: &mut cpu::MiAdam| {
        optimizer.step([cpu::Binding::new("w", &mut [0.0; 3], &mut [1.0; 3])]).unwrap();
    };
    let [mut early, mut late] = [with_switch(3), with_switch(100)];
    for optimizer in [&mut early, &mut late] {
        (0..5).for_each(|_| step(optimizer));
    }
    early.release_integrals().unwrap();
    // Nobody misses them, whatever the new optimizer's own ζ.
    let mut fresh = with_switch(Hyperparams::NEVER);
    fresh.load(&early.read_checkpoint()).unwrap();
    step(&mut fresh);
    step(&mut early);
    assert_eq!(fresh.read_state(), early.read_state());
    // One that has released its integrals takes over a run that needs them.
    early.load(&late.read_checkpoint()).unwrap();
    step(&mut early);
    step(&mut late);
    assert_eq!(early.read_state(), late.read_state());
    // A file that lacks what it needs is no run's.
    let mut lacking = fresh.read_checkpoint().to_bytes().unwrap();
    let text = br#"\"switch_step\":3,"#;
    let at = lacking.windows(text.len()).position(|window| window == text).unwrap();
    lacking[at + text.len() - 2] = b'9';
    let error = Checkpoint::from_bytes(&lacking).unwrap_err();
    assert!(error.to_string().contains("`integral/1/w`: it is missing"), "{error}");
}

#[test]
fn a_learning_rate_set_near_to_0_is_no_obstacle() {
    let hyperparams = Hyperparams { order: 3, ..Hyperparams::default() };
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", 3)])]).unwrap();
    optimizer.set_lr(0, 1e-20).unwrap();
    let bytes = optimizer.read_checkpoint().to_bytes().unwrap();
    assert!(Checkpoint::from_bytes(&bytes).unwrap() == optimizer.read_checkpoint());
}

//! Runs that go on from a checkpoint, on the same device, on another, and in another layout.

use miadam::{Checkpoint, Error, ParamState, Plane};

use super::{CLIP_NORM, LAYOUTS, STEPS, TENSORS, Tensor, begin, begin_on, contents, start, steps};
use crate::common::{Gpu, OnCpu, OnGpu, Run, Values, gpu};
use crate::parity::assert_states_agree;

#[test]
fn some_steps_are_clipped() {
    let mut run: OnCpu = begin(LAYOUTS[0]).unwrap();
    let norms: Vec<_> = (0..STEPS)
        .map(|step| {
            steps(&mut run, step..step + 1);
            f64::from(run.optimizer.read_report().grad_norm.unwrap())
        })
        .collect();
    // Before the infinite one and after it.
    for norms in [&norms[..2], &norms[3..]] {
        assert!(norms.iter().any(|&norm| norm > CLIP_NORM), "{norms:?}");
    }
    assert!(norms.iter().any(|&norm| norm < CLIP_NORM), "{norms:?}");
}

/// Runs on from step `at` in another process's place: through the bytes of a file, in either layout.
fn resumes<First: Run, Second: Run>(at: usize) -> [Checkpoint; 2] {
    let mut first: First = begin(LAYOUTS[0]).unwrap();
    steps(&mut first, 0..at);
    let bytes = first.checkpoint().to_bytes().unwrap();
    let loaded = Checkpoint::from_bytes(&bytes).unwrap();
    assert!(loaded == first.checkpoint());
    LAYOUTS.map(|layout| {
        let mut second: Second = begin(layout).unwrap();
        // What it has done before does not matter.
        steps(&mut second, 0..2);
        second.load(&loaded);
        assert!(contents(&second.checkpoint()) == contents(&loaded), "{layout:?} at {at}");
        steps(&mut second, at..STEPS);
        second.checkpoint()
    })
}

fn a_resumed_run_is_the_same<R: Run>() {
    let Some(mut whole) = begin::<R>(LAYOUTS[0]) else { return };
    steps(&mut whole, 0..STEPS);
    let expected = whole.checkpoint();
    // One step is skipped.
    assert_eq!(expected.step() as usize, STEPS - 1);
    // Before the first step, before the skipped one, after it, at both switches and after them.
    for at in 0..STEPS {
        for found in resumes::<R, R>(at) {
            assert!(contents(&found) == contents(&expected), "resumed at {at}");
        }
    }
}

#[test]
fn a_run_resumed_on_the_cpu_is_the_same() {
    a_resumed_run_is_the_same::<OnCpu>();
}

#[test]
fn a_run_resumed_on_the_gpu_is_the_same() {
    a_resumed_run_is_the_same::<OnGpu>();
}

#[test]
fn what_one_device_saves_the_other_loads() {
    if gpu().is_none() {
        return;
    }
    let mut whole: OnCpu = begin(LAYOUTS[0]).unwrap();
    steps(&mut whole, 0..STEPS);
    let expected = whole.checkpoint();
    // Loading is exact, which `resumes` checks; what follows is the other device's.
    for found in resumes::<OnGpu, OnCpu>(3).into_iter().chain(resumes::<OnCpu, OnGpu>(3)) {
        assert_states_agree(&by_name(&found), &by_name(&expected));
        TENSORS.iter().for_each(|&tensor| assert_params_agree(tensor, &found, &expected));
    }
}

/// The states of all tensors, however they are grouped.
fn by_name(checkpoint: &Checkpoint) -> Vec<ParamState> {
    let mut states = checkpoint.states().to_vec();
    states.sort_by(|a, b| a.name.cmp(&b.name));
    states
}

/// A parameter is the same after all steps, some of them on another device.
fn assert_params_agree(tensor: Tensor, found: &Checkpoint, expected: &Checkpoint) {
    let (name, _, len, dtype) = tensor;
    let param = |checkpoint: &Checkpoint| {
        let (found, bytes) = checkpoint.param(name).unwrap();
        assert_eq!(found, dtype);
        Values::from_bytes(dtype, bytes, len)
    };
    if let (Values::Bf16(found), Values::Bf16(expected)) = (param(found), param(expected)) {
        let apart = found.iter().zip(&expected).map(|(found, expected)| found.to_bits().abs_diff(expected.to_bits()));
        let apart: Vec<_> = apart.filter(|&apart| apart > 0).collect();
        // Rounded at random: a value off by a few f32 roundings meets its threshold, one of 2¹⁶, that seldom, and stays
        // where it then is, beside the other.
        assert!(apart.len() <= 1 + STEPS * len / 100 && apart.iter().all(|&apart| apart == 1), "{name}: {apart:?}");
        return;
    }
    // Of a parameter in half precision, its master copy.
    let values = |checkpoint: &Checkpoint| {
        let state = checkpoint.states().iter().find(|state| state.name == name).unwrap();
        state.plane(Plane::Master).map_or_else(|| param(checkpoint).single(), <[f32]>::to_vec)
    };
    let start = Values::new(dtype, &start(tensor).values).single();
    let (found, expected) = (values(found), values(expected));
    let way = expected.iter().zip(&start).fold(0.0, |way: f32, (end, start)| way.max((end - start).abs()));
    assert!(len == 0 || way > 1e-3, "{name} hardly moved: {way}");
    for (found, expected) in found.iter().zip(&expected) {
        // As for a single update in parity.rs: the way of all steps in place of one, and a rounding of θ for each.
        let tolerance = f32::EPSILON * (64.0 * way + STEPS as f32 * expected.abs());
        assert!((found - expected).abs() <= tolerance, "{name}: {found} is not {expected} within {tolerance:e}");
    }
}

#[test]
fn a_lost_device_is_followed_by_another() {
    let Some(first) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut run = begin_on(first.clone(), LAYOUTS[0]);
    steps(&mut run, 0..4);
    let saved = run.checkpoint();
    steps(&mut run, 4..5);
    first.wait();
    first.device.destroy();
    assert_eq!(run.optimizer.load(&saved), Err(Error::DeviceLost));
    let mut encoder = first.encoder();
    assert_eq!(run.optimizer.read_checkpoint(&mut encoder, true).err(), Some(Error::DeviceLost));

    let mut resumed = begin_on(Gpu::new(wgpu::Limits::default()).unwrap(), LAYOUTS[1]);
    resumed.load(&saved);
    steps(&mut resumed, 4..STEPS);
    let mut whole: OnGpu = begin(LAYOUTS[0]).unwrap();
    steps(&mut whole, 0..STEPS);
    assert!(contents(&resumed.checkpoint()) == contents(&whole.checkpoint()));
}

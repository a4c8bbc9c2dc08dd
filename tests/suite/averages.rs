//! Averages of the weights: of parameters of all types, and in the parameters' place. tests/golden has PyTorch's values.

use miadam::{
    Average, Binding, Dtype, Error, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, ParamState, Plane, StepScale,
    cpu,
};

use crate::common::{Groups, OnCpu, OnGpu, Random, Rig, Run, Spot, Start, Values, gpu};
use crate::mixed::{HOMES, Home, LENS, PAIRS, rig};

const STOCHASTIC: HalfParams = HalfParams::Stochastic { seed: 3 };

/// Parameters of every type under master copies, and those that stochastic rounding is for.
fn kinds() -> [(HalfParams, Vec<(Dtype, Dtype)>); 2] {
    let not_f16 = PAIRS.into_iter().filter(|(param, _)| *param != Dtype::F16).collect();
    [(HalfParams::Master, PAIRS.to_vec()), (STOCHASTIC, not_f16)]
}

fn hyperparams(average: Average, half_params: HalfParams, amsgrad: bool) -> Hyperparams {
    Hyperparams { average, half_params, amsgrad, lr: 0.01, step_scale: StepScale::UnitGain, ..Hyperparams::default() }
}

fn rig_of(home: Home, formats: &[(Dtype, Dtype)], hyperparams: &Hyperparams) -> Option<Rig> {
    Some(rig(gpu()?.clone(), home, formats, hyperparams, &LENS))
}

/// Both sides' states, the device's first.
fn states(rig: &Rig) -> [Vec<ParamState>; 2] {
    [rig.gpu.state(&rig.optimizer).params, rig.twin.read_state().params]
}

/// θ as the average takes it in.
fn theta(state: &ParamState, spot: &Spot, contents: &crate::common::Contents) -> Vec<f32> {
    state.plane(Plane::Master).map_or_else(|| spot.param_in(contents).into_owned(), <[f32]>::to_vec)
}

#[test]
fn take_in_what_is_stored() {
    let rates: [(Average, [f64; 4]); 3] = [
        (Average::Ema { decay: 0.75, warmup: false }, [1.0, 0.25, 0.25, 0.25]),
        (Average::Ema { decay: 0.75, warmup: true }, [1.0, 9.0 / 11.0, 9.0 / 12.0, 9.0 / 13.0]),
        (Average::Equal { from: 2, every: 2 }, [0.0, 1.0, 0.0, 0.5]),
    ];
    for (number, home) in HOMES.into_iter().enumerate() {
        for (half_params, formats) in kinds() {
            let (average, rates) = rates[number % 3];
            let hyperparams = hyperparams(average, half_params, number % 2 == 0);
            let Some(mut rig) = rig_of(home, &formats, &hyperparams) else { return };
            let mut random = Random(1);
            let zeros = rig.spots.iter().map(|spot| vec![0.0_f64; spot.len]);
            let mut averages = [zeros.clone().collect::<Vec<_>>(), zeros.collect()];
            for rate in rates {
                rig.set_grads(|| random.normal());
                rig.step_gpu();
                rig.step_twin();
                let contents = [rig.found(), rig.expected.clone()];
                let sides = states(&rig).into_iter().zip(&contents).zip(&mut averages);
                for ((states, contents), averages) in sides {
                    for ((state, spot), average) in states.iter().zip(&rig.spots).zip(averages) {
                        let theta = theta(state, spot, contents);
                        let found = state.plane(Plane::Average).unwrap();
                        for ((average, &theta), &found) in average.iter_mut().zip(&theta).zip(found) {
                            *average += rate * (f64::from(theta) - *average);
                            // For each of 4 steps 3 roundings, and 4 for the rate, of numbers below 0.2.
                            assert!((f64::from(found) - *average).abs() <= 28.0 * 0.2 * f64::from(f32::EPSILON));
                            assert!(rate != 1.0 || found.to_bits() == theta.to_bits(), "the first is a copy");
                        }
                    }
                }
            }
        }
    }
}

/// Swaps on both sides.
fn swap(rig: &mut Rig) {
    let mut encoder = rig.gpu.encoder();
    rig.optimizer.swap_averages(&mut encoder).unwrap();
    rig.gpu.submit(encoder);
    rig.swap_twin();
}

#[test]
fn trade_places_with_the_parameters_and_come_back() {
    for (number, home) in HOMES.into_iter().enumerate() {
        for (half_params, formats) in kinds() {
            let average = [Average::Ema { decay: 0.5, warmup: true }, Average::Equal { from: 1, every: 2 }][number % 2];
            let hyperparams = hyperparams(average, half_params, number > 1);
            let Some(mut rig) = rig_of(home, &formats, &hyperparams) else { return };
            let mut random = Random(2);
            for _ in 0..4 {
                rig.set_grads(|| random.normal());
                rig.step_gpu();
                rig.step_twin();
            }
            let (contents, before) = ([rig.found(), rig.expected.clone()], states(&rig));
            swap(&mut rig);
            let swapped = [rig.found(), rig.expected.clone()];
            rig.assert_untouched(&swapped[0]);
            for (contents, states) in swapped.iter().zip(&before) {
                for (spot, state) in rig.spots.iter().zip(states) {
                    let mut average = state.plane(Plane::Average).unwrap().to_vec();
                    if spot.dtype == Dtype::Bf16 && half_params == STOCHASTIC {
                        // To nearest, but halves up, of which there are many: means of a few bf16.
                        average.iter_mut().for_each(|a| *a = f32::from_bits((a.to_bits() + 0x8000) & 0xffff_0000));
                    }
                    assert!(spot.values_in(contents) == Values::new(spot.dtype, &average), "{home:?}, {spot:?}");
                }
            }
            swap(&mut rig);
            assert!([rig.found(), rig.expected.clone()] == contents, "{home:?}: parameters");
            assert!(states(&rig) == before, "{home:?}: states");
            rig.step_gpu();
            rig.step_twin();
            assert!(rig.found() != contents[0] && rig.expected != contents[1]);
        }
    }
}

#[test]
fn nothing_takes_the_place_of_what_was_never_averaged() {
    let Some(mut rig) =
        rig_of(Home::Pool(2), &PAIRS, &hyperparams(Average::Equal { from: 2, every: 1 }, HalfParams::Master, false))
    else {
        return;
    };
    rig.set_grads(|| 1.0);
    rig.step_gpu();
    rig.step_twin();
    let contents = [rig.found(), rig.expected.clone()];
    swap(&mut rig);
    assert!([rig.found(), rig.expected.clone()] == contents);
    swap(&mut rig);
    assert!([rig.found(), rig.expected.clone()] == contents);
}

#[test]
fn what_others_have_written_comes_back() {
    let average = Average::Ema { decay: 0.5, warmup: false };
    let Some(mut rig) = rig_of(Home::Separate(0), &PAIRS[..4], &hyperparams(average, HalfParams::Master, true)) else {
        return;
    };
    rig.set_grads(|| 1.0);
    rig.step_gpu();
    rig.step_twin();
    let number = 5;
    rig.set_param(number, 3.0);
    rig.optimizer.params_written();
    rig.twin.params_written();
    swap(&mut rig);
    swap(&mut rig);
    for contents in [rig.found(), rig.expected.clone()] {
        assert!(rig.spots[number].param_in(&contents).iter().all(|&value| value == 3.0));
    }
}

/// One group with an average and one without.
fn groups(average: Average) -> Groups {
    let start = |name: &str, dtype| Start { name: name.into(), dtype, values: vec![0.5; 9] };
    let with = |average, half_params| Hyperparams { average, half_params, lr: 0.1, ..Hyperparams::default() };
    vec![
        (with(average, HalfParams::Master), vec![start("a", Dtype::F32), start("b", Dtype::F16)]),
        (with(Average::None, HalfParams::Master), vec![start("c", Dtype::F32)]),
        (with(average, STOCHASTIC), vec![start("d", Dtype::Bf16), start("e", Dtype::F32)]),
    ]
}

/// A run that can swap.
trait Swap: Run {
    fn swap(&mut self);
}

impl Swap for OnCpu {
    fn swap(&mut self) {
        OnCpu::swap(self);
    }
}

impl Swap for OnGpu {
    fn swap(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.swap_averages(&mut encoder).unwrap();
        self.gpu.submit(encoder);
    }
}

fn grad(name: &str, step: usize) -> Vec<f32> {
    (0..9).map(|element| ((name.len() + element + step) as f32).sin()).collect()
}

fn resumes_while_they_are_in<R: Swap>() {
    let Some(mut first) = R::new(&groups(Average::Ema { decay: 0.5, warmup: true }), true) else { return };
    (0..3).for_each(|step| first.step(|name| grad(name, step)));
    let out = first.checkpoint();
    // A parameter that rests has its average in its place, too.
    first.optimizer().freeze(["a"]).unwrap();
    first.swap();
    assert_ne!(first.params()[0], vec![0.5; 9]);
    let saved = miadam::Checkpoint::from_bytes(&first.checkpoint().to_bytes().unwrap()).unwrap();
    assert!(saved != out);
    let mut second = R::new(&groups(Average::Ema { decay: 0.25, warmup: false }), false).unwrap();
    second.load(&saved);
    assert!(second.checkpoint().to_bytes().unwrap() == saved.to_bytes().unwrap());
    for run in [&mut first, &mut second] {
        assert_eq!(run.optimizer().remove_params(["a"]), Err(Error::AveragesIn));
        run.swap();
        run.optimizer().thaw(["a"]).unwrap();
        assert!(run.checkpoint() == out);
        run.step(|name| grad(name, 3));
    }
    assert!(first.checkpoint() == second.checkpoint());
}

#[test]
fn a_run_resumed_while_they_are_in_on_the_cpu() {
    resumes_while_they_are_in::<OnCpu>();
}

#[test]
fn a_run_resumed_while_they_are_in_on_the_gpu() {
    resumes_while_they_are_in::<OnGpu>();
}

#[test]
fn steps_have_to_wait() {
    let average = Average::Ema { decay: 0.5, warmup: true };
    let group = ParamGroup::new(Hyperparams { average, ..Hyperparams::default() }, [Param::new("w", 1)]);
    let mut twin = cpu::MiAdam::new([group]).unwrap();
    assert_eq!(twin.swap_averages([]), Err(Error::UnboundParam { name: "w".into() }));
    let short = twin.swap_averages([cpu::Binding::new("w", &mut [0.0; 0], &mut [0.0; 0])]);
    assert!(matches!(short, Err(Error::LengthMismatch { expected: 1, found: 0, .. })));
    let step = |twin: &mut cpu::MiAdam| twin.step([cpu::Binding::new("w", &mut [1.0], &mut [1.0])]);
    step(&mut twin).unwrap();
    twin.swap_averages([cpu::Binding::new("w", &mut [1.0], &mut [0.0; 0])]).unwrap();
    let before = twin.read_checkpoint();
    assert_eq!(step(&mut twin), Err(Error::AveragesIn));
    assert!(twin.read_checkpoint() == before && Error::AveragesIn.to_string().contains("swap_averages"));
    let Some(mut run) = OnGpu::new(&groups(Average::Ema { decay: 0.5, warmup: true }), true) else { return };
    run.step(|name| grad(name, 0));
    run.swap();
    let mut encoder = run.gpu.encoder();
    assert_eq!(run.optimizer.step(&mut encoder), Err(Error::AveragesIn));
    assert_eq!(
        run.optimizer.step_in_pass(&mut encoder.begin_compute_pass(&Default::default())),
        Err(Error::AveragesIn)
    );
    assert_eq!(run.optimizer.set_hyperparams(0, Hyperparams::default()), Err(Error::AveragesIn));
}

#[test]
fn there_have_to_be_some() {
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 1)]);
    let mut twin = cpu::MiAdam::new([group.clone()]).unwrap();
    assert_eq!(twin.swap_averages([]), Err(Error::NoAverages));
    let Some(gpu) = gpu() else { return };
    let (param, grad) = (gpu.buffer_of(&[1.0]), gpu.buffer_of(&[1.0]));
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [Binding::new("w", &param, &grad)]).unwrap();
    assert_eq!(optimizer.swap_averages(&mut gpu.encoder()), Err(Error::NoAverages));
}

#[test]
fn a_dropped_encoder_swaps_nothing() {
    let Some(mut run) = OnGpu::new(&groups(Average::Equal { from: 1, every: 1 }), true) else { return };
    (0..2).for_each(|step| run.step(|name| grad(name, step)));
    let before = run.checkpoint();
    let dropped = |run: &mut OnGpu| run.optimizer.swap_averages(&mut run.gpu.encoder()).unwrap();
    dropped(&mut run);
    run.swap();
    assert!(run.checkpoint() == before, "what is out stays out");
    run.swap();
    let swapped = run.checkpoint();
    dropped(&mut run);
    run.swap();
    assert!(run.checkpoint() == swapped, "what is in stays in");
    run.swap();
    assert!(run.checkpoint() == before);
}

/// State that a change of parameters moves, and that no step has moved yet.
#[test]
fn state_on_its_way_arrives_before_a_swap() {
    let average = Average::Ema { decay: 0.5, warmup: true };
    let Some(mut run) = OnGpu::new(&groups(average), true) else { return };
    (0..3).for_each(|step| run.step(|name| grad(name, step)));
    let params = run.params();
    let (param, grads) = (run.gpu.buffer_of(&[0.5; 9]), run.gpu.buffer_of(&[0.5; 9]));
    let added = [Param::new("new", 9)];
    run.optimizer.add_params(0, added, [Binding::new("new", &param, &grads)]).unwrap();
    run.swap();
    // A readback moves what is still to be moved.
    let state = |run: &OnGpu| run.gpu.state(&run.optimizer).params;
    let swapped = state(&run);
    assert!(state(&run) == swapped);
    run.swap();
    let found: Vec<_> = run.params().into_iter().filter(|values| *values != vec![0.5; 9]).collect();
    assert!(found == params);
    let before = state(&run);
    run.step(|name| grad(name, 3));
    assert!(state(&run) != before);
}

//! `StepScale::ExactGain`: a constant gradient moves a parameter by α at every step, whatever changes. And the gains on the
//! device: bit for bit those of the CPU twin, which is tested by itself in `src/math/gain.rs`.

use miadam::abi::{Gain, ONE};
use miadam::math::gain::{advance_gain, divide};
use miadam::{Checkpoint, Dtype, GradOptions, Hyperparams, StepScale, shader};

use crate::common::{Gpu, Groups, OnCpu, OnGpu, Random, Run, Start, gpu};
use crate::golden::{THETA_TOLERANCE, tolerance};
use crate::shaders::translate;

const KERNEL: &str = "
#import shared/gain.wgsl

struct Question {
    gain: Gain,
    below: Gain,
    kappa_high: u32,
    kappa_low: u32,
    alpha: f32,
}

struct Answer {
    gain: Gain,
    step_size: u32,
}

@group(0) @binding(0) var<storage, read> questions: array<Question>;
@group(0) @binding(1) var<storage, read_write> answers: array<Answer>;

@compute @workgroup_size(64)
fn answer(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let asked = questions[invocation.x];
    let gain = advance_gain(asked.gain, vec2(asked.kappa_high, asked.kappa_low), asked.below);
    answers[invocation.x] = Answer(gain, bitcast<u32>(divide(asked.alpha, gain)));
}
";

struct Question {
    gain: Gain,
    below: Gain,
    kappa: u64,
    alpha: f32,
}

impl Question {
    fn random(random: &mut Random) -> Self {
        let below = gain(random);
        // Often near enough for both to count, and for a carry.
        let gain = Gain { exponent: below.exponent + random.below(140) as i32 - 70, ..gain(random) };
        let kappa = [ONE, 0, random.bits(), u64::MAX - (random.bits() >> 40)][random.below(4)];
        // An α below the normal range is 0, and devices may flush it. Two in three keep the quotient near its ends.
        let exponent = gain.exponent + [0, -126, 127][random.below(3)] + random.below(8) as i32 - 4;
        let exponent = exponent.clamp(-126, 127);
        let alpha = f32::from_bits(((exponent + 127) as u32) << 23 | random.bits() as u32 >> 9);
        Self { gain, below, kappa, alpha }
    }

    fn words(&self) -> [u32; 9] {
        let Self { gain, below, kappa, alpha } = self;
        let both: [u32; 6] = bytemuck::cast([*gain, *below]);
        let [a, b, c, d, e, f] = both;
        [a, b, c, d, e, f, (kappa >> 32) as u32, *kappa as u32, alpha.to_bits()]
    }

    /// The twin's answer.
    fn answer(&self) -> [u32; 4] {
        let gain = advance_gain(self.gain, self.kappa, self.below);
        [gain.high, gain.low, gain.exponent as u32, divide(self.alpha, gain).to_bits()]
    }
}

/// Any gain but 0: words all random, all set or all clear but the first bit.
fn gain(random: &mut Random) -> Gain {
    let mut word = || [0, u32::MAX, random.bits() as u32, random.bits() as u32 >> 20][random.below(4)];
    let (high, low) = (word() | 1 << 31, word());
    Gain { high, low, exponent: random.below(400) as i32 - 200 }
}

fn ask(gpu: &Gpu, questions: &[Question]) -> Vec<[u32; 4]> {
    let device = &gpu.device;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(shader::custom(KERNEL).source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    // The tests' buffers hold f32, which is as good as any other word.
    let words: Vec<u32> = questions.iter().flat_map(Question::words).collect();
    let buffers = [gpu.buffer_of(bytemuck::cast_slice(&words)), gpu.buffer_of(&vec![0.0; 4 * questions.len()])];
    let entries =
        [0, 1].map(|binding| wgpu::BindGroupEntry { binding, resource: buffers[binding as usize].as_entire_binding() });
    let layout = &pipeline.get_bind_group_layout(0);
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(u32::try_from(questions.len() / 64).unwrap(), 1, 1);
    drop(pass);
    gpu.submit(encoder);
    bytemuck::pod_collect_to_vec(&gpu.floats(&buffers[1]))
}

#[test]
fn have_the_same_bits_on_the_device_as_on_the_cpu() {
    translate("gain", &shader::custom(KERNEL));
    let Some(gpu) = gpu() else { return };
    let mut random = Random(14);
    let mut questions: Vec<_> = (0..64 * 1000).map(|_| Question::random(&mut random)).collect();
    let nothing = Gain { high: 0, low: 0, exponent: 0 };
    for question in questions.iter_mut().step_by(11) {
        question.gain = nothing;
    }
    for question in questions.iter_mut().step_by(17).filter(|question| question.gain != nothing) {
        question.below = nothing;
    }
    for (question, found) in questions.iter().zip(ask(&gpu, &questions)) {
        let wanted = question.answer();
        let words = question.words();
        assert_eq!(found, wanted, "{words:x?}");
    }
}

/// A power of two, so that θ has room for the last bits of an update.
const ALPHA: f64 = 1.0 / 128.0;

fn exact(order: u32, kappa: f64) -> Hyperparams {
    Hyperparams { lr: ALPHA, order, kappa, step_scale: StepScale::ExactGain, ..Hyperparams::default() }
}

/// A group for each, of one parameter that starts at 0.
fn groups(all: &[Hyperparams]) -> Groups {
    let start = |number: usize| Start { name: number.to_string(), dtype: Dtype::F32, values: vec![0.0] };
    all.iter().enumerate().map(|(number, hyperparams)| (hyperparams.clone(), vec![start(number)])).collect()
}

/// Takes step `t` of a gradient of 1. Each parameter moves by α, but for the rounding of order 7 and less.
fn moves_by_alpha(run: &mut impl Run, t: usize) {
    let before = run.params();
    run.step(|_| vec![1.0]);
    for (group, (before, after)) in before.iter().zip(run.params()).enumerate() {
        let (before, after) = (f64::from(before[0]), f64::from(after[0]));
        let bound = tolerance(&GradOptions::default(), 7, t) * ALPHA + THETA_TOLERANCE * after.abs();
        let hyperparams = run.optimizer().hyperparams().nth(group).unwrap();
        assert!((before - after - ALPHA).abs() <= bound, "step {t} moves by {}: {hyperparams:?}", before - after);
    }
}

fn a_constant_gradient_moves_by_alpha_from_the_first_step_on<R: Run>() {
    let kappas = [0.0, 1e-3, 0.5, 0.9, 0.98, 0.999_999, 1.0];
    let all = kappas.iter().flat_map(|&kappa| [0, 1, 2, 3, 4, 7].map(|order| exact(order, kappa)));
    let mut all: Vec<_> = all.collect();
    all.push(Hyperparams { switch_step: 20, ..exact(3, 1.0) });
    all.push(Hyperparams { beta1: 0.0, ..exact(2, 1.0) });
    let Some(mut run) = R::new(&groups(&all), true) else { return };
    for t in 1..=40 {
        moves_by_alpha(&mut run, t);
    }
}

#[test]
fn a_constant_gradient_moves_by_alpha_on_the_cpu() {
    a_constant_gradient_moves_by_alpha_from_the_first_step_on::<OnCpu>();
}

#[test]
fn a_constant_gradient_moves_by_alpha_on_the_gpu() {
    a_constant_gradient_moves_by_alpha_from_the_first_step_on::<OnGpu>();
}

/// Integrals that start at 0 have gains that do, and all others go on with theirs.
fn settings_may_change_at_any_step<R: Run>() {
    let unit_gain = Hyperparams { step_scale: StepScale::UnitGain, ..exact(2, 0.9) };
    // The device has room for the gains of the other group's clock in each.
    let Some(mut run) = R::new(&groups(&[unit_gain, exact(4, 0.5)]), true) else { return };
    for _ in 0..5 {
        run.step(|_| vec![1.0]);
    }
    let changes = [
        exact(2, 0.9),
        exact(4, 0.9),
        exact(1, 0.98),
        exact(3, 1.0),
        // Without a step in between, so that the third starts anew.
        exact(2, 1.0),
        exact(3, 1.0),
        exact(0, 0.5),
        Hyperparams { switch_step: 30, ..exact(2, 0.25) },
    ];
    let mut t = 5;
    for (number, hyperparams) in changes.into_iter().enumerate() {
        run.optimizer().set_hyperparams(0, hyperparams).unwrap();
        if number == 4 {
            continue;
        }
        for _ in 0..4 {
            t += 1;
            moves_by_alpha(&mut run, t);
        }
        // One that rests keeps its gains.
        run.optimizer().skip(["1"]).unwrap();
        let rests = run.params()[1][0];
        run.step(|_| vec![1.0]);
        assert_eq!(run.params()[1][0], rests);
        t += 1;
    }
    moves_by_alpha(&mut run, t);
}

#[test]
fn settings_may_change_at_any_step_on_the_cpu() {
    settings_may_change_at_any_step::<OnCpu>();
}

#[test]
fn settings_may_change_at_any_step_on_the_gpu() {
    settings_may_change_at_any_step::<OnGpu>();
}

/// Integrals that were released come back at 0, and their gains with them.
fn released_integrals_come_back_without_gains<R: Run>() {
    let until = |switch_step| Hyperparams { switch_step, ..exact(2, 0.98) };
    let Some(mut run) = R::new(&groups(&[until(8), exact(0, 0.5)]), true) else { return };
    for t in 1..=10 {
        moves_by_alpha(&mut run, t);
    }
    run.optimizer().release_integrals().unwrap();
    run.optimizer().set_hyperparams(0, until(30)).unwrap();
    for t in 11..=20 {
        moves_by_alpha(&mut run, t);
    }
}

#[test]
fn released_integrals_come_back_without_gains_on_the_cpu() {
    released_integrals_come_back_without_gains::<OnCpu>();
}

#[test]
fn released_integrals_come_back_without_gains_on_the_gpu() {
    released_integrals_come_back_without_gains::<OnGpu>();
}

/// The checkpoint as if its file had been made without gains.
fn without_gains(checkpoint: &Checkpoint) -> Checkpoint {
    let bytes = checkpoint.to_bytes().unwrap();
    let (header, data) = bytes[8..].split_at(u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize);
    let mut header = String::from_utf8(header.to_vec()).unwrap();
    while let Some((before, after)) = header.split_once(r#",\"gains\":["#) {
        header = [before, after.split_once(']').unwrap().1].concat();
    }
    Checkpoint::from_bytes(&[&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()).unwrap()
}

fn gains_that_a_file_lacks_are_derived<R: Run>() {
    let all = [exact(1, 0.98), exact(4, 1.0), exact(0, 0.5), Hyperparams { switch_step: 8, ..exact(2, 0.5) }];
    let Some(mut run) = R::new(&groups(&all), true) else { return };
    for t in 1..=12 {
        moves_by_alpha(&mut run, t);
    }
    let lacking = without_gains(&run.checkpoint());
    assert!(lacking != run.checkpoint(), "in the last bits of f64");
    run.load(&lacking);
    for t in 13..=16 {
        moves_by_alpha(&mut run, t);
    }
}

#[test]
fn gains_that_a_file_lacks_are_derived_on_the_cpu() {
    gains_that_a_file_lacks_are_derived::<OnCpu>();
}

#[test]
fn gains_that_a_file_lacks_are_derived_on_the_gpu() {
    gains_that_a_file_lacks_are_derived::<OnGpu>();
}

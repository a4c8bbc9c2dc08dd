//! A leader over one tensor and a follower over another are one optimizer over both, to the bit.

use miadam::{
    Binding, GradOptions, GradScaler, Hyperparams, MiAdam, OtherGrad, Param, ParamGroup, Report, State, WeightDecay,
    cpu,
};

use crate::common::{Gpu, Random, gpu};

const STEPS: usize = 20;

/// Each above what is merged with others, so that one optimizer over both measures them by the same dispatches, and sums up in
/// the same order. The second has a tail that is no quad.
const LENS: [usize; 2] = [40_000, 70_001];

fn group(number: usize) -> ParamGroup {
    let hyperparams = match number {
        0 => Hyperparams {
            order: 1,
            switch_step: 9,
            weight_decay: WeightDecay::Decoupled(0.1),
            ..Hyperparams::default()
        },
        _ => Hyperparams { order: 2, amsgrad: true, maximize: true, ..Hyperparams::default() },
    };
    ParamGroup::new(hyperparams, [Param::new(["a", "b"][number], LENS[number])])
}

/// Of one optimizer over both, or of the leader.
fn options() -> GradOptions {
    let scaler = GradScaler { init_scale: 4.0, growth_interval: 3, ..GradScaler::default() };
    GradOptions { factor: 0.5, clip_norm: Some(30.0), scaler: Some(scaler), ..followers() }
}

fn followers() -> GradOptions {
    GradOptions { clip_value: Some(0.2), zero: true, ..GradOptions::default() }
}

fn params() -> [Vec<f32>; 2] {
    let mut random = Random(1);
    LENS.map(|len| (0..len).map(|_| random.normal()).collect())
}

/// Some of them not finite, in either tensor.
fn grads() -> Vec<[Vec<f32>; 2]> {
    let mut random = Random(2);
    let mut grads: Vec<_> = (0..STEPS).map(|_| LENS.map(|len| (0..len).map(|_| random.normal()).collect())).collect();
    let mut poison = |step: usize, tensor: usize, at: usize, value| -> () {
        let grads: &mut [Vec<f32>; 2] = &mut grads[step];
        grads[tensor][at] = value;
    };
    poison(0, 1, 70_000, f32::NAN);
    poison(7, 0, 17, f32::INFINITY);
    poison(13, 1, 5, f32::NEG_INFINITY);
    poison(14, 0, 39_999, f32::NAN);
    grads
}

/// What is known after a step.
#[derive(PartialEq)]
struct Outcome {
    params: [Vec<f32>; 2],
    grads: [Vec<f32>; 2],
    report: Report,
}

/// Of all steps, and the state in the end.
type Outcomes = (Vec<Outcome>, State);

fn assert_same((together, state): &Outcomes, (shared, [leader, follower]): &(Vec<Outcome>, [State; 2])) {
    for (step, (together, shared)) in together.iter().zip(shared).enumerate() {
        assert_eq!(together.report.skipped, shared.report.skipped, "step {step}");
        assert_eq!(together.report.loss_scale, shared.report.loss_scale, "step {step}");
        let bits = |outcome: &Outcome| outcome.report.grad_norm.map(f32::to_bits);
        assert_eq!(bits(together), bits(shared), "step {step}");
        assert!(together.params == shared.params && together.grads == shared.grads, "step {step}");
    }
    assert!(state.params == [&leader.params[..], &follower.params].concat());
    let reports: Vec<_> = together.iter().map(|outcome| &outcome.report).collect();
    assert_eq!(reports[STEPS - 1].skipped, 4);
    let scales: Vec<_> = reports.iter().map(|report| report.loss_scale).collect();
    assert!(scales.windows(2).any(|pair| pair[1] > pair[0]) && scales.windows(2).any(|pair| pair[1] < pair[0]));
    let is_clipped = |report: &&&Report| report.grad_norm.unwrap() > 30.0;
    let clipped = reports.iter().filter(is_clipped).count();
    assert!((5..=17).contains(&clipped), "{clipped} steps are clipped");
}

/// The follower's numbers beside the leader's.
fn assert_follows(leader: &Report, follower: &Report) {
    assert_eq!((leader.step, leader.skipped), (follower.step, follower.skipped));
    assert_eq!(leader.grad_norm.map(f32::to_bits), follower.grad_norm.map(f32::to_bits));
    assert_eq!(follower.loss_scale, 1.0);
}

fn together_on_cpu() -> Outcomes {
    let mut optimizer = cpu::MiAdam::new([group(0), group(1)]).unwrap();
    optimizer.set_grad_options(options()).unwrap();
    let mut params = params();
    let outcomes = grads().into_iter().map(|mut grads| {
        let [(a, a_grad), (b, b_grad)] = pairs(&mut params, &mut grads);
        optimizer.step([cpu::Binding::new("a", a, a_grad), cpu::Binding::new("b", b, b_grad)]).unwrap();
        Outcome { params: params.clone(), grads, report: optimizer.read_report() }
    });
    let outcomes = outcomes.collect();
    (outcomes, optimizer.read_state())
}

type Pair<'a> = (&'a mut Vec<f32>, &'a mut Vec<f32>);

fn pairs<'a>([a, b]: &'a mut [Vec<f32>; 2], [a_grad, b_grad]: &'a mut [Vec<f32>; 2]) -> [Pair<'a>; 2] {
    [(a, a_grad), (b, b_grad)]
}

fn pair_on_cpu() -> [cpu::MiAdam; 2] {
    let mut optimizers = [0, 1].map(|number| cpu::MiAdam::new([group(number)]).unwrap());
    optimizers[0].set_grad_options(options()).unwrap();
    optimizers[1].set_grad_options(followers()).unwrap();
    optimizers
}

#[test]
fn on_the_cpu_with_a_resume_in_between() {
    let [mut leader, mut follower] = pair_on_cpu();
    let mut params = params();
    let mut outcomes = Vec::new();
    for (step, mut grads) in grads().into_iter().enumerate() {
        if step == STEPS / 2 {
            let saved = [leader.read_checkpoint(), follower.read_checkpoint()];
            [leader, follower] = pair_on_cpu();
            leader.load(&saved[0]).unwrap();
            follower.load(&saved[1]).unwrap();
        }
        let [(a, a_grad), (b, b_grad)] = pairs(&mut params, &mut grads);
        leader.step_with_others([cpu::Binding::new("a", a, a_grad)], [&*b_grad]).unwrap();
        follower.step_following(&leader.verdict(), [cpu::Binding::new("b", b, b_grad)]).unwrap();
        assert_eq!(leader.verdict().skip, [0, 7, 13, 14].contains(&step));
        assert_eq!(format!("{:?}", follower.verdict()), format!("{:?}", leader.verdict()));
        let report = leader.read_report();
        assert_follows(&report, &follower.read_report());
        outcomes.push(Outcome { params: params.clone(), grads, report });
    }
    assert_same(&together_on_cpu(), &(outcomes, [leader.read_state(), follower.read_state()]));
}

/// Four buffers of their own.
struct Buffers {
    gpu: Gpu,
    params: [wgpu::Buffer; 2],
    grads: [wgpu::Buffer; 2],
}

impl Buffers {
    fn new(gpu: Gpu) -> Self {
        let params = params().map(|values| gpu.buffer_of(&values));
        let grads = LENS.map(|len| gpu.buffer_of(&vec![0.0; len]));
        Self { gpu, params, grads }
    }

    fn binding(&self, number: usize) -> Binding<'static> {
        Binding::new(["a", "b"][number], &self.params[number], &self.grads[number])
    }

    fn optimizer(&self, numbers: &[usize], options: GradOptions) -> MiAdam {
        let groups = numbers.iter().map(|&number| group(number));
        let bindings = numbers.iter().map(|&number| self.binding(number));
        let mut optimizer = MiAdam::new(&self.gpu.device, &self.gpu.queue, groups, bindings).unwrap();
        optimizer.set_grad_options(options).unwrap();
        optimizer
    }

    fn pair(&self) -> [MiAdam; 2] {
        let mut leader = self.optimizer(&[0], options());
        leader.set_other_grads([OtherGrad::new(&self.grads[1], LENS[1])]).unwrap();
        let mut follower = self.optimizer(&[1], followers());
        follower.follow(Some(leader.loss_scale())).unwrap();
        assert_eq!(follower.loss_scale(), leader.loss_scale());
        [leader, follower]
    }

    fn write(&self, grads: &[Vec<f32>; 2]) {
        for (buffer, grad) in self.grads.iter().zip(grads) {
            self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(grad));
        }
    }

    fn outcome(&self, report: Report) -> Outcome {
        let floats = |buffers: &[wgpu::Buffer; 2]| buffers.each_ref().map(|buffer| self.gpu.floats(buffer));
        Outcome { params: floats(&self.params), grads: floats(&self.grads), report }
    }
}

fn together_on_gpu(gpu: &Gpu) -> Outcomes {
    let buffers = Buffers::new(gpu.clone());
    let mut optimizer = buffers.optimizer(&[0, 1], options());
    let outcomes = grads().into_iter().map(|grads| {
        buffers.write(&grads);
        gpu.step(&mut optimizer);
        buffers.outcome(gpu.report(&optimizer))
    });
    let outcomes = outcomes.collect();
    (outcomes, gpu.state(&optimizer))
}

#[test]
fn on_the_gpu_with_a_resume_in_between() {
    let Some(gpu) = gpu() else { return };
    let buffers = Buffers::new(gpu.clone());
    let [mut leader, mut follower] = buffers.pair();
    // The advance kernel and two for each dispatch; the tail of the other gradient has one of its own.
    assert_eq!((leader.dispatches().unwrap(), follower.dispatches().unwrap()), (1 + 2 + 2, 1 + 2));
    let mut outcomes = Vec::new();
    for (step, grads) in grads().into_iter().enumerate() {
        if step == STEPS / 2 {
            let saved = [gpu.checkpoint(&leader, false), gpu.checkpoint(&follower, false)];
            [leader, follower] = buffers.pair();
            leader.load(&saved[0]).unwrap();
            follower.load(&saved[1]).unwrap();
        }
        buffers.write(&grads);
        let mut encoder = gpu.encoder();
        leader.step(&mut encoder).unwrap();
        if step == 1 {
            // The leader leaves the follower's gradient as it is.
            gpu.submit(encoder);
            assert!(gpu.floats(&buffers.grads[1]) == grads[1]);
            encoder = gpu.encoder();
        }
        follower.step(&mut encoder).unwrap();
        gpu.submit(encoder);
        let report = gpu.report(&leader);
        assert_follows(&report, &gpu.report(&follower));
        outcomes.push(buffers.outcome(report));
    }
    let states = [gpu.state(&leader), gpu.state(&follower)];
    assert_same(&together_on_gpu(&gpu), &(outcomes, states));
}

#[test]
fn the_same_gradients_once_more_make_nothing() {
    let Some(own) = Gpu::new(wgpu::Limits::default()) else { return };
    let buffers = Buffers::new(own.clone());
    let [mut leader, mut follower] = buffers.pair();
    let mut step = |encoder: &mut wgpu::CommandEncoder| {
        leader.set_other_grads([OtherGrad::new(&buffers.grads[1], LENS[1])]).unwrap();
        leader.step(encoder).unwrap();
        follower.follow(Some(leader.loss_scale())).unwrap();
        follower.step(encoder).unwrap();
    };
    let mut encoder = own.encoder();
    step(&mut encoder);
    own.submit(encoder);
    own.wait();
    let mut encoder = own.encoder();
    let before = own.live_objects();
    (0..5).for_each(|_| step(&mut encoder));
    assert_eq!(own.live_objects(), before);
    own.submit(encoder);
}

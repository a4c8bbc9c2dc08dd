//! Parameters that others write between steps: the next step starts from what is in them.

use miadam::{
    Binding, Checkpoint, Dtype, Error, HalfParams, Hyperparams, MiAdam, Optimizer, Param, ParamGroup, Plane, cpu,
};

use crate::common::{Gpu, Values, gpu};

/// An odd number, so that a tensor in half precision ends with half a word.
const LEN: usize = 1001;

/// Their steps move parameters by about `lr` 1e-3, many times below the last bit of a half near 2.
const NAMES: [&str; 2] = ["a", "b"];

fn group(dtype: Dtype, half_params: HalfParams) -> ParamGroup {
    let params = NAMES.map(|name| Param::new(name, LEN).with_dtype(dtype));
    ParamGroup::new(Hyperparams { half_params, ..Hyperparams::default() }, params)
}

/// Every kind of parameter: with a master copy, rounded at random, and in `f32`.
fn kinds() -> [(Dtype, HalfParams); 4] {
    use HalfParams::{Master, Stochastic};
    [(Dtype::F16, Master), (Dtype::Bf16, Master), (Dtype::Bf16, Stochastic { seed: 3 }), (Dtype::F32, Master)]
}

fn start() -> Vec<f32> {
    (0..LEN).map(|i| 2.0 + (i % 7) as f32).collect()
}

/// Values that every type can hold.
fn best() -> Vec<f32> {
    (0..LEN).map(|i| -1.0 - (i % 5) as f32).collect()
}

/// Two parameters on the GPU.
struct OnGpu {
    gpu: Gpu,
    optimizer: MiAdam,
    params: [wgpu::Buffer; 2],
    dtype: Dtype,
}

fn words(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let mut bytes = Values::new(dtype, values).bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl OnGpu {
    fn new(gpu: Gpu, (dtype, half_params): (Dtype, HalfParams)) -> Self {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let buffer = || gpu.buffer_with("param", &words(dtype, &start()), usage).unwrap();
        let (params, grad) = ([buffer(), buffer()], [0, 1].map(|_| gpu.buffer_of(&vec![0.5; LEN])));
        let bindings = [0, 1].map(|n| Binding::new(NAMES[n], &params[n], &grad[n]).with_grad_dtype(Dtype::F32));
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group(dtype, half_params)], bindings).unwrap();
        Self { gpu, optimizer, params, dtype }
    }

    fn write(&self, number: usize, values: &[f32]) {
        self.gpu.queue.write_buffer(&self.params[number], 0, &words(self.dtype, values));
    }

    fn values(&self, number: usize) -> Vec<f32> {
        Values::from_bytes(self.dtype, &self.gpu.read(&self.params[number]).unwrap(), LEN).single()
    }

    fn master(&self, name: &str) -> Option<Vec<f32>> {
        let state = self.gpu.state(&self.optimizer);
        let own = state.params.iter().find(|state| state.name == name).unwrap();
        own.plane(Plane::Master).map(<[f32]>::to_vec)
    }

    /// A step by `lr` 0, which leaves parameters as they are: what was in them before must be in them after.
    fn still_step(&mut self) {
        self.optimizer.set_lr(0, 0.0).unwrap();
        self.gpu.step(&mut self.optimizer);
        self.optimizer.set_lr(0, 1e-3).unwrap();
    }
}

/// A checkpoint with other values of `a`, and of `b` if it is whole.
fn checkpoint(dtype: Dtype, half_params: HalfParams, whole: bool) -> Checkpoint {
    let mut checkpoint = cpu::MiAdam::new([group(dtype, half_params)]).unwrap().read_checkpoint();
    for name in &NAMES[..if whole { 2 } else { 1 }] {
        checkpoint.insert_param(name, &Values::new(dtype, &best()).as_mut()).unwrap();
    }
    checkpoint
}

#[test]
fn a_step_on_the_gpu_starts_from_what_was_written() {
    let Some(gpu) = gpu() else { return };
    type Way = fn(&mut OnGpu, HalfParams);
    let ways: [(&str, Way); 5] = [
        ("write_params", |run, half_params| {
            run.optimizer.write_params(&checkpoint(run.dtype, half_params, true)).unwrap();
        }),
        ("write_params_lenient", |run, half_params| {
            let skipped = run.optimizer.write_params_lenient(&checkpoint(run.dtype, half_params, false)).unwrap();
            assert_eq!(skipped.iter().map(|skipped| &skipped.entry[..]).collect::<Vec<_>>(), ["b"]);
        }),
        ("write_params_async", |run, half_params| {
            let saved = checkpoint(run.dtype, half_params, true);
            pollster::block_on(run.optimizer.write_params_async(&saved)).unwrap();
        }),
        ("the host's write", |run, _| {
            run.write(0, &best());
            run.optimizer.params_written();
        }),
        ("the host's copy, after a report and a step that was dropped", |run, _| {
            let usage = wgpu::BufferUsages::COPY_SRC;
            let source = run.gpu.buffer_with("best", &words(run.dtype, &best()), usage).unwrap();
            let mut encoder = run.gpu.encoder();
            encoder.copy_buffer_to_buffer(&source, 0, &run.params[0], 0, source.size());
            run.gpu.submit(encoder);
            run.optimizer.params_written();
            let mut dropped = run.gpu.encoder();
            run.optimizer.step(&mut dropped).unwrap();
            drop(dropped);
            run.gpu.report(&run.optimizer);
        }),
    ];
    for kind in kinds() {
        for (name, way) in ways {
            let mut run = OnGpu::new(gpu.clone(), kind);
            (0..3).for_each(|_| run.gpu.step(&mut run.optimizer));
            run.gpu.wait();
            way(&mut run, kind.1);
            run.still_step();
            assert_eq!(run.values(0), best(), "{kind:?}, {name}");
            // And the copies are the values' own from then on.
            assert!(run.master("a").is_none_or(|master| master == best()), "{kind:?}, {name}");
        }
    }
}

#[test]
fn what_nobody_wrote_keeps_every_bit_of_its_copy() {
    let Some(gpu) = gpu() else { return };
    for kind in kinds() {
        let mut run = OnGpu::new(gpu.clone(), kind);
        (0..3).for_each(|_| run.gpu.step(&mut run.optimizer));
        let (master, values) = (run.master("b"), run.values(1));
        run.write(0, &best());
        run.optimizer.params_written();
        run.still_step();
        assert!(run.master("b") == master && run.values(1) == values, "{kind:?}");
        // The copy is ahead of what the parameter can hold, or the test shows nothing.
        assert!(master.is_none_or(|master| master != values), "{kind:?}");
    }
}

#[test]
fn a_step_on_the_cpu_starts_from_what_was_written() {
    for (dtype, half_params) in kinds() {
        let mut optimizer = cpu::MiAdam::new([group(dtype, half_params)]).unwrap();
        let mut params = [0, 1].map(|_| Values::new(dtype, &start()));
        let step = |optimizer: &mut cpu::MiAdam, params: &mut [Values; 2]| {
            let mut grads = [vec![0.5; LEN], vec![0.5; LEN]];
            let bindings = NAMES.iter().zip(params).zip(&mut grads);
            optimizer.step(bindings.map(|((name, param), grad)| cpu::Binding::new(name, param, grad))).unwrap();
        };
        (0..3).for_each(|_| step(&mut optimizer, &mut params));
        let master = |optimizer: &Optimizer<cpu::Cpu>, number: usize| {
            optimizer.read_state().params[number].plane(Plane::Master).map(<[f32]>::to_vec)
        };
        let (before, untouched) = (master(&optimizer, 1), params[1].clone());
        checkpoint(dtype, half_params, false).copy_param("a", &mut params[0]).unwrap();
        optimizer.params_written();
        optimizer.set_lr(0, 0.0).unwrap();
        step(&mut optimizer, &mut params);
        assert_eq!(params[0].single(), best(), "{dtype} {half_params:?}");
        assert!(master(&optimizer, 0).is_none_or(|master| master == best()));
        assert!(master(&optimizer, 1) == before && params[1] == untouched, "{dtype} {half_params:?}");
    }
}

/// Of two buffers wgpu refuses the second: nothing must be written to the first.
#[test]
fn a_destroyed_buffer_is_named_before_anything_is_written() {
    let Some(gpu) = gpu() else { return };
    let mut run = OnGpu::new(gpu, (Dtype::F32, HalfParams::Master));
    let (before, saved) = (run.values(0), checkpoint(run.dtype, HalfParams::Master, true));
    run.params[1].destroy();
    for error in [run.optimizer.write_params(&saved).err(), run.optimizer.write_params_lenient(&saved).err()] {
        assert!(matches!(&error, Some(Error::RefusedBuffer { name, .. }) if name == "b"), "{error:?}");
        assert_eq!(run.values(0), before);
    }
}

#[test]
fn a_buffer_that_is_mapped_from_its_making_is_refused() {
    let Some(gpu) = gpu() else { return };
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let (label, size) = (Some("mapped"), 4 * LEN as u64 + 4);
    let buffer = |mapped_at_creation| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation })
    };
    let [a, b, grad] = [buffer(false), buffer(true), buffer(false)];
    let grads = [&grad, &buffer(false)];
    let bindings = [Binding::new("a", &a, grads[0]), Binding::new("b", &b, grads[1])];
    let group = group(Dtype::F32, HalfParams::Master);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], bindings).unwrap();
    let error = optimizer.write_params(&checkpoint(Dtype::F32, HalfParams::Master, true)).unwrap_err();
    assert!(matches!(&error, Error::RefusedBuffer { name, .. } if name == "b"), "{error}");
    assert!(gpu.floats(&a).iter().all(|&value| value == 0.0), "nothing is written");
}

//! The forms for browsers do natively what the blocking ones do.

use miadam::{
    Binding, Checkpoint, Dtype, Error, GradOptions, GradScaler, Hyperparams, MiAdam, Param, ParamGroup, Skipped, cpu,
};
use pollster::block_on;

use crate::common::{Gpu, Random, gpu, lenient};

const LENS: [usize; 2] = [1000, 37];

fn groups() -> [ParamGroup; 2] {
    let integrating = Hyperparams { order: 2, switch_step: 4, ..Hyperparams::default() };
    let plain = Hyperparams { order: 0, ..Hyperparams::default() };
    [
        ParamGroup::new(integrating, [Param::new("a", LENS[0])]),
        ParamGroup::new(plain, [Param::new("b", LENS[1]).with_dtype(Dtype::Bf16)]),
    ]
}

/// A method, or its form for browsers.
macro_rules! call {
    ($is_async:ident, $optimizer:ident.$method:ident or $future:ident($($argument:expr),*)) => {
        if $is_async { block_on($optimizer.$future($($argument),*)) } else { $optimizer.$method($($argument),*) }
    };
}

/// What came of a run that calls all of them.
type Outcome = (Vec<u32>, Checkpoint, u64, Vec<Skipped>, [Error; 5]);

fn run(gpu: &Gpu, is_async: bool) -> Outcome {
    let mut random = Random(1);
    let mut normal = |len: usize| gpu.buffer_of(&(0..len).map(|_| random.normal()).collect::<Vec<_>>());
    // In bf16 the second is shorter than its buffers.
    let buffers = [[normal(LENS[0]), normal(LENS[0])], [normal(LENS[1]), normal(LENS[1])]];
    let bindings = || {
        ["a", "b"]
            .into_iter()
            .zip(&buffers)
            .map(|(name, [param, grad])| Binding::new(name, param, grad).with_grad_dtype(Dtype::F32))
    };
    let new = |bindings: &[Binding]| {
        let (device, queue, bindings) = (&gpu.device, &gpu.queue, bindings.iter().cloned());
        if is_async {
            block_on(MiAdam::new_async(device, queue, groups(), bindings))
        } else {
            MiAdam::new(device, queue, groups(), bindings)
        }
    };
    let bindings: Vec<_> = bindings().collect();
    let unbound = new(&bindings[..1]).unwrap_err();
    let mut optimizer = new(&bindings).unwrap();

    let scaler = Some(GradScaler { init_scale: 2.0, ..GradScaler::default() });
    let options = GradOptions { clip_norm: Some(1.0), scaler, ..GradOptions::default() };
    call!(is_async, optimizer.set_grad_options or set_grad_options_async(options)).unwrap();
    let wrong = GradOptions { factor: 0.0, ..options };
    let wrong = call!(is_async, optimizer.set_grad_options or set_grad_options_async(wrong)).unwrap_err();
    if is_async {
        block_on(optimizer.prepare_async()).unwrap();
    }
    gpu.step(&mut optimizer);
    let saved = gpu.checkpoint(&optimizer, true);
    gpu.step(&mut optimizer);
    call!(is_async, optimizer.load or load_async(&saved)).unwrap();
    call!(is_async, optimizer.write_params or write_params_async(&saved)).unwrap();

    let other = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("c", 1)])]).unwrap();
    let other = other.read_checkpoint();
    let misfit = call!(is_async, optimizer.load or load_async(&other)).unwrap_err();
    let missing = call!(is_async, optimizer.write_params or write_params_async(&other)).unwrap_err();
    let early = call!(is_async, optimizer.release_integrals or release_integrals_async()).unwrap_err();

    // Another optimizer's state of `a`, and none of `b`.
    let [group, _] = groups();
    let mut half = cpu::MiAdam::new([group]).unwrap();
    half.step([cpu::Binding::new("a", &mut [0.0; LENS[0]], &mut [1.0; LENS[0]])]).unwrap();
    let half = half.read_checkpoint();
    let skipped = call!(is_async, optimizer.load_with or load_with_async(&half, &lenient())).unwrap();

    for _ in 0..3 {
        gpu.step(&mut optimizer);
    }
    assert_eq!(gpu.report(&optimizer).step, 4);
    let freed = call!(is_async, optimizer.release_integrals or release_integrals_async()).unwrap();
    gpu.step(&mut optimizer);
    let params = buffers.iter().flat_map(|[param, _]| gpu.floats(param)).map(f32::to_bits).collect();
    (params, gpu.checkpoint(&optimizer, true), freed, skipped, [unbound, wrong, misfit, missing, early])
}

#[test]
fn both_forms_do_the_same() {
    let Some(gpu) = gpu() else { return };
    let [blocking, future] = [false, true].map(|is_async| run(&gpu, is_async));
    assert!(blocking.0 == future.0, "the parameters");
    assert!(blocking.1 == future.1, "the checkpoint");
    assert_eq!((&blocking.2, &blocking.3, &blocking.4), (&future.2, &future.3, &future.4));
    assert!(blocking.2 > 0 && !blocking.3.is_empty(), "something is freed, and something skipped");
}

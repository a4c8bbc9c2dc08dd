//! Numbers near both ends of the range of f32: where a result is in the normal range, so is all that leads to it. Many GPUs take
//! subnormal inputs and results for 0. The GPU's tests show that on such a device; the CPU's run with a processor set to do so.

use half::{bf16, f16};
use miadam::math::half::{bf16_nearest, bf16_to_f32, f16_nearest, f16_to_f32};
use miadam::{GradOptions, GradScaler, Hyperparams, Plane, StepScale};

use crate::common::{Groups, OnCpu, OnGpu, Random, Run, Start};

const TINY: f64 = f32::MIN_POSITIVE as f64;
const HUGE: f64 = f32::MAX as f64;

/// Runs `work` with a processor that takes subnormal inputs and results for 0.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn flushing<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let set = |_| {
        // As it is after a reset, all exceptions masked, and with the bits that flush results and inputs.
        let mxcsr = 0x1f80_u32 | 0x8000 | 0x0040;
        // SAFETY: the compiler takes the processor for one that flushes nothing. These threads run nothing but the test, and
        // what the compiler may compute by itself is not what is tested. The threads end with the pool.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, readonly)) };
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(set).build().unwrap();
    pool.install(|| {
        let [smallest, half] = [f32::MIN_POSITIVE, 0.5].map(std::hint::black_box);
        assert_eq!(smallest * half, 0.0);
        work()
    })
}

/// Elsewhere the processor is as it is.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn flushing<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    work()
}

/// A group of one parameter of zeros.
fn zeros(hyperparams: Hyperparams, len: usize) -> (Hyperparams, Vec<Start>) {
    let name = format!("{hyperparams:?}");
    (hyperparams, vec![Start { name, dtype: miadam::Dtype::F32, values: vec![0.0; len] }])
}

/// A device to run on, and how to read the norm from it.
struct Device<R> {
    norm: fn(&R) -> f32,
    /// Below this, first moments count as 0.
    floor: f64,
}

const GPU: Device<OnGpu> = Device { norm: |run| run.gpu.report(&run.optimizer).grad_norm.unwrap(), floor: TINY };
const CPU: Device<OnCpu> = Device { norm: |run| run.optimizer.read_report().grad_norm.unwrap(), floor: 1e-34 };

/// A result that should be `exact`: within so many roundings if that is in the range from `floor` up, and otherwise past the
/// same end of it.
fn assert_near(found: f32, exact: f64, floor: f64, roundings: f64, context: std::fmt::Arguments) {
    let (found, size, bound) = (f64::from(found), exact.abs(), roundings * f64::from(f32::EPSILON));
    let holds = if size < floor * (1.0 + bound) {
        found.abs() <= floor * (1.0 + 2.0 * bound)
    } else if size > HUGE * (1.0 - bound) {
        found * exact.signum() >= HUGE * (1.0 - 2.0 * bound)
    } else {
        (found / exact - 1.0).abs() <= bound
    };
    assert!(holds, "{context}: {found:e} is not {exact:e}");
}

/// Gradients of ±g, of which the norm is √8·|g|, under every loss scale, factor and bound.
fn assert_verdicts<R: Run>(device: &Device<R>, every: usize) {
    const LEN: usize = 8;
    // The first moment is the gradient as it is used, and the second its square.
    let hyperparams = Hyperparams { beta1: 0.0, beta2: 0.0, ..Hyperparams::default() };
    let Some(mut run) = R::new(&vec![zeros(hyperparams, LEN)], false) else { return };
    let fresh = run.checkpoint();
    let exponents = [-126, -110, -81, -64, -62, -40, -35, -34, -33, -20, 0, 17, 19, 31, 33, 60, 63, 64, 100, 126];
    // Powers of two, and what is none.
    let scales =
        [TINY, 1.25 * 2f64.powi(-71), 2f64.powi(-20), 65_536.0, 1.25 * 2f64.powi(61), 2f64.powi(126)].map(Some);
    let scales = [&[None][..], &scales].concat();
    let factors = [1.0, 1.5 * TINY, 1.0 / 3.0, 2f64.powi(120)];
    let bounds = [None, Some(TINY), Some(1e-30), Some(1.0), Some(1e30)];
    let cases = exponents.len() * scales.len() * factors.len() * bounds.len();
    for case in (every / 2..cases).step_by(every) {
        let (rest, bound) = (case / bounds.len(), bounds[case % bounds.len()]);
        let (rest, factor) = (rest / factors.len(), factors[rest % factors.len()]);
        let (exponent, init_scale) = (exponents[rest / scales.len()], scales[rest % scales.len()]);
        run.load(&fresh);
        let scaler = init_scale.map(|init_scale| GradScaler { init_scale, ..GradScaler::default() });
        let options = GradOptions { factor, clip_norm: bound, measure_norm: true, scaler, ..GradOptions::default() };
        run.optimizer().set_grad_options(options).unwrap();
        let grad = 1.25 * 2f32.powi(exponent);
        run.step(|_| (0..LEN).map(|i| if i % 2 == 0 { grad } else { -grad }).collect());
        let context = format_args!("gradient {grad:e}, {options:?}");
        let unscaled = f64::from(grad) * f64::from(factor as f32) / init_scale.unwrap_or(1.0);
        let norm = unscaled * (LEN as f64).sqrt();
        // The roundings: of a square, of three sums of squares, and of the root, where those count half; of the factor, of its
        // quotient with the scale, which WGSL allows 2.5, and of the product of both.
        assert_near((device.norm)(&run), norm, TINY, 8.0, context);
        let ratio = bound.map_or(1.0, |bound| f64::from(bound as f32) / (norm + f64::from(1e-6f32)));
        let used = unscaled * ratio.min(1.0);
        let found = run.checkpoint();
        let state = &found.states()[0];
        let [first, second] = [Plane::FirstMoment, Plane::SecondMoment].map(|plane| state.plane(plane).unwrap());
        // As many again for the quotient of bound and norm, its product with the factor, and that with the gradient.
        assert_near(first[0], used, device.floor, 16.0, context);
        assert_near(first[LEN - 1], -used, device.floor, 16.0, context);
        assert_near(second[0], used * used, TINY, 32.0, context);
    }
}

/// One step of zeros, θ = -α_t·g/(|g| + ε), for gradients, ε and α_t of any size.
fn assert_updates<R: Run>(device: &Device<R>) {
    let grads: Vec<_> = (-126..128).map(|exponent| 1.25 * 2f32.powi(exponent)).collect();
    let mut groups = Groups::new();
    for eps in [0.0, 2.0 * TINY, 1e-30, 1e-8, 1.0, 1e10, 1e30] {
        for lr in [1e-18, 1e-3, 0.05, 1.0, 30.0, 1e6, 1e18] {
            groups.push(zeros(Hyperparams { lr, eps, order: 0, ..Hyperparams::default() }, grads.len()));
            let order = Hyperparams { lr, eps, order: 2, kappa: 0.9, ..Hyperparams::default() };
            groups.push(zeros(order, grads.len()));
        }
    }
    let Some(mut run) = R::new(&groups, true) else { return };
    run.step(|_| grads.clone());
    for ((hyperparams, _), found) in groups.iter().zip(run.params()) {
        let eps = f64::from(hyperparams.eps as f32);
        for (&grad, found) in grads.iter().zip(found) {
            let g = f64::from(grad);
            let (first, second) = (0.1 * g, 1e-3 * g * g);
            // Moments out of range are lost, unless ε is all that counts beside the second. A square past the range is
            // infinite, and its element stands still.
            if first < device.floor || g * g > HUGE || (second < TINY && g > 1e-9 * eps) {
                continue;
            }
            let alpha = hyperparams.lr.powi(hyperparams.order.max(1) as i32);
            let context = format_args!("gradient {grad:e}, {hyperparams:?}");
            // A dozen operations, of which WGSL allows the two quotients and the root 2.5 each.
            assert_near(found, -alpha * g / (g + eps), TINY, 16.0, context);
        }
    }
}

#[test]
fn verdicts_are_right_on_the_gpu() {
    // A part of them: a case takes milliseconds.
    assert_verdicts(&GPU, 1);
}

#[test]
fn verdicts_are_right_on_a_cpu_that_flushes() {
    assert_verdicts(&CPU, 1);
    flushing(|| assert_verdicts(&CPU, 1));
}

#[test]
fn updates_are_right_on_the_gpu() {
    assert_updates(&GPU);
}

#[test]
fn updates_are_right_on_a_cpu_that_flushes() {
    assert_updates(&CPU);
    flushing(|| assert_updates(&CPU));
}

/// Where everything is far from the ends, nothing on the way is subnormal either.
#[test]
fn flushing_changes_no_bit_of_a_training() {
    let all = |order, step_scale, amsgrad| {
        let hyperparams = Hyperparams { order, step_scale, amsgrad, switch_step: 8, ..Hyperparams::default() };
        zeros(hyperparams, 2000)
    };
    let groups = vec![
        all(0, StepScale::Paper, true),
        all(1, StepScale::Reference, false),
        all(3, StepScale::UnitGain, false),
        all(2, StepScale::ExactGain, false),
    ];
    let scaler = Some(GradScaler { growth_interval: 2, ..GradScaler::default() });
    let options =
        GradOptions { factor: 0.1, clip_norm: Some(0.5), clip_value: Some(0.01), scaler, ..GradOptions::default() };
    let train = || {
        let mut run = OnCpu::new(&groups, false).unwrap();
        run.optimizer().set_grad_options(options).unwrap();
        let random = std::cell::RefCell::new(Random(1));
        for step in 0..12 {
            let size = [1.0, 1e-4, 1e4][step % 3];
            run.step(|_| (0..2000).map(|_| size * random.borrow_mut().normal()).collect());
        }
        run.checkpoint()
    };
    assert!(flushing(train) == train());
}

/// The twins of the conversions, against the crate `half` where nothing is flushed.
#[test]
fn flushing_changes_no_bit_of_a_conversion() {
    // Every 16 bits, and an f32 of every exponent, on both sides of many ties.
    let singles = || (0..=u32::MAX).step_by(1021).map(f32::from_bits);
    let widened: Vec<_> = (0..=u16::MAX)
        .map(|bits| [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()].map(f32::to_bits))
        .collect();
    let narrowed: Vec<_> = singles().map(|x| [f16::from_f32(x).to_bits(), bf16::from_f32(x).to_bits()]).collect();
    flushing(|| {
        for (bits, &expected) in (0..=u16::MAX).zip(&widened) {
            let found = [f16_to_f32(f16::from_bits(bits)), bf16_to_f32(bf16::from_bits(bits))].map(f32::to_bits);
            assert_eq!(found, expected, "{bits:x}");
        }
        for (x, &expected) in singles().zip(&narrowed) {
            assert_eq!([f16_nearest(x).to_bits(), bf16_nearest(x).to_bits()], expected, "{:x}", x.to_bits());
        }
    });
}

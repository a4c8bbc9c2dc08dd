//! The gradient of every operation is the slope of the loss, on the CPU; and the GPU has the CPU's.

use miadam::wgpu::Limits;
use miadam_support::gpu::Gpu;
use miadam_support::random::Random;

use crate::cpu::CpuDevice;
use crate::device::{Device, Result};
use crate::gpu::GpuDevice;
use crate::tape::{Tape, Var};

/// Sizes that fill no tile, so that edges are met.
#[derive(Debug, Clone, Copy)]
enum Case {
    Add,
    Attend,
    Embed,
    Matmul,
    Norm,
    SquareRelu,
    /// A value that is used three times, and one that is given and used twice.
    Reuse,
}

const CASES: [Case; 7] =
    [Case::Add, Case::Attend, Case::Embed, Case::Matmul, Case::Norm, Case::SquareRelu, Case::Reuse];

/// The rows of every output.
const ROWS: usize = 10;

impl Case {
    /// The shapes of what the case is computed from.
    fn shapes(self) -> Vec<[usize; 2]> {
        match self {
            Self::Add => vec![[ROWS, 7], [ROWS, 7]],
            // Two sequences, two heads of depth 3.
            Self::Attend => vec![[ROWS, 18]],
            Self::Embed => vec![[4, 7]],
            Self::Matmul => vec![[ROWS, 5], [5, 7]],
            Self::Norm => vec![[ROWS, 7], [1, 7]],
            Self::SquareRelu => vec![[ROWS, 7]],
            Self::Reuse => vec![[ROWS, 7], [7, 7]],
        }
    }

    fn output<D: Device>(self, tape: &mut Tape<'_, D>, ids: &D::Slice, given: &[Var]) -> Result<Var> {
        match (self, given) {
            (Self::Add, &[a, b]) => tape.add(a, b),
            (Self::Attend, &[qkv]) => tape.attend(qkv, ROWS / 2, 2),
            (Self::Embed, &[table]) => tape.embed(ids, ROWS, table),
            (Self::Matmul, &[a, b]) => tape.matmul(a, b),
            (Self::Norm, &[x, gain]) => tape.norm(x, gain),
            (Self::SquareRelu, &[x]) => tape.square_relu(x),
            (Self::Reuse, &[x, weights]) => {
                let once = tape.matmul(x, weights)?;
                let twice = tape.matmul(once, weights)?;
                let sum = tape.add(once, twice)?;
                tape.add(sum, once)
            }
            _ => unreachable!("{self:?} of {} inputs", given.len()),
        }
    }

    fn inputs(self) -> Vec<Vec<f32>> {
        let mut random = Random(5);
        self.shapes().iter().map(|[rows, columns]| (0..rows * columns).map(|_| random.normal()).collect()).collect()
    }

    /// The mean cross-entropy of the output, and the gradient of each input.
    fn evaluate<D: Device>(self, device: &mut D, inputs: &[Vec<f32>]) -> Result<(f64, Vec<Vec<f32>>)> {
        let kept: Vec<_> = inputs.iter().map(|values| device.keep(values)).collect::<Result<_>>()?;
        let losses = device.keep(&[0.0; ROWS])?;
        device.begin()?;
        // Entry 2 of a table is never used, and others are more than once.
        let ids = device.upload(&[0.0, 3.0, 3.0, 1.0, 0.0, 0.0, 1.0, 3.0, 3.0, 3.0])?;
        let targets = device.upload(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 2.0, 5.0])?;
        let mut tape = Tape::new(device);
        let given = kept.iter().zip(self.shapes()).map(|(slice, shape)| tape.given(slice, shape, true));
        let given: Vec<_> = given.collect();
        let output = self.output(&mut tape, &ids, &given)?;
        let grad = tape.cross_entropy(output, &targets, &losses)?;
        let grads = tape.backward(output, grad, &given)?;
        device.submit()?;
        let losses = device.read(&losses)?;
        let grads = grads.iter().flatten().map(|grad| device.read(grad)).collect::<Result<_>>()?;
        Ok((losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / ROWS as f64, grads))
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    const STEP: f32 = 1e-2;
    for case in CASES {
        let (_, grads) = case.evaluate(&mut CpuDevice, &case.inputs()).unwrap();
        assert_eq!(grads.len(), case.shapes().len(), "{case:?}");
        for (number, grad) in grads.iter().enumerate() {
            assert!(grad.iter().any(|grad| grad.abs() > 1e-2), "{case:?}: the gradients are all but 0");
            for (element, grad) in grad.iter().enumerate() {
                let loss_at = |step: f32| {
                    let mut inputs = case.inputs();
                    inputs[number][element] += step;
                    case.evaluate(&mut CpuDevice, &inputs).unwrap().0
                };
                let slope = (loss_at(STEP) - loss_at(-STEP)) / f64::from(2.0 * STEP);
                // A loss in f32 is wrong by 1e-7 or so, its slope by that over the step; the rest of the series is as small as
                // the step squared.
                let found = f64::from(*grad);
                assert!((found - slope).abs() < 2e-4, "{case:?}, input {number}[{element}]: {found}, not {slope}");
            }
        }
    }
}

#[test]
fn the_gpu_has_the_gradients_of_the_cpu() {
    let Some(gpu) = Gpu::for_test(Limits::default()) else { return };
    let mut device = GpuDevice::new(gpu).unwrap();
    for case in CASES {
        let inputs = case.inputs();
        let (loss, grads) = case.evaluate(&mut CpuDevice, &inputs).unwrap();
        let (gpu_loss, gpu_grads) = case.evaluate(&mut device, &inputs).unwrap();
        // Sums of at most some tens of terms of about 1, and gradients of at most 1.
        assert!((loss - gpu_loss).abs() < 1e-5, "{case:?}: {gpu_loss}, not {loss}");
        for (grad, gpu_grad) in grads.iter().flatten().zip(gpu_grads.iter().flatten()) {
            assert!((grad - gpu_grad).abs() < 1e-5, "{case:?}: {gpu_grad}, not {grad}");
        }
        assert_eq!(grads.iter().flatten().count(), gpu_grads.iter().flatten().count(), "{case:?}");
    }
}

#[test]
fn what_is_frozen_has_no_gradient() {
    let mut device = CpuDevice;
    let [x, weights] = [[1.0; 6], [0.5; 6]].map(|values| device.keep(&values).unwrap());
    let mut tape = Tape::new(&mut device);
    let (x, weights) = (tape.given(&x, [2, 3], false), tape.given(&weights, [3, 2], true));
    let out = tape.matmul(x, weights).unwrap();
    let grad = tape.slice(out);
    let grads = tape.backward(out, grad, &[x, weights]).unwrap();
    assert!(grads[0].is_none() && grads[1].is_some());
}

//! What wgpu refuses late is an error all the same.

use miadam::wgpu::{Buffer, BufferDescriptor, BufferUsages, ErrorFilter};
use miadam::{Binding, Error, GradOptions, Hyperparams, MiAdam, Param, ParamGroup};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::gpu::{Gpu, pause, values};

const LEN: usize = 1000;

/// More state than any device has: each integral takes a gigabyte.
fn far_too_much() -> (Hyperparams, usize) {
    (Hyperparams { order: 4000, ..Hyperparams::default() }, 30_000_000)
}

/// A buffer with an error in it, as a browser gives where it cannot make one.
async fn invalid_buffer(gpu: &Gpu) -> Buffer {
    let scope = gpu.device.push_error_scope(ErrorFilter::Validation);
    // The two usages exclude each other.
    let usage = BufferUsages::STORAGE | BufferUsages::MAP_READ;
    let descriptor = BufferDescriptor { label: None, size: 4 * LEN as u64, usage, mapped_at_creation: false };
    let buffer = gpu.device.create_buffer(&descriptor);
    assert!(scope.pop().await.is_some(), "the buffer is refused");
    buffer
}

#[wasm_bindgen_test]
async fn an_invalid_buffer_is_refused_by_new() {
    let gpu = Gpu::open().await;
    let [param, grad] = [0; 2].map(|_| gpu.zeros(4 * LEN as u64));
    let invalid = invalid_buffer(&gpu).await;
    let group = || ParamGroup::new(Hyperparams::default(), [Param::new("w", LEN)]);
    for binding in [Binding::new("w", &invalid, &grad), Binding::new("w", &param, &invalid)] {
        let result = MiAdam::new_async(&gpu.device, &gpu.queue, [group()], [binding]).await;
        assert!(matches!(result, Err(Error::Gpu { .. } | Error::RefusedBuffer { .. })), "{result:?}");
    }
    gpu.assert_host_heard_nothing().await;
}

#[wasm_bindgen_test]
async fn a_refused_change_changes_nothing() {
    let gpu = Gpu::open().await;
    let (mut optimizer, _param) = gpu.small(Hyperparams::default(), LEN).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    let before = gpu.checkpoint(&optimizer).await.unwrap();
    let invalid = invalid_buffer(&gpu).await;
    // The places are looked at by the next plan.
    let grad = gpu.zeros(4 * LEN as u64);
    optimizer.rebind([Binding::new("w", &invalid, &grad)]).unwrap();
    assert!(optimizer.prepare_async().await.is_err());
    // Without it the step is refused late, and the next call tells.
    let mut encoder = gpu.encoder();
    let first = optimizer.step(&mut encoder);
    drop(encoder);
    pause(50).await;
    let mut encoder = gpu.encoder();
    assert!(first.is_err() || optimizer.step(&mut encoder).is_err());
    drop(encoder);

    let param = gpu.filled(bytemuck::cast_slice(&values(&before, "w", LEN)));
    let grad = gpu.filled(bytemuck::cast_slice(&vec![1.0_f32; LEN]));
    optimizer.rebind([Binding::new("w", &param, &grad)]).unwrap();
    optimizer.prepare_async().await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    let after = gpu.checkpoint(&optimizer).await.unwrap();
    assert_eq!(after.step(), 2);
    assert_ne!(values(&after, "w", LEN), values(&before, "w", LEN));
    gpu.assert_host_heard_nothing().await;
}

#[wasm_bindgen_test]
async fn memory_that_is_not_to_be_had_is_an_error() {
    let gpu = Gpu::open().await;
    let (hyperparams, len) = far_too_much();
    let [param, grad] = [0; 2].map(|_| gpu.zeros(4 * len as u64));
    let group = ParamGroup::new(hyperparams, [Param::new("w", len)]);
    let bindings = [Binding::new("w", &param, &grad)];
    let result = MiAdam::new_async(&gpu.device, &gpu.queue, [group], bindings).await;
    assert!(result.is_err(), "{result:?}");
    param.destroy();
    grad.destroy();
}

#[wasm_bindgen_test]
async fn options_out_of_range_are_refused_at_once() {
    let gpu = Gpu::open().await;
    let (mut optimizer, _param) = gpu.small(Hyperparams::default(), LEN).await.unwrap();
    let wrong = GradOptions { factor: 0.0, ..GradOptions::default() };
    assert!(optimizer.set_grad_options_async(wrong).await.is_err());
    gpu.step(&mut optimizer).unwrap();
    assert_eq!(gpu.checkpoint(&optimizer).await.unwrap().step(), 1);
}

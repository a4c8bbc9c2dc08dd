//! Memory is freed when it is released or dropped, and not before recorded steps have run.

use js_sys::Function;
use miadam::{Binding, Hyperparams, MiAdam, Param, ParamGroup};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::gpu::{Gpu, pause, values};

const LEN: usize = 2000;

fn integrating() -> Hyperparams {
    Hyperparams { order: 2, switch_step: 3, ..Hyperparams::default() }
}

#[wasm_bindgen_test]
async fn a_recorded_step_outlives_the_release_of_its_integrals() {
    let gpu = Gpu::open().await;
    let run = async |releases: bool| {
        let (mut optimizer, _param) = gpu.small(integrating(), LEN).await.unwrap();
        for _ in 0..3 {
            gpu.step(&mut optimizer).unwrap();
        }
        // The switch is known to be past.
        gpu.checkpoint(&optimizer).await.unwrap();
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        let mut in_pass = gpu.encoder();
        optimizer.step_in_pass(&mut in_pass.begin_compute_pass(&Default::default())).unwrap();
        if releases {
            assert!(optimizer.release_integrals_async().await.unwrap() > 0);
            pause(20).await;
        }
        gpu.queue.submit([encoder.finish(), in_pass.finish()]);
        gpu.step(&mut optimizer).unwrap();
        let checkpoint = gpu.checkpoint(&optimizer).await.unwrap();
        assert_eq!(checkpoint.step(), 6);
        values(&checkpoint, "w", LEN)
    };
    assert!(run(true).await == run(false).await, "the release changes what recorded steps do");
    gpu.assert_host_heard_nothing().await;
}

#[wasm_bindgen_test]
async fn a_recorded_step_outlives_its_optimizer() {
    let gpu = Gpu::open().await;
    let (mut optimizer, param) = gpu.small(integrating(), LEN).await.unwrap();
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    let state = optimizer.read_state(&mut encoder).unwrap();
    drop(optimizer);
    pause(20).await;
    gpu.queue.submit([encoder.finish()]);
    assert_eq!(state.await.unwrap().step, 1);
    // Another optimizer over the same parameter reads it.
    let grad = gpu.zeros(4 * LEN as u64);
    let group = ParamGroup::new(integrating(), [Param::new("w", LEN)]);
    let bindings = [Binding::new("w", &param, &grad)];
    let reader = MiAdam::new_async(&gpu.device, &gpu.queue, [group], bindings).await.unwrap();
    let checkpoint = gpu.checkpoint(&reader).await.unwrap();
    assert!(values(&checkpoint, "w", LEN).iter().all(|value| *value < 0.0));
    gpu.assert_host_heard_nothing().await;
}

/// Counts the bytes of large buffers that were made and not destroyed, from now on. What the garbage collector does cannot be
/// seen, and must not be needed.
const COUNT: &str = "
    const live = new Map();
    const { createBuffer } = GPUDevice.prototype;
    GPUDevice.prototype.createBuffer = function (descriptor) {
        const buffer = createBuffer.call(this, descriptor);
        if (descriptor.size > 1 << 20) live.set(buffer, descriptor.size);
        return buffer;
    };
    const { destroy } = GPUBuffer.prototype;
    GPUBuffer.prototype.destroy = function () {
        live.delete(this);
        return destroy.call(this);
    };
    return () => [...live.values()].reduce((sum, size) => sum + size, 0);";

#[wasm_bindgen_test]
async fn dropped_and_released_memory_is_freed() {
    const LARGE: usize = 1 << 20;
    const PLANE: f64 = 4.0 * LARGE as f64;
    let counter = Function::new_no_args(COUNT).call0(&JsValue::NULL).unwrap();
    let live = || {
        let bytes = counter.unchecked_ref::<Function>().call0(&JsValue::NULL).unwrap();
        bytes.as_f64().unwrap() / PLANE
    };
    let gpu = Gpu::open().await;
    let [param, grad] = [0; 2].map(|_| gpu.zeros(4 * LARGE as u64));
    assert_eq!(live(), 2.0);

    let group = ParamGroup::new(integrating(), [Param::new("w", LARGE)]);
    let bindings = [Binding::new("w", &param, &grad)];
    let mut optimizer = MiAdam::new_async(&gpu.device, &gpu.queue, [group], bindings).await.unwrap();
    assert_eq!(live(), 2.0 + 4.0);
    for _ in 0..3 {
        gpu.step(&mut optimizer).unwrap();
    }
    // Readbacks free what they were copied to.
    let checkpoint = gpu.checkpoint(&optimizer).await.unwrap();
    pause(20).await;
    assert_eq!(live(), 2.0 + 4.0);

    // A recorded step keeps the integrals until it has run.
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    optimizer.release_integrals_async().await.unwrap();
    assert_eq!(live(), 2.0 + 4.0);
    gpu.queue.submit([encoder.finish()]);
    for _ in 0..500 {
        if live() < 2.0 + 4.0 {
            break;
        }
        pause(20).await;
    }
    assert_eq!(live(), 2.0 + 2.0);

    // A loaded checkpoint takes the place of the state before. One that is dropped holds nothing either.
    optimizer.load_async(&checkpoint).await.unwrap();
    assert_eq!(live(), 2.0 + 4.0);
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    drop(encoder);
    drop(optimizer);
    assert_eq!(live(), 2.0);
    [param, grad].iter().for_each(|buffer| buffer.destroy());
    gpu.assert_host_heard_nothing().await;
}

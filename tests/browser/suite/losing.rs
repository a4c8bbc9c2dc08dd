//! A lost device, without the host's flag.

use miadam::{Error, Hyperparams};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::gpu::{Gpu, pause};

#[wasm_bindgen_test]
async fn a_loss_is_found_at_once_by_what_awaits() {
    let gpu = Gpu::open().await;
    let (mut optimizer, _param) = gpu.small(Hyperparams::default(), 1000).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    gpu.device.destroy();
    assert!(matches!(optimizer.prepare_async().await, Err(Error::DeviceLost)));
    let again = gpu.small(Hyperparams::default(), 1000).await.map(|_| ());
    assert!(matches!(again, Err(Error::DeviceLost)), "{again:?}");
}

#[wasm_bindgen_test]
async fn a_loss_is_found_a_little_later_by_steps() {
    let gpu = Gpu::open().await;
    let (mut optimizer, _param) = gpu.small(Hyperparams::default(), 1000).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    gpu.device.destroy();
    // One step that was asked about before the loss, one that asks, one that hears.
    for _ in 0..3 {
        if let Err(error) = gpu.step(&mut optimizer) {
            assert!(matches!(error, Error::DeviceLost), "{error:?}");
            return;
        }
        pause(50).await;
    }
    panic!("three steps on a lost device are not refused");
}

#[wasm_bindgen_test]
async fn a_readback_under_way_is_lost_with_the_device() {
    let gpu = Gpu::open().await;
    let (optimizer, _param) = gpu.small(Hyperparams::default(), 1000).await.unwrap();
    let mut encoder = gpu.encoder();
    let report = optimizer.read_report(&mut encoder).unwrap();
    gpu.device.destroy();
    gpu.queue.submit([encoder.finish()]);
    assert!(matches!(report.await, Err(Error::ReadbackLost | Error::DeviceLost)));
}

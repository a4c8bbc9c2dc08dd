//! Checkpoints in memory, and changes whose answer is awaited.

use miadam::{Binding, Checkpoint, Error, Hyperparams, Param, ParamGroup};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::gpu::{Gpu, values};

const LEN: usize = 3000;

#[wasm_bindgen_test]
async fn a_checkpoint_in_memory_goes_on_with_the_same_bits() {
    let gpu = Gpu::open().await;
    let hyperparams = Hyperparams { order: 2, switch_step: 5, ..Hyperparams::default() };
    let (mut first, _param) = gpu.small(hyperparams.clone(), LEN).await.unwrap();
    for _ in 0..3 {
        gpu.step(&mut first).unwrap();
    }
    let bytes = gpu.checkpoint(&first).await.unwrap().to_bytes().unwrap();
    for _ in 0..4 {
        gpu.step(&mut first).unwrap();
    }
    let expected = gpu.checkpoint(&first).await.unwrap();

    let saved = Checkpoint::from_bytes(&bytes).unwrap();
    assert!(saved.save("a file").is_err(), "there are no files");
    assert!(Checkpoint::from_bytes(&bytes[..bytes.len() / 2]).is_err());
    let (mut second, _other) = gpu.small(hyperparams, LEN).await.unwrap();
    second.load_async(&saved).await.unwrap();
    second.write_params_async(&saved).await.unwrap();
    for _ in 0..4 {
        gpu.step(&mut second).unwrap();
    }
    let found = gpu.checkpoint(&second).await.unwrap();
    assert_eq!(found.step(), 7);
    assert_eq!(found.to_bytes().unwrap(), expected.to_bytes().unwrap());
    gpu.assert_host_heard_nothing().await;
}

#[wasm_bindgen_test]
async fn nothing_blocks() {
    let gpu = Gpu::open().await;
    let (optimizer, _param) = gpu.small(Hyperparams::default(), LEN).await.unwrap();
    let mut encoder = gpu.encoder();
    let report = optimizer.read_report(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
    assert!(matches!(report.wait(), Err(Error::CannotWait)));
    gpu.assert_host_heard_nothing().await;
}

#[wasm_bindgen_test]
async fn parameters_come_and_go() {
    let gpu = Gpu::open().await;
    let (mut optimizer, _param) = gpu.small(Hyperparams::default(), LEN).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    let (param, grad) = (gpu.zeros(400), gpu.filled(bytemuck::cast_slice(&[1.0_f32; 100])));
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("head", 100)]);
    let number = optimizer.add_group_async(group, [Binding::new("head", &param, &grad)]).await.unwrap();
    optimizer.set_hyperparams_async(number, Hyperparams { order: 3, ..Hyperparams::default() }).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    optimizer.set_group_async(["head"], 0).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    let with_head = gpu.checkpoint(&optimizer).await.unwrap();
    assert!(values(&with_head, "head", 100).iter().all(|value| *value < 0.0));
    optimizer.remove_params_async(["head"]).await.unwrap();
    gpu.step(&mut optimizer).unwrap();
    let without = gpu.checkpoint(&optimizer).await.unwrap();
    assert!(without.copy_param("head", &mut [0.0_f32; 100]).is_err());
    assert!(values(&without, "w", LEN)[0] < values(&with_head, "w", LEN)[0]);
    gpu.assert_host_heard_nothing().await;
}

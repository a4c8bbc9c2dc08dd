//! The self-check: the GPU's steps beside the CPU twin's.

use miadam::wgpu::BufferUsages;
use miadam::{Binding, MiAdam, Param, ParamGroup, cpu};
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::Result;
use crate::gpu::Gpu;
use crate::random::Random;
use crate::settings::{Settings, json};

const STEPS: usize = 20;
/// Not a multiple of anything that a kernel likes.
const LEN: usize = 10_007;

#[derive(Serialize)]
struct Verdict {
    steps: usize,
    elements: usize,
    /// Parameters that have the same bits.
    equal: usize,
    /// The largest difference, in parts of the way that the parameter went.
    difference: f64,
}

/// Takes 20 steps by the same random gradients with MIAdam of these settings, on the GPU and on the CPU twin. ζ is 11 unless it is
/// lower, so that both phases are run.
///
/// # Errors
/// If the device fails.
#[wasm_bindgen]
pub async fn self_check(settings: String) -> Result<String> {
    let mut hyperparams = Settings::parse(&settings)?.miadam();
    hyperparams.switch_step = hyperparams.switch_step.min(11);
    let gpu = Gpu::open().await?;
    let group = || ParamGroup::new(hyperparams.clone(), [Param::new("w", LEN)]);
    let mut random = Random(20);
    let start: Vec<f32> = (0..LEN).map(|_| random.normal()).collect();
    let gradients = (0..STEPS).map(|_| (0..LEN).map(|_| random.normal()).collect());
    let gradients: Vec<Vec<f32>> = gradients.collect();

    let mut expected = start.clone();
    let mut twin = cpu::MiAdam::new([group()]).map_err(|error| format!("{error}."))?;
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    let param = gpu.buffer_with("w", bytemuck::cast_slice(&start), usage);
    let grad = gpu.buffer_with("g", bytemuck::cast_slice(&start), usage);
    let optimizer = MiAdam::new_async(&gpu.device, &gpu.queue, [group()], [Binding::new("w", &param, &grad)]).await;
    let mut optimizer = optimizer.map_err(|error| gpu.explain(error))?;
    for mut gradient in gradients {
        gpu.queue.write_buffer(&grad, 0, bytemuck::cast_slice(&gradient));
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).map_err(|error| gpu.explain(error))?;
        gpu.queue.submit([encoder.finish()]);
        twin.step([cpu::Binding::new("w", &mut expected, &mut gradient)]).map_err(|error| format!("{error}."))?;
    }
    let found = gpu.run_and_read(gpu.encoder(), &[&param]).await?;
    gpu.device.destroy();
    let equal = found.iter().zip(&expected).filter(|(found, expected)| found.to_bits() == expected.to_bits()).count();
    let difference = found.iter().zip(&expected).zip(&start).map(|((found, expected), start)| {
        let way = f64::from((expected - start).abs().max(f32::EPSILON * start.abs()).max(f32::MIN_POSITIVE));
        f64::from((found - expected).abs()) / way
    });
    let difference = difference.fold(0.0, f64::max);
    Ok(json(&Verdict { steps: STEPS, elements: LEN, equal, difference }))
}

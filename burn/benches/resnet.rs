//! Whole training steps of a ResNet-18 (He et al., 2016): forward, backward and optimizer, with burn's Adam and with MIAdam in
//! turns.
//!
//! `cargo bench --bench resnet`, and with `--features fusion` for burn's fusion. Autotuning takes some minutes at first.

use std::error::Error;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::{Hyperparams, StepScale};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LR: f64 = 1e-3;
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Parser)]
struct Flags {
    /// Images of a batch.
    #[arg(long, default_value_t = 2)]
    batch: usize,
    /// Pixels of an image's side.
    #[arg(long, default_value_t = 32)]
    side: usize,
    /// Steps of each optimizer.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Module, Debug)]
struct Unit {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Unit {
    fn new([from, to]: [usize; 2], size: usize, stride: usize, device: &Device) -> Self {
        let pad = size / 2;
        let conv = Conv2dConfig::new([from, to], [size, size]).with_stride([stride, stride]).with_bias(false);
        let conv = conv.with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad)).init(device);
        Self { conv, norm: BatchNormConfig::new(to).init(device) }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(input))
    }
}

#[derive(Module, Debug)]
struct Block {
    first: Unit,
    second: Unit,
    shortcut: Option<Unit>,
}

impl Block {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input.clone()),
            None => input.clone(),
        };
        relu(self.second.forward(relu(self.first.forward(input))) + residual)
    }
}

#[derive(Module, Debug)]
struct ResNet18 {
    stem: Unit,
    pool: MaxPool2d,
    blocks: Vec<Block>,
    mean: AdaptiveAvgPool2d,
    head: Linear,
}

impl ResNet18 {
    fn new(device: &Device) -> Self {
        let mut blocks = Vec::new();
        let mut from = 64;
        for to in [64, 128, 256, 512] {
            for stride in [if to == 64 { 1 } else { 2 }, 1] {
                let shortcut = (from != to).then(|| Unit::new([from, to], 1, stride, device));
                let first = Unit::new([from, to], 3, stride, device);
                blocks.push(Block { first, second: Unit::new([to, to], 3, 1, device), shortcut });
                from = to;
            }
        }
        let pool =
            MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Self {
            stem: Unit::new([3, 64], 7, 2, device),
            pool: pool.init(),
            blocks,
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            head: LinearConfig::new(512, 1000).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let stem = self.pool.forward(relu(self.stem.forward(images)));
        let features = self.blocks.iter().fold(stem, |features, block| block.forward(features));
        self.head.forward(self.mean.forward(features).flatten(1, 3))
    }
}

/// A training step by what `update` does with module and gradients, until the device is done.
fn timed(
    net: ResNet18,
    images: &Tensor<4>,
    device: &Device,
    update: impl FnOnce(ResNet18, GradientsParams) -> Result<ResNet18>,
) -> Result<(ResNet18, f64)> {
    let sync = || device.sync().map_err(|error| format!("{error:?}"));
    sync()?;
    std::thread::sleep(PAUSE);
    let start = Instant::now();
    let loss = net.forward(images.clone()).square().mean();
    let grads = GradientsParams::from_grads(loss.backward(), &net);
    let net = update(net, grads)?;
    sync()?;
    Ok((net, start.elapsed().as_secs_f64() * 1e3))
}

fn main() -> Result<()> {
    let Flags { batch, side, rounds, .. } = Flags::parse();
    let device = miadam_burn::wgpu_device(Device::wgpu_options())?;
    let training = device.clone().autodiff();
    let pixels = (0..batch * 3 * side * side).map(|n| (n % 251) as f32 / 125.0 - 1.0).collect();
    let images = Tensor::from_data(TensorData::new::<f32, _>(pixels, [batch, 3, side, side]), &training);
    let hyperparams = |order| Hyperparams { order, step_scale: StepScale::UnitGain, ..Hyperparams::default() };

    let mut adam = AdamConfig::new().with_epsilon(Hyperparams::default().eps as f32).init();
    let mut ours = [0, 1].map(|order| MiAdamConfig::new(hyperparams(order)).init(&device));
    let mut nets = [0; 3].map(|_| Some(ResNet18::new(&training)));
    let mut times = [const { Vec::new() }; 3];
    // The first steps compile and autotune.
    for round in 0..rounds + 2 {
        for (number, (net, times)) in nets.iter_mut().zip(&mut times).enumerate() {
            let Some(own) = net.take() else { continue };
            let update = |net, grads| match number {
                0 => Ok(adam.step(LR, net, grads)),
                _ => {
                    let optimizer = ours[number - 1].as_mut().map_err(|error| error.to_string())?;
                    Ok(optimizer.step(LR, net, grads)?)
                }
            };
            let (stepped, ms) = timed(own, &images, &device, update)?;
            *net = Some(stepped);
            if round >= 2 {
                times.push(ms);
            }
        }
    }
    println!("fusion {}, batch {batch}, {side} x {side} pixels", if cfg!(feature = "fusion") { "on" } else { "off" });
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    for (name, ms) in ["burn's Adam", "order 0", "order 1"].iter().zip(medians) {
        println!("{name:12} {ms:10.1} ms  burn's / this {:.2}", medians[0] / ms);
    }
    Ok(())
}

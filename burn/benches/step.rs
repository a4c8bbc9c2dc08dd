//! Optimizer steps over a burn module: burn's own Adam and `miadam_burn::MiAdam`, in turns on one device.
//!
//! `cargo bench --bench step -- --case ResNet`, and with `--features fusion` for burn's fusion. `host` is the time until `step`
//! returns, `whole` the time until the device is done. `RUST_LOG=miadam_burn=debug` shows what of it the adapter takes. The
//! gradients of a step lie elsewhere than those of the step before, as they do after a backward pass.

use std::error::Error;
use std::time::{Duration, Instant};

use burn::module::{Param, ParamId};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use miadam_burn::miadam::{Hyperparams, StepScale};
use miadam_burn::{MiAdam, MiAdamConfig};
use miadam_support::cases::{self, Case};
use miadam_support::steppers::GRAD;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// A vector of parameters is a module.
type Net = Vec<Param<Tensor<1>>>;

const LR: f64 = 1e-3;
/// Steps that compile, plan and allocate.
const WARM_UP: u32 = 3;
/// A pause before each step. On a machine of few cores the next step would be slower after seconds of load on all of them.
const PAUSE: Duration = Duration::from_millis(20);
/// The shapes of the table, by the names of the core's cases.
const CASES: [&str; 4] = ["1 x 4M", "1000 x 4096 pool", "ResNet-18 separate", "BERT-base separate"];

#[derive(Parser)]
struct Flags {
    /// Only the shapes whose name starts so.
    #[arg(long, default_value = "")]
    case: String,
    /// Only the optimizers whose name starts so.
    #[arg(long, default_value = "")]
    only: String,
    /// Steps of each optimizer.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// An optimizer with a module of its own.
struct Runner {
    name: String,
    optimizer: Either,
    net: Net,
    grads: Vec<(ParamId, Tensor<1>)>,
    host: Vec<f64>,
    whole: Vec<f64>,
}

enum Either {
    Burn(ModuleOptimizer),
    Ours(Box<MiAdam>),
}

impl Runner {
    fn new(name: String, optimizer: Either, case: &Case, device: &Device) -> Self {
        let training = device.clone().autodiff();
        // From host data: a constant that burn knew of could be fused away instead of being read.
        let filled =
            |value: f32, len, device: &Device| Tensor::from_data(TensorData::new(vec![value; len], [len]), device);
        let net: Net = case.lens.iter().map(|&len| Param::from_tensor(filled(0.0, len, &training))).collect();
        let grads = case.lens.iter().zip(&net).map(|(&len, param)| (param.id, filled(GRAD, len, device))).collect();
        Self { name, optimizer, net, grads, host: Vec::new(), whole: Vec::new() }
    }

    fn step(&mut self, device: &Device) -> Result<()> {
        // Another tensor each time, written before the clock runs.
        let mut grads = GradientsParams::new();
        for (id, grad) in &mut self.grads {
            let moved = grad.clone().mul_scalar(1.0001);
            *grad = moved.clone();
            grads.register(*id, moved);
        }
        let net = std::mem::take(&mut self.net);
        sync(device)?;
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        self.net = match &mut self.optimizer {
            Either::Burn(optimizer) => optimizer.step(LR, net, grads),
            Either::Ours(optimizer) => optimizer.step(LR, net, grads)?,
        };
        self.host.push(start.elapsed().as_secs_f64() * 1e3);
        sync(device)?;
        self.whole.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }
}

fn sync(device: &Device) -> Result<()> {
    device.sync().map_err(|error| format!("{error:?}").into())
}

/// The median after the warm-up.
fn median(times: &[f64]) -> f64 {
    let mut times = times[WARM_UP as usize..].to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn runners(case: &Case, only: &str, device: &Device) -> Result<Vec<Runner>> {
    // burn's own ε is 1e-5.
    let adam = || Either::Burn(AdamConfig::new().with_epsilon(Hyperparams::default().eps as f32).init());
    let mut all = vec![("burn's Adam".to_owned(), adam())];
    for order in [0, 1, 3] {
        let hyperparams = Hyperparams { order, step_scale: StepScale::UnitGain, ..Hyperparams::default() };
        let optimizer = MiAdamConfig::new(hyperparams).init(device)?;
        all.push((format!("order {order}"), Either::Ours(Box::new(optimizer))));
    }
    all.retain(|(name, _)| name.starts_with(only));
    Ok(all.into_iter().map(|(name, optimizer)| Runner::new(name, optimizer, case, device)).collect())
}

fn main() -> Result<()> {
    env_logger::init();
    let flags = Flags::parse();
    let device = miadam_burn::wgpu_device(Device::wgpu_options())?;
    println!("fusion {}", if cfg!(feature = "fusion") { "on" } else { "off" });
    println!("{:18} {:12} {:>10} {:>10} {:>14}", "shape", "optimizer", "host, ms", "whole, ms", "burn's / this");
    let is_wanted = |case: &Case| case.order == 0 && CASES.contains(&case.name) && case.name.starts_with(&flags.case);
    for case in cases::all().into_iter().filter(is_wanted) {
        let mut runners = runners(&case, &flags.only, &device)?;
        for _ in 0..flags.rounds + WARM_UP {
            for runner in &mut runners {
                runner.step(&device)?;
            }
        }
        let first = median(&runners[0].whole);
        for runner in &runners {
            let (host, whole) = (median(&runner.host), median(&runner.whole));
            println!("{:18} {:12} {host:10.2} {whole:10.2} {:14.2}", case.name, runner.name, first / whole);
        }
    }
    Ok(())
}

//! Optimizer steps over a burn module: burn's own Adam and `miadam_burn::MiAdam`, in turns on one device.
//!
//! `cargo bench --bench step [-- CASE] [--rounds N]`, and with `--features fusion` for burn's fusion.

use std::time::Instant;

use burn::module::{Param, ParamId};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use miadam_burn::miadam::Hyperparams;
use miadam_burn::{MiAdam, MiAdamConfig};
use miadam_support::cases::{self, Case, Home};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
/// A vector of parameters is a module.
type Net = Vec<Param<Tensor<1>>>;

const LR: f64 = 1e-3;

/// One of the two, with a module of its own.
struct Runner {
    name: String,
    optimizer: Either,
    net: Net,
    grads: Vec<(ParamId, Tensor<1>)>,
    times: Vec<f64>,
}

enum Either {
    Burn(ModuleOptimizer),
    Ours(Box<MiAdam>),
}

impl Runner {
    fn new(name: &str, optimizer: Either, case: &Case, device: &Device) -> Self {
        let training = device.clone().autodiff();
        // From host data: a constant that burn knew of could be fused away instead of being read.
        let filled =
            |value: f32, len, device: &Device| Tensor::from_data(TensorData::new(vec![value; len], [len]), device);
        let net: Net = case.lens.iter().map(|&len| Param::from_tensor(filled(0.0, len, &training))).collect();
        let grads = case.lens.iter().zip(&net).map(|(&len, param)| (param.id, filled(0.02, len, device))).collect();
        Self { name: name.to_owned(), optimizer, net, grads, times: Vec::new() }
    }

    /// A step, until the device is done with it.
    fn step(&mut self, device: &Device) -> Result<f64> {
        let mut grads = GradientsParams::new();
        for (id, grad) in &self.grads {
            grads.register(*id, grad.clone());
        }
        let net = std::mem::take(&mut self.net);
        device.sync().map_err(|error| format!("{error:?}"))?;
        let start = Instant::now();
        self.net = match &mut self.optimizer {
            Either::Burn(optimizer) => optimizer.step(LR, net, grads),
            Either::Ours(optimizer) => optimizer.step(LR, net, grads)?,
        };
        let host = start.elapsed();
        device.sync().map_err(|error| format!("{error:?}"))?;
        self.times.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(host.as_secs_f64() * 1e3)
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rounds = args.iter().position(|arg| arg == "--rounds").map_or(Ok(15), |at| args[at + 1].parse())?;
    let wanted = args.first().filter(|arg| !arg.starts_with("--")).cloned().unwrap_or_default();
    let device = miadam_burn::wgpu_device(Device::wgpu_options())?;
    println!("fusion {}", cfg!(feature = "fusion"));
    let shapes: Vec<_> = cases::all().into_iter().filter(|case| {
        case.order == 0 && case.home != Home::Mixed && case.name.starts_with(&wanted[..])
            && (case.home == Home::Pool) == !case.name.contains("separate")
            && !case.name.starts_with("1 x 16M") && !case.name.starts_with("10000") && case.name != "1000 x 4096 separate"
    }).collect();
    for case in shapes {
        let hyperparams = |order| Hyperparams { order, step_scale: miadam_burn::miadam::StepScale::UnitGain, ..Hyperparams::default() };
        let ours = |order| Ok::<_, miadam_burn::Error>(Either::Ours(Box::new(MiAdamConfig::new(hyperparams(order)).init(&device)?)));
        let adam = AdamConfig::new().with_epsilon(1e-8).init();
        let mut runners = [
            Runner::new("burn Adam", Either::Burn(adam), &case, &device),
            Runner::new("miadam, order 0", ours(0)?, &case, &device),
            Runner::new("miadam, order 1", ours(1)?, &case, &device),
        ];
        let mut hosts = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..rounds + 3 {
            for (runner, host) in runners.iter_mut().zip(&mut hosts) {
                std::thread::sleep(std::time::Duration::from_millis(20));
                let time = runner.step(&device)?;
                if round < 3 { runner.times.clear() } else { host.push(time) }
            }
        }
        let base = median(&mut runners[0].times);
        for (runner, host) in runners.iter_mut().zip(&mut hosts) {
            let ms = median(&mut runner.times);
            println!("{:24} {:18} {ms:8.2} ms  host {:7.2} ms  {:.2} x", case.name, runner.name, median(host), base / ms);
        }
    }
    Ok(())
}

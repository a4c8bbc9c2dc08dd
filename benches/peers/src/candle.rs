//! candle-nn's AdamW without its decay, on the CPU.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use miadam_support::cases::Case;
use miadam_support::steppers::GRAD;

use crate::runner::{Entry, Runner, timed};

pub const NAME: &str = "candle 0.11.1";

struct Candle {
    optimizer: AdamW,
    vars: Vec<Var>,
    grads: GradStore,
}

pub fn adamw(case: &Case) -> Entry<'static> {
    Ok(Box::new(Candle::new(case).map_err(|error| error.to_string())?))
}

impl Candle {
    fn new(case: &Case) -> Result<Self> {
        let vars: Vec<_> =
            case.lens.iter().map(|&len| Var::zeros(len, DType::F32, &Device::Cpu)).collect::<Result<_>>()?;
        // A backward pass is the only source of a store.
        let mut grads = Var::zeros((), DType::F32, &Device::Cpu)?.backward()?;
        for (var, &len) in vars.iter().zip(&case.lens) {
            grads.insert(var, Tensor::full(GRAD, len, &Device::Cpu)?);
        }
        let hyperparams = case.hyperparams();
        let params = ParamsAdamW {
            lr: hyperparams.lr,
            beta1: hyperparams.beta1,
            beta2: hyperparams.beta2,
            eps: hyperparams.eps,
            weight_decay: 0.0,
        };
        Ok(Self { optimizer: AdamW::new(vars.clone(), params)?, vars, grads })
    }

    fn read_ends(&self) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        for var in self.vars.first().into_iter().chain(self.vars.last()) {
            values.extend(var.to_vec1::<f32>()?);
        }
        Ok(values)
    }
}

impl Runner for Candle {
    fn step(&mut self) -> std::result::Result<f64, String> {
        timed(|| self.optimizer.step(&self.grads))
    }

    fn ends(&mut self) -> std::result::Result<Vec<f32>, String> {
        self.read_ends().map_err(|error| error.to_string())
    }
}

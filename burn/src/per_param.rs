//! MIAdam one parameter at a time, in burn's own tensor operations: for burn's `ModuleOptimizer`, on every backend.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_pack::Scalar;
use miadam::{Average, HalfParams, Hyperparams, StepScale, WeightDecay};

use crate::error::Error;

/// The rule as burn's [`Optimizer`], made by [`MiAdamConfig::build`](crate::MiAdamConfig::build).
///
/// `ModuleOptimizer::from` and `ModuleOptimizer::with_group` take it, so that it can stand beside burn's other optimizers, and
/// burn-train's `Learner` saves and resumes it. It computes what [`MiAdam`](crate::MiAdam) computes, with the same coefficients
/// up to rounding, in a dozen operations for each parameter. `MiAdam` takes a few dispatches for all of them: prefer it where it
/// runs.
///
/// The learning rate is the one that burn gives to each step. [`Hyperparams::lr`] and its schedule have no part here, since
/// burn has schedulers of its own.
#[derive(Debug, Clone)]
pub struct PerParamMiAdam {
    hyperparams: Hyperparams,
}

/// What a parameter remembers between steps.
#[derive(Debug, Clone)]
pub struct PerParamState<const D: usize> {
    /// t: the steps that it has taken.
    pub step: u32,
    /// n, to tell the record of another order.
    pub order: u32,
    /// m.
    pub first_moment: Tensor<D>,
    /// v.
    pub second_moment: Tensor<D>,
    /// The largest v so far, under amsgrad.
    pub max_second_moment: Option<Tensor<D>>,
    /// The integrals. There are none from ζ on.
    pub integrals: Vec<Tensor<D>>,
}

impl<const D: usize> RecordState for PerParamState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let mut push = |leaf: &str, tensor: &Tensor<D>| out.push_tensor(prefix, leaf, tensor.to_data());
        push("first_moment", &self.first_moment);
        push("second_moment", &self.second_moment);
        if let Some(largest) = &self.max_second_moment {
            push("max_second_moment", largest);
        }
        for (number, integral) in self.integrals.iter().enumerate() {
            push(&format!("integral.{}", number + 1), integral);
        }
        out.push_scalar(prefix, "step", Scalar::from(self.step));
        out.push_scalar(prefix, "order", Scalar::from(self.order));
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let mut count = |leaf: &str| u32::try_from(source.take_scalar(prefix, leaf)?).ok();
        let (step, order) = (count("step")?, count("order")?);
        let mut tensor = |leaf: &str| {
            let data: TensorData = source.take_tensor(prefix, leaf)?;
            let dtype: DType = data.dtype();
            Some(Tensor::from_data(data, (device, dtype)))
        };
        Some(Self {
            step,
            order,
            first_moment: tensor("first_moment")?,
            second_moment: tensor("second_moment")?,
            max_second_moment: tensor("max_second_moment"),
            integrals: (1..=order).map_while(|number| tensor(&format!("integral.{number}"))).collect(),
        })
    }
}

impl PerParamMiAdam {
    /// # Errors
    /// For what one parameter alone cannot have.
    pub(crate) fn new(hyperparams: &Hyperparams) -> Result<Self, Error> {
        let refuse = |reason| Err(Error::Option(reason));
        if hyperparams.average != Average::None {
            return refuse("`average` needs `MiAdamConfig::init`: burn's `Optimizer` cannot exchange parameters");
        }
        if matches!(hyperparams.half_params, HalfParams::Stochastic { .. }) {
            return refuse("stochastic rounding needs `MiAdamConfig::init`: burn rounds its tensors to nearest");
        }
        if hyperparams.step_scale == StepScale::ExactGain {
            return refuse(
                "`StepScale::ExactGain` needs `MiAdamConfig::init`; `UnitGain` is its limit after many steps",
            );
        }
        hyperparams.validate(0)?;
        Ok(Self { hyperparams: hyperparams.clone() })
    }

    /// α_t, before the bias correction.
    fn alpha(&self, lr: f64, integrating: bool) -> f64 {
        let Hyperparams { order, kappa, step_scale, .. } = &self.hyperparams;
        if !integrating || *order == 0 {
            return lr;
        }
        match step_scale {
            StepScale::Paper => lr.powf(f64::from(*order)),
            StepScale::Reference => lr.powf(f64::from(*order) + 1.0),
            StepScale::UnitGain | StepScale::ExactGain => lr * (1.0 - kappa).powf(f64::from(*order)),
        }
    }
}

/// 1 - βᵗ without cancellation.
fn correction(beta: f64, t: u32) -> f64 {
    if beta == 0.0 { 1.0 } else { -(f64::from(t) * (beta - 1.0).ln_1p()).exp_m1() }
}

impl Optimizer for PerParamMiAdam {
    type State<const D: usize> = PerParamState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let Hyperparams { beta1, beta2, eps, order, kappa, switch_step, weight_decay, amsgrad, maximize, .. } =
            self.hyperparams;
        let mut state = state.unwrap_or_else(|| PerParamState {
            step: 0,
            order,
            first_moment: grad.zeros_like(),
            second_moment: grad.zeros_like(),
            max_second_moment: None,
            integrals: Vec::new(),
        });
        assert_eq!(
            state.order, order,
            "the record is of order {}, the optimizer of order {order}: make them equal",
            state.order
        );
        state.step = state.step.saturating_add(1);
        let integrating = state.step < switch_step;

        let g = if maximize { grad.neg() } else { grad };
        let g = match weight_decay {
            WeightDecay::Coupled(decay) if decay != 0.0 => g + tensor.clone().mul_scalar(decay),
            _ => g,
        };
        state.first_moment = state.first_moment.mul_scalar(beta1) + g.clone().mul_scalar(1.0 - beta1);
        state.second_moment = state.second_moment.mul_scalar(beta2) + g.square().mul_scalar(1.0 - beta2);
        let largest = amsgrad.then(|| match state.max_second_moment.take() {
            Some(largest) => largest.max_pair(state.second_moment.clone()),
            None => state.second_moment.clone(),
        });
        let mut num = state.first_moment.clone();
        if integrating {
            let zeros = || num.zeros_like();
            let before = std::mem::take(&mut state.integrals);
            let mut integrals = before.into_iter().chain(std::iter::repeat_with(zeros)).take(order as usize);
            let mut kept = Vec::new();
            let mut below = state.first_moment.clone();
            while let Some(integral) = integrals.next() {
                below = integral.mul_scalar(kappa) + below;
                kept.push(below.clone());
            }
            drop(integrals);
            (num, state.integrals) = (below, kept);
        } else {
            state.integrals.clear();
        }
        let root = largest.as_ref().unwrap_or(&state.second_moment).clone().sqrt();
        state.max_second_moment = largest;
        let denominator = root.div_scalar(correction(beta2, state.step).sqrt()).add_scalar(eps);
        let step_size = self.alpha(lr, integrating) / correction(beta1, state.step);
        let update = (num.clone() / denominator).mul_scalar(step_size);
        let decay = match weight_decay {
            WeightDecay::Decoupled(decay) if decay != 0.0 => Some(tensor.clone().mul_scalar(lr * decay)),
            WeightDecay::Cautious(decay) if decay != 0.0 => {
                let signs = tensor.clone().greater_equal_scalar(0.0).not_equal(num.greater_equal_scalar(0.0));
                Some(tensor.clone().mul_scalar(lr * decay).mask_fill(signs, 0.0))
            }
            _ => None,
        };
        let update = match decay {
            Some(decay) => update + decay,
            None => update,
        };
        (tensor - update, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        PerParamState {
            first_moment: state.first_moment.to_device(device),
            second_moment: state.second_moment.to_device(device),
            max_second_moment: state.max_second_moment.map(|largest| largest.to_device(device)),
            integrals: state.integrals.into_iter().map(|integral| integral.to_device(device)).collect(),
            ..state
        }
    }
}

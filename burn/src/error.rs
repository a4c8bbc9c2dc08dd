//! What can go wrong, each with the parameter's path and the way to mend it.

use burn::tensor::{DType, Device};

/// An error of the adapter. What a core optimizer refuses is [`Core`](Error::Core), and names parameters by their paths.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From the optimizer itself.
    #[error(transparent)]
    Core(Box<miadam::Error>),
    /// burn has the wgpu device, but only whoever made it has its queue.
    #[error(
        "the queue of {device:?} is not known: make the device with `miadam_burn::wgpu_device`, or register its setup with \
         `miadam_burn::register`, before anything else uses it"
    )]
    UnknownQueue {
        /// The device.
        device: Box<Device>,
    },
    /// The device is neither a wgpu device nor one whose tensors lie in host memory.
    #[error(
        "{device:?} is neither a wgpu device nor a CPU: build a `burn::optim::Optimizer` with `MiAdamConfig::build` instead, \
         which runs on every backend"
    )]
    UnsupportedDevice {
        /// The device.
        device: Box<Device>,
    },
    /// A parameter or its gradient is on another device than the optimizer.
    #[error(
        "`{path}` is on {found:?}, the optimizer on {expected:?}: move the module with `fork`, or make an optimizer there"
    )]
    OtherDevice {
        /// The parameter's path in the module.
        path: String,
        /// The optimizer's device.
        expected: Box<Device>,
        /// The device of the parameter or of its gradient.
        found: Box<Device>,
    },
    /// A gradient has another shape than its parameter.
    #[error(
        "the gradient of `{path}` is of shape {grad:?}, the parameter of {param:?}: gradients belong to the module that they are of"
    )]
    GradShape {
        /// The parameter's path in the module.
        path: String,
        /// The parameter's shape.
        param: Vec<usize>,
        /// The gradient's shape.
        grad: Vec<usize>,
    },
    /// A parameter or a gradient has elements of a type that no step takes.
    #[error("`{path}` is of type {dtype:?}: cast the module to f32, f16 or bf16, or keep it out with `no_grad`")]
    Dtype {
        /// The parameter's path in the module.
        path: String,
        /// The type.
        dtype: DType,
    },
    /// A parameter has another type or length than at an earlier step.
    #[error("`{path}` was {before} and is {now}: make a new optimizer, or load its checkpoint into one")]
    Changed {
        /// The parameter's path in the module.
        path: String,
        /// Length and type at the earlier step.
        before: String,
        /// Length and type now.
        now: String,
    },
    /// A checkpoint has a parameter that the module has not.
    #[error(
        "the checkpoint has `{path}`, the module has not: rename it with `Checkpoint::rename_params`, or load leniently"
    )]
    Missing {
        /// The parameter's name in the checkpoint.
        path: String,
    },
    /// There is no gradient at all, so that a step would do nothing.
    #[error("no parameter has a gradient: the loss reaches none, or the module is not on a device with autodiff")]
    NoGradients,
    /// There are gradients of other parameters than the module's.
    #[error(
        "{unknown} of {all} gradients are of no parameter of this module: make them with `GradientsParams::from_grads` from the \
         module that is stepped"
    )]
    ForeignGradients {
        /// Gradients of no parameter.
        unknown: usize,
        /// All gradients.
        all: usize,
    },
    /// Parameters of one group got different learning rates.
    #[error(
        "`{path}` has lr {lr}, `{other}` of the same group {other_lr}: give them groups of their own with `with_group`"
    )]
    LearningRates {
        /// A parameter's path in the module.
        path: String,
        /// Its learning rate.
        lr: f64,
        /// Another parameter's path.
        other: String,
        /// Its learning rate.
        other_lr: f64,
    },
    /// Something was asked for before the first step, which is when the optimizer learns of its parameters.
    #[error("the optimizer learns of its parameters at the first step: take one first")]
    NoStepYet,
    /// An option that has no meaning here.
    #[error("{0}")]
    Option(&'static str),
    /// burn itself reports an error.
    #[error("burn: {0}")]
    Burn(String),
}

impl From<miadam::Error> for Error {
    fn from(error: miadam::Error) -> Self {
        Self::Core(Box::new(error))
    }
}

/// A step that was not taken. The module comes back with every parameter as it was.
pub struct StepError<M> {
    /// The module, unchanged.
    pub module: M,
    /// The reason.
    pub error: Box<Error>,
}

impl<M> std::fmt::Debug for StepError<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<M> std::fmt::Display for StepError<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl<M> std::error::Error for StepError<M> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.error)
    }
}

impl<M> From<StepError<M>> for Error {
    fn from(error: StepError<M>) -> Self {
        *error.error
    }
}

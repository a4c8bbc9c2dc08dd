//! The parameters of a module, taken out of it and put back.
//!
//! A tensor can be updated in place only while nobody else holds it, the module included. So a first traversal takes each
//! parameter that has a gradient out of the module, and a second one puts it back.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::kind::BridgeTensor;
use burn::tensor::{DType, Device, GradientCheckpointingStrategy, Shape, Tensor};

use crate::error::Error;

/// A parameter that is out of its module, with its gradient.
pub struct Leaf {
    /// The names on the way to it, with dots between.
    pub path: Arc<str>,
    pub id: ParamId,
    pub shape: Shape,
    pub dtype: DType,
    pub device: Device,
    /// The tensor without autodiff. It is none while an engine has it.
    pub tensor: Option<BridgeTensor>,
    pub grad: Option<Grad>,
    /// What autodiff knew of the tensor.
    context: Context,
    /// burn's `ParamMapper<Tensor<D>>`.
    mapper: Box<dyn Any>,
}

/// The gradient of a parameter that is out of its module.
pub struct Grad {
    pub shape: Shape,
    pub dtype: DType,
    pub device: Device,
    /// It is none once an engine has it.
    pub tensor: Option<BridgeTensor>,
}

/// What autodiff knows of a parameter, which a tensor without autodiff forgets.
struct Context {
    is_autodiff: bool,
    require_grad: bool,
    is_distributed: bool,
    checkpointing: Option<GradientCheckpointingStrategy>,
}

/// What a traversal does with a parameter.
// It is taken apart at once.
#[allow(clippy::large_enum_variant)]
pub enum Choice<const D: usize> {
    /// It takes it out of the module, with its gradient.
    Take(Option<Tensor<D>>),
    /// It leaves it there.
    Leave,
}

/// Which parameters a traversal takes out.
pub trait Choose {
    /// What happens to a parameter.
    fn choose<const D: usize>(&mut self, id: ParamId, path: &str) -> Choice<D>;

    /// The device that a parameter moves to together with its gradient, which lies on `grad`. It stays where it is for `None`.
    fn home(&self, path: &str, grad: Option<Device>) -> Option<Device> {
        let _ = (path, grad);
        None
    }
}

/// Takes the chosen parameters out of a module. Until [`put`] the module must not be used.
pub fn take<M: Module>(module: M, choose: &mut impl Choose) -> (M, Vec<Leaf>) {
    let mut taker = Taker { path: Path::default(), choose, leaves: Vec::new() };
    let module = module.map(&mut taker);
    (module, taker.leaves)
}

/// Puts the parameters back.
pub fn put<M: Module>(module: M, leaves: Vec<Leaf>) -> M {
    module.map(&mut Putter { path: Path::default(), leaves: leaves.into() })
}

/// The way from the module to a parameter.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn name(&self) -> String {
        // A module that is nothing but a parameter gives it no name.
        if self.0.is_empty() { "param".to_owned() } else { self.0.join(".") }
    }
}

struct Taker<'a, C> {
    path: Path,
    choose: &'a mut C,
    leaves: Vec<Leaf>,
}

impl<C: Choose> ModuleMapper for Taker<'_, C> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.0.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.name();
        let Choice::Take(grad) = self.choose.choose::<D>(param.id, &path) else { return param };
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device();
        let context = Context {
            is_autodiff: device.is_autodiff(),
            require_grad: tensor.is_require_grad(),
            is_distributed: tensor.is_distributed(),
            checkpointing: tensor.gradient_checkpointing_strategy(),
        };
        let tensor = if context.is_autodiff { tensor.inner() } else { tensor };
        let grad = grad.map(|grad| if grad.device().is_autodiff() { grad.inner() } else { grad });
        let (tensor, grad) = match self.choose.home(&path, grad.as_ref().map(Tensor::device)) {
            Some(home) => (moved(tensor, &home), grad.map(|grad| moved(grad, &home))),
            None => (tensor, grad),
        };
        let shape = tensor.shape();
        // Nobody asks for its value.
        let placeholder = |_: &Device, _| unreachable!("a parameter is used while it is out of its module");
        let left = Param::uninitialized(id, placeholder, device.clone(), context.require_grad, shape.clone());
        self.leaves.push(Leaf {
            path: path.into(),
            id,
            shape,
            dtype: tensor.dtype(),
            device: tensor.device(),
            tensor: Some(tensor.into_bridge()),
            grad: grad.map(Grad::new),
            context,
            mapper: Box::new(mapper),
        });
        left
    }
}

struct Putter {
    path: Path,
    leaves: VecDeque<Leaf>,
}

impl ModuleMapper for Putter {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.0.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Both traversals go the same way.
        let is_next = self.leaves.front().is_some_and(|leaf| leaf.id == param.id && *leaf.path == *self.path.name());
        let Some(leaf) = self.leaves.pop_front_if(|_| is_next) else { return param };
        let (Some(tensor), Ok(mapper)) = (leaf.tensor, leaf.mapper.downcast()) else { return param };
        // An engine may give it back as a vector.
        let tensor = Tensor::<1>::from_bridge(tensor);
        let tensor = if tensor.shape() == leaf.shape {
            Tensor::from_bridge(tensor.into_bridge())
        } else {
            tensor.reshape(leaf.shape)
        };
        let tensor = leaf.context.restore::<D>(tensor, leaf.id);
        Param::from_mapped_value(leaf.id, tensor, *mapper)
    }
}

impl Context {
    fn restore<const D: usize>(self, tensor: Tensor<D>, id: ParamId) -> Tensor<D> {
        if !self.is_autodiff {
            return tensor;
        }
        let mut tensor = Tensor::from_inner(tensor);
        if let Some(strategy) = self.checkpointing {
            tensor = tensor.with_gradient_checkpointing_strategy(strategy);
        }
        if self.require_grad {
            tensor = tensor.require_grad();
        }
        if self.is_distributed {
            tensor = tensor.set_distributed(id);
        }
        tensor
    }
}

fn moved<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    if tensor.device() == *device { tensor } else { tensor.to_device(device) }
}

impl Grad {
    fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        let (shape, dtype, device) = (tensor.shape(), tensor.dtype(), tensor.device());
        Self { shape, dtype, device, tensor: Some(tensor.into_bridge()) }
    }
}

impl Leaf {
    /// The parameter as the core knows it.
    ///
    /// # Errors
    /// If it is on another device, or it or its gradient cannot take part in a step.
    pub fn param<'a>(&self, mut devices: impl Iterator<Item = &'a Device>) -> Result<miadam::Param, Error> {
        let path = || self.path.to_string();
        let Some(main) = devices.next() else { return Err(Error::NoStepYet) };
        let own = *std::iter::once(main).chain(devices).find(|device| **device == self.device).get_or_insert(main);
        let found = std::iter::once(&self.device).chain(self.grad.as_ref().map(|grad| &grad.device));
        if let Some(found) = found.into_iter().find(|device| *device != own) {
            return Err(Error::OtherDevice {
                path: path(),
                expected: Box::new(own.clone()),
                found: Box::new(found.clone()),
            });
        }
        if let Some(grad) = self.grad.as_ref().filter(|grad| grad.shape != self.shape) {
            return Err(Error::GradShape { path: path(), param: self.shape.to_vec(), grad: grad.shape.to_vec() });
        }
        let dtype = |dtype| core_dtype(dtype).ok_or_else(|| Error::Dtype { path: path(), dtype });
        if let Some(grad) = &self.grad {
            dtype(grad.dtype)?;
        }
        Ok(miadam::Param::new(path(), self.shape.num_elements()).with_dtype(dtype(self.dtype)?))
    }
}

/// The type of a float tensor as the core calls it.
#[must_use]
pub fn core_dtype(dtype: DType) -> Option<miadam::Dtype> {
    match dtype {
        // `Flex32` is kept as f32.
        DType::F32 | DType::Flex32 => Some(miadam::Dtype::F32),
        DType::F16 => Some(miadam::Dtype::F16),
        DType::BF16 => Some(miadam::Dtype::Bf16),
        _ => None,
    }
}

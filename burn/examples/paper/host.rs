//! The baselines of miadam-paper, which work on slices in host memory: gradients and parameters come over, and go back.

use std::collections::HashMap;
use std::error::Error;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, Transaction};
use miadam_paper::optimizers::{self, Units};

pub struct Host {
    optimizer: Box<dyn optimizers::Optimizer>,
}

/// What is known of a parameter while its values are over.
struct Leaf {
    id: ParamId,
    path: String,
    units: Units,
}

impl Host {
    pub fn new(optimizer: impl optimizers::Optimizer + 'static) -> Self {
        Self { optimizer: Box::new(optimizer) }
    }

    /// A step over all parameters that have gradients.
    pub fn step<M: Module>(&mut self, lr: f64, module: M, grads: GradientsParams) -> Result<M, Box<dyn Error>> {
        let mut reader = Reader { path: Vec::new(), kinds: Vec::new(), grads, leaves: Vec::new(), transaction: None };
        module.visit(&mut reader);
        let Reader { leaves, transaction, .. } = reader;
        let Some(transaction) = transaction else { return Err("no parameter has a gradient".into()) };
        // All of them come over at once: the device waits only once.
        let read = transaction.try_execute().map_err(|error| format!("burn: {error:?}"))?;
        let read = read.into_iter().map(|data| data.into_vec::<f32>().map_err(|error| format!("burn: {error:?}")));
        let mut read = read.collect::<Result<Vec<_>, _>>()?;

        let mut tensors = Vec::new();
        for (leaf, pair) in leaves.iter().zip(read.chunks_exact_mut(2)) {
            let [values, grads] = pair else { continue };
            tensors.push(optimizers::Tensor { name: &leaf.path, values, grads, units: leaf.units });
        }
        self.optimizer.step(lr, &mut tensors)?;

        let values = leaves.iter().map(|leaf| leaf.id).zip(read.into_iter().step_by(2)).collect();
        Ok(module.map(&mut Writer { values }))
    }
}

/// Asks for the values and gradients of all parameters that have gradients, in turns.
struct Reader {
    path: Vec<String>,
    kinds: Vec<String>,
    grads: GradientsParams,
    leaves: Vec<Leaf>,
    transaction: Option<Transaction>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.path.push(name.to_owned());
        self.kinds.push(kind.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.kinds.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return };
        let tensor = param.val().without_autodiff();
        let units = units(&tensor.dims(), self.kinds.last().map_or("", String::as_str));
        self.leaves.push(Leaf { id: param.id, path: self.path.join("."), units });
        let transaction = self.transaction.take().unwrap_or_default();
        self.transaction = Some(transaction.register(tensor).register(grad));
    }
}

/// Where the weights into one unit lie: burn's convolutions have a row for each output, its linear layers a column.
fn units(dims: &[usize], kind: &str) -> Units {
    match dims {
        [outputs, _, _, _] => Units::Rows(*outputs),
        [_, outputs] if kind.ends_with("Linear") => Units::Columns(*outputs),
        _ => Units::None,
    }
}

/// Puts values in the parameters' place.
struct Writer {
    values: HashMap<ParamId, Vec<f32>>,
}

impl ModuleMapper for Writer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.remove(&param.id) else { return param };
        param.map(|tensor| {
            let (device, shape) = (tensor.device(), tensor.shape());
            Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
        })
    }
}

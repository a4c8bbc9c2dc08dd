//! The baselines of miadam-paper, which work on slices in host memory: gradients and parameters come over, and go back.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, Transaction};
use miadam_paper::optimizers::{self, Saved, Units};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

pub struct Host {
    optimizer: Box<dyn optimizers::Optimizer>,
}

/// A parameter whose values are on the host: where they came from.
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
        let read = read.into_iter().map(|data| data.try_into_vec::<f32>().map_err(|error| format!("burn: {error:?}")));
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

    /// Saves the optimizer's state as a safetensors file: `step`, `numbers`, and vector k of parameter p as `p.k`.
    pub fn save(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let saved = self.optimizer.saved().ok_or("this optimizer cannot be saved")?;
        let step: Vec<u8> = saved.step.to_le_bytes().to_vec();
        let numbers: Vec<u8> = saved.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut tensors = vec![
            ("step".to_owned(), Dtype::I32, vec![1], step),
            ("numbers".to_owned(), Dtype::F64, vec![saved.numbers.len()], numbers),
        ];
        for (param, vectors) in saved.tensors.iter().enumerate() {
            for (k, vector) in vectors.iter().enumerate() {
                let bytes = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensors.push((format!("{param}.{k}"), Dtype::F32, vec![vector.len()], bytes));
            }
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>()?;
        Ok(fs::write(file, safetensors::serialize(views, None)?)?)
    }

    /// Goes on from such a file.
    pub fn load(&mut self, file: &Path) -> Result<(), Box<dyn Error>> {
        let bytes = fs::read(file)?;
        let read = SafeTensors::deserialize(&bytes)?;
        let step = i32::from_le_bytes(read.tensor("step")?.data().try_into()?);
        let numbers = read.tensor("numbers")?.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let mut saved = Saved { step, numbers: numbers.collect(), tensors: Vec::new() };
        let vector = |param: usize, k: usize| {
            let view = read.tensor(&format!("{param}.{k}")).ok()?;
            Some(view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>())
        };
        for param in 0.. {
            let vectors: Vec<_> = (0..).map_while(|k| vector(param, k)).collect();
            if vectors.is_empty() {
                break;
            }
            saved.tensors.push(vectors);
        }
        self.optimizer.load(saved);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::task::seeded;
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
    use burn::prelude::*;
    use miadam_burn::MiAdamConfig;
    use miadam_burn::miadam::{Hyperparams, WeightDecay};
    use miadam_paper::optimizers::Adam;

    #[derive(Module, Debug)]
    struct Net {
        conv: Conv2d,
        norm: BatchNorm,
        linear: Linear,
    }

    impl Net {
        fn new(device: &Device) -> Self {
            let linear = LinearConfig::new(4, 3).init(device);
            Self {
                conv: Conv2dConfig::new([2, 4], [3, 3]).init(device),
                norm: BatchNormConfig::new(4).init(device),
                linear,
            }
        }

        fn grads(&self, round: usize, device: &Device) -> GradientsParams {
            let pixels = (0..3 * 2 * 9).map(|n| ((n * (round + 3)) % 17) as f32 / 8.0 - 1.0).collect();
            let images = burn::tensor::Tensor::from_data(TensorData::new::<f32, _>(pixels, [3, 2, 3, 3]), device);
            let features = self.norm.forward(self.conv.forward(images)).reshape([3, 4]);
            GradientsParams::from_grads(self.linear.forward(features).square().mean().backward(), self)
        }

        fn values(&self) -> Vec<f32> {
            let [conv, linear] = [self.conv.weight.val().into_data(), self.linear.weight.val().into_data()];
            [conv, linear].into_iter().flat_map(|data| data.try_into_vec::<f32>().unwrap()).collect()
        }
    }

    const LR: f64 = 1e-2;

    fn adam() -> Host {
        let mut adam = Adam::new(0.9);
        adam.decay = 1e-2;
        Host::new(adam)
    }

    #[test]
    fn adam_on_the_host_is_miadam_of_order_0() {
        let device = Device::flex().autodiff();
        let _seeded = seeded(&device);
        let mut ours = Net::new(&device).materialize();
        let mut theirs = ours.clone();
        let hyperparams = Hyperparams { order: 0, weight_decay: WeightDecay::Coupled(1e-2), ..Hyperparams::default() };
        let mut miadam = MiAdamConfig::new(hyperparams).init(&device).unwrap();
        let mut host = adam();
        let before = ours.values();
        for round in 0..20 {
            let [our_grads, their_grads] = [&ours, &theirs].map(|net| net.grads(round, &device));
            ours = miadam.step(LR, ours, our_grads).unwrap();
            theirs = host.step(LR, theirs, their_grads).unwrap();
        }
        let mut moved = 0;
        for ((ours, theirs), before) in ours.values().into_iter().zip(theirs.values()).zip(before) {
            // Both round each step of about 1e-2 to f32, in another order; 20 steps go their own ways from there.
            assert!((ours - theirs).abs() < 1e-5, "{ours} and {theirs}");
            moved += usize::from((ours - before).abs() > 1e-2);
        }
        assert!(moved > 40, "only {moved} of 84 have moved");
    }

    #[test]
    fn a_saved_optimizer_goes_on_with_the_same_bits() {
        let device = Device::flex().autodiff();
        let _seeded = seeded(&device);
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut net, mut host) = (Net::new(&device).materialize(), adam());
        for round in 0..3 {
            let grads = net.grads(round, &device);
            net = host.step(LR, net, grads).unwrap();
        }
        host.save(file.path()).unwrap();
        let mut other = adam();
        other.load(file.path()).unwrap();
        let nets = [host, other].map(|mut host| host.step(LR, net.clone(), net.grads(3, &device)).unwrap().values());
        assert_eq!(nets[0], nets[1]);
    }

    #[test]
    fn units_are_outputs() {
        assert_eq!(units(&[8, 3, 3, 3], "Struct:Conv2d"), Units::Rows(8));
        assert_eq!(units(&[4, 3], "Struct:Linear"), Units::Columns(3));
        assert_eq!((units(&[4, 3], "Struct:Embedding"), units(&[4], "Struct:BatchNorm")), (Units::None, Units::None));
    }
}

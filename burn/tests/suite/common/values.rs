//! The values of modules and gradients, by the paths of the parameters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

pub type ByPath = BTreeMap<String, Vec<f32>>;

/// All parameters.
pub fn values<M: Module>(module: &M) -> ByPath {
    visit(module, Reader::Values)
}

/// All gradients, which stay where they are.
pub fn gradients<M: Module>(module: &M, grads: &GradientsParams) -> ByPath {
    visit(module, Reader::Gradients(grads))
}

/// The number that burn knows a parameter by.
pub fn ids<M: Module>(module: &M) -> BTreeMap<String, ParamId> {
    let mut visitor =
        Visitor { path: Vec::new(), reader: Reader::Nothing, found: BTreeMap::new(), ids: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.ids
}

/// Whatever the type, in f32.
pub fn lossless<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().unwrap()
}

/// What is read of each parameter.
enum Reader<'a> {
    Values,
    Gradients(&'a GradientsParams),
    Nothing,
}

struct Visitor<'a> {
    path: Vec<String>,
    reader: Reader<'a>,
    found: ByPath,
    ids: BTreeMap<String, ParamId>,
}

fn visit<M: Module>(module: &M, reader: Reader) -> ByPath {
    let mut visitor = Visitor { path: Vec::new(), reader, found: ByPath::new(), ids: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.found
}

impl ModuleVisitor for Visitor<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.reader {
            Reader::Values => Some(param.val()),
            Reader::Gradients(grads) => grads.get::<D>(param.id),
            Reader::Nothing => None,
        };
        self.found.extend(tensor.map(|tensor| (self.path.join("."), lossless(tensor))));
        self.ids.insert(self.path.join("."), param.id);
    }
}

/// Gives a module values that depend on nothing but paths and shapes.
pub fn fill<M: Module>(module: M) -> M {
    module.map(&mut Filler(Vec::new()))
}

struct Filler(Vec<String>);

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.0.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, _) = param.consume();
        let path = self.0.join(".");
        // A normalization's factors are about 1.
        let middle = if path.ends_with("gamma") { 1.0 } else { 0.0 };
        let seed = path.bytes().fold(7, |seed, byte| (seed * 31 + usize::from(byte)) % 1009);
        let numbers = (0..tensor.shape().num_elements()).map(|n| ((n * 37 + seed) % 53) as f32 / 65.0 - 0.4 + middle);
        let data = TensorData::new(numbers.collect::<Vec<_>>(), tensor.shape());
        Param::initialized(id, Tensor::from_data(data, &tensor.device()).require_grad())
    }
}

/// The same parameters, bit for bit.
#[track_caller]
pub fn assert_bits(found: &ByPath, expected: &ByPath, context: &str) {
    assert!(found.keys().eq(expected.keys()), "{context}: {:?} are not {:?}", found.keys(), expected.keys());
    for (path, values) in found {
        let same = values.iter().map(|value| value.to_bits()).eq(expected[path].iter().map(|value| value.to_bits()));
        assert!(same, "{context}: `{path}` is {values:?}, not {:?}", expected[path]);
    }
}

/// The update from `old` to `new` of every parameter is the other's, which comes second in both. It may be off by `relative`
/// times the rounding of an f32, of the tensor's largest update.
#[track_caller]
pub fn assert_updates(old: [&ByPath; 2], new: [&ByPath; 2], relative: f32, context: &str) {
    for (path, values) in new[0] {
        let updates = |side: usize| new[side][path].iter().zip(&old[side][path]).map(|(new, old)| new - old);
        let largest = updates(1).fold(0.0, |largest: f32, update| largest.max(update.abs()));
        for (i, (update, expected)) in updates(0).zip(updates(1)).enumerate() {
            // Rounding a parameter costs half an ulp of it before and after, on either side; the decay half an ulp more.
            let tolerance = f32::EPSILON * (relative * largest + 3.0 * values[i].abs());
            assert!(
                (update - expected).abs() <= tolerance,
                "{context}, `{path}`, element {i}: update {update:e}, expected {expected:e} within {tolerance:e}"
            );
        }
    }
}

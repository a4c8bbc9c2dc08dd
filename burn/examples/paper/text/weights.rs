//! BERT's weights, from a safetensors file with the names of Hugging Face.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::paper::models::encoder::{Encoder, Size};

/// Tensors by their names, without the prefix that whole models have.
pub struct Weights {
    file: String,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is none. The message names file and remedy.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let remedy = "give the model.safetensors of a BERT encoder";
        let bytes = fs::read(file).map_err(|error| format!("--weights {name}: {error}; {remedy}"))?;
        let read = SafeTensors::deserialize(&bytes).map_err(|error| format!("--weights {name}: {error}; {remedy}"))?;
        let mut tensors = HashMap::new();
        for (path, view) in read.tensors() {
            let Some(values) = values(view.dtype(), view.data()) else { continue };
            let path = path.strip_prefix("bert.").unwrap_or(&path).to_owned();
            // As TensorFlow's checkpoints called them.
            let path = path.replace(".gamma", ".weight").replace(".beta", ".bias");
            tensors.insert(path, (view.shape().to_vec(), values));
        }
        Ok(Self { file: name, tensors })
    }

    /// How large the encoder is that they are of. Each head has 64 of its width, as in every published BERT.
    pub fn size(&self) -> Result<Size, String> {
        let [vocabulary, width] = self.shape("embeddings.word_embeddings.weight")?;
        let [positions, _] = self.shape("embeddings.position_embeddings.weight")?;
        let [inner, _] = self.shape("encoder.layer.0.intermediate.dense.weight")?;
        let layers = (0..).take_while(|layer| self.tensors.contains_key(&query_of(*layer))).count();
        Ok(Size { vocabulary, positions, width, inner, heads: (width / 64).max(1), layers })
    }

    fn shape(&self, name: &str) -> Result<[usize; 2], String> {
        let (shape, _) = self.tensors.get(name).ok_or_else(|| self.fault(&format!("there is no tensor `{name}`")))?;
        shape.as_slice().try_into().map_err(|_| self.fault(&format!("`{name}` is no matrix")))
    }

    fn fault(&self, fault: &str) -> String {
        format!("--weights {}: {fault}; give the model.safetensors of a BERT encoder", self.file)
    }

    /// Puts them into an encoder of their size. The layer for the classes stays as it is.
    ///
    /// # Errors
    /// If a tensor is absent, or of another shape.
    pub fn load(&self, encoder: Encoder) -> Result<Encoder, String> {
        let mut loader = Loader { weights: self, path: Vec::new(), fault: None };
        let encoder = encoder.map(&mut loader);
        match loader.fault {
            Some(fault) => Err(self.fault(&fault)),
            None => Ok(encoder),
        }
    }
}

fn query_of(layer: usize) -> String {
    format!("encoder.layer.{layer}.attention.self.query.weight")
}

/// Numbers of 16 or 32 bits. Others are no weights.
fn values(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let (halves, singles) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
    match dtype {
        Dtype::F32 => Some(singles.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Some(halves.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => Some(halves.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        _ => None,
    }
}

struct Loader<'a> {
    weights: &'a Weights,
    path: Vec<String>,
    fault: Option<String>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = name_of(&self.path) else { return param };
        let Some((shape, values)) = self.weights.tensors.get(&name) else {
            self.fault.get_or_insert(format!("there is no tensor `{name}`"));
            return param;
        };
        // A linear layer's rows are outputs there, and inputs here.
        let is_linear = D == 2 && !name.starts_with("embeddings.");
        let own = param.lazy_shape();
        let expected: Vec<usize> = if is_linear { own.iter().rev().copied().collect() } else { own.to_vec() };
        if *shape != expected {
            self.fault.get_or_insert(format!("`{name}` is of shape {shape:?}, and {expected:?} is needed"));
            return param;
        }
        param.map(|tensor| {
            let device = tensor.device();
            let loaded = Tensor::<D>::from_data(TensorData::new(values.clone(), shape.clone()), &device);
            let loaded = if is_linear { loaded.swap_dims(0, 1) } else { loaded };
            loaded.detach().set_require_grad(tensor.is_require_grad())
        })
    }
}

/// Hugging Face's name of a parameter, unless it belongs to the layer for the classes.
fn name_of(path: &[String]) -> Option<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let kind = match *path.last()? {
        "gamma" => "weight",
        "beta" => "bias",
        kind => kind,
    };
    let owner = match path[..path.len() - 1] {
        ["words"] => "embeddings.word_embeddings".to_owned(),
        ["places"] => "embeddings.position_embeddings".to_owned(),
        ["kinds"] => "embeddings.token_type_embeddings".to_owned(),
        ["norm"] => "embeddings.LayerNorm".to_owned(),
        ["pooler"] => "pooler.dense".to_owned(),
        ["layers", layer, ref rest @ ..] => {
            let part = match *rest {
                ["attention", "output"] => "attention.output.dense",
                ["attention", "query"] => "attention.self.query",
                ["attention", "key"] => "attention.self.key",
                ["attention", "value"] => "attention.self.value",
                ["attention_norm"] => "attention.output.LayerNorm",
                ["inner"] => "intermediate.dense",
                ["outer"] => "output.dense",
                ["norm"] => "output.LayerNorm",
                _ => return None,
            };
            format!("encoder.layer.{layer}.{part}")
        }
        _ => return None,
    };
    Some(format!("{owner}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::task::seeded;
    use burn::prelude::*;
    use safetensors::tensor::TensorView;

    const LAYERS: usize = 2;

    /// Names and shapes of the tiny BERT of golden.py.
    fn shapes() -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (128, 8);
        let mut shapes = vec![
            ("embeddings.word_embeddings.weight".to_owned(), vec![10, width]),
            ("embeddings.position_embeddings.weight".to_owned(), vec![6, width]),
            ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, width]),
        ];
        let mut linear = |name: &str, to, from| {
            shapes.push((format!("{name}.weight"), vec![to, from]));
            shapes.push((format!("{name}.bias"), vec![to]));
        };
        linear("pooler.dense", width, width);
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for layer in (0..LAYERS).map(|layer| format!("encoder.layer.{layer}")) {
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                linear(&format!("{layer}.attention.{part}"), width, width);
            }
            linear(&format!("{layer}.intermediate.dense"), inner, width);
            linear(&format!("{layer}.output.dense"), width, inner);
            norms.extend([format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]);
        }
        for norm in norms {
            shapes.extend(["weight", "bias"].map(|kind| (format!("{norm}.{kind}"), vec![width])));
        }
        shapes
    }

    /// The weights of golden.py.
    fn bytes(name: &str, count: usize) -> Vec<u8> {
        let start: u32 = name.bytes().map(u32::from).sum();
        let middle = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let value = |i: usize| middle + 0.03 * ((i as f64).powf(1.5) + f64::from(start)).sin();
        (0..count).flat_map(|i| (value(i) as f32).to_le_bytes()).collect()
    }

    fn file(shapes: &[(String, Vec<usize>)], prefix: &str) -> tempfile::NamedTempFile {
        let data: Vec<_> = shapes.iter().map(|(name, shape)| bytes(name, shape.iter().product())).collect();
        let views = shapes.iter().zip(&data).map(|((name, shape), bytes)| {
            (format!("{prefix}{name}"), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), safetensors::serialize(views, None).unwrap()).unwrap();
        file
    }

    #[test]
    fn an_encoder_says_what_pytorchs_says() {
        let device = Device::flex();
        let _seeded = seeded(&device);
        // `bert.` is the prefix of models with a head.
        for prefix in ["", "bert."] {
            let weights = Weights::read(file(&shapes(), prefix).path()).unwrap();
            let size = weights.size().unwrap();
            let expected = Size { vocabulary: 10, positions: 6, width: 128, inner: 8, heads: 2, layers: LAYERS };
            assert_eq!(size, expected);
            let encoder = weights.load(Encoder::new(&size, 3, &device)).unwrap();
            let tokens = Tensor::<2, Int>::from_data([[2, 7, 4, 9, 3], [2, 5, 3, 0, 0]], &device);
            let padding = tokens.clone().equal_elem(0);
            let pooled = encoder.pooled(tokens, &padding).narrow(1, 0, 4).into_data().try_into_vec::<f32>().unwrap();
            // From golden.py.
            const GOLDEN: [f32; 8] =
                [0.940819, 0.477596, 0.977178, -0.0338631, 0.941629, 0.473941, 0.976894, -0.0415528];
            for (found, golden) in pooled.iter().zip(GOLDEN) {
                // Some hundreds of roundings of f32 in a row, and six digits in the golden numbers.
                assert!((found - golden).abs() < 1e-5, "{pooled:?}");
            }
        }
    }

    #[test]
    fn what_is_no_bert_is_refused_by_name() {
        let _seeded = seeded(&Device::flex());
        let refused = |shapes: &[(String, Vec<usize>)]| {
            let weights = Weights::read(file(shapes, "").path()).unwrap();
            let loaded = weights.size().and_then(|size| weights.load(Encoder::new(&size, 3, &Device::flex())));
            loaded.err().unwrap()
        };
        let without = |part: &str| shapes().into_iter().filter(|(name, _)| !name.contains(part)).collect::<Vec<_>>();
        for part in ["embeddings.word_embeddings.weight", "encoder.layer.1.output.LayerNorm.bias", "pooler.dense.bias"]
        {
            let fault = refused(&without(part));
            assert!(fault.contains(&format!("there is no tensor `{part}`; give")), "{fault}");
        }
        let mut other = shapes();
        other[1].1 = vec![6, 64];
        let fault = refused(&other);
        assert!(fault.contains("position_embeddings.weight` is of shape [6, 64], and [6, 128] is needed"), "{fault}");
        let none = tempfile::NamedTempFile::new().unwrap();
        fs::write(none.path(), b"no weights").unwrap();
        let fault = Weights::read(none.path()).err().unwrap();
        assert!(fault.starts_with("--weights ") && fault.contains("give the model.safetensors"), "{fault}");
    }
}

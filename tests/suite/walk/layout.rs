//! Tensors of all types, scattered over a few buffers.

use std::collections::BTreeMap;

use miadam::{Binding, Checkpoint};

use super::device::{Named, New, narrow, widen};
use crate::common::{Contents, Random, Spot, Values, put};

/// Fills what belongs to no tensor.
const SENTINEL: u32 = 0xa5a5_a5a5;

/// Where tensors lie, and the words that are expected in all buffers.
#[derive(Clone, Default)]
pub struct Layout {
    pub expected: Contents,
    pub spots: BTreeMap<String, Spot>,
}

/// A tensor pair without a place.
struct Pair {
    name: String,
    spot: Spot,
    param: Values,
    grad: Values,
}

impl Pair {
    fn new(new: &New) -> Self {
        let spot = Spot { len: new.len(), dtype: new.dtype(), grad_dtype: new.grad_dtype, ..Spot::default() };
        let grad = Values::new(new.grad_dtype, &vec![0.0; new.len()]);
        Self { name: new.name.clone(), spot, param: new.param.clone(), grad }
    }
}

impl Layout {
    /// In up to four buffers.
    pub fn new(params: &[New], random: &mut Random) -> Self {
        let mut layout = Self::default();
        layout.place_all(params.iter().map(Pair::new), 1 + random.below(4), random);
        layout
    }

    /// In another buffer.
    pub fn add(&mut self, params: &[New], random: &mut Random) {
        self.place_all(params.iter().map(Pair::new), 1, random);
    }

    /// Its words stay where they are, and are not to be touched any more.
    pub fn remove(&mut self, name: &str) {
        self.spots.remove(name).unwrap();
    }

    /// The same tensors elsewhere.
    pub fn scattered(&self, random: &mut Random) -> Self {
        let mut layout = Self::default();
        let pair = |(name, spot): (&String, &Spot)| {
            let grad = Values::new(spot.grad_dtype, &spot.grad_in(&self.expected));
            Pair { name: name.clone(), spot: *spot, param: spot.values_in(&self.expected), grad }
        };
        layout.place_all(self.spots.iter().map(pair), 1 + random.below(4), random);
        layout
    }

    /// Puts tensors into so many new buffers, in any order, with and without gaps.
    fn place_all(&mut self, pairs: impl Iterator<Item = Pair>, buffers: usize, random: &mut Random) {
        let first = self.expected.len();
        self.expected.resize(first + buffers, Vec::new());
        for Pair { name, spot, param, grad } in pairs {
            let [param, grad] = [param, grad].map(|values| self.place(first + random.below(buffers), &values, random));
            self.spots.insert(name, Spot { param, grad, ..spot });
        }
        self.expected[first..].iter_mut().for_each(|words| words.extend([SENTINEL; 4]));
    }

    /// Puts a tensor behind the others of a buffer.
    fn place(&mut self, buffer: usize, values: &Values, random: &mut Random) -> (usize, usize) {
        let end = self.expected[buffer].len();
        let start = if random.below(2) == 0 { end.next_multiple_of(4) } else { end + random.below(6) };
        self.expected[buffer].resize(start + values.bytes().len().div_ceil(4), SENTINEL);
        put(&mut self.expected, (buffer, start), values);
        (buffer, start)
    }

    /// Of the parameters of which `is_named` holds.
    pub fn bindings<'a>(&'a self, buffers: &[wgpu::Buffer], is_named: impl Fn(&str) -> bool) -> Vec<Binding<'a>> {
        let named = self.spots.iter().filter(|(name, _)| is_named(name));
        named.map(|(name, spot)| spot.bind(name, buffers)).collect()
    }

    /// Whose a word is, for those who look for a failure.
    pub fn owner(&self, buffer: usize, word: usize) -> String {
        let has = |(own, start): (usize, usize), values: Values| {
            own == buffer && (start..start + values.bytes().len().div_ceil(4)).contains(&word)
        };
        for (name, spot) in &self.spots {
            if has(spot.param, spot.values_in(&self.expected)) {
                return format!("in parameter {name}");
            }
            if has(spot.grad, Values::new(spot.grad_dtype, &spot.grad_in(&self.expected))) {
                return format!("in the gradient of {name}");
            }
        }
        "in no tensor".to_owned()
    }

    pub fn set_grads(&mut self, grads: &Named) {
        for (name, spot) in &self.spots {
            put(&mut self.expected, spot.grad, &narrow(spot.grad_dtype, &grads[name]));
        }
    }

    /// Expects what is loaded, in whole words, which are what can be copied to a buffer.
    pub fn write_params(&mut self, checkpoint: &Checkpoint) {
        for (name, spot) in &self.spots {
            let (_, bytes) = checkpoint.param(name).unwrap();
            let (buffer, start) = spot.param;
            for (word, bytes) in self.expected[buffer][start..].iter_mut().zip(bytes.chunks(4)) {
                let mut whole = [0; 4];
                whole[..bytes.len()].copy_from_slice(bytes);
                *word = u32::from_le_bytes(whole);
            }
        }
    }

    /// Expects the parameters as they are found.
    pub fn take_params(&mut self, found: &Contents) -> Named {
        let mut params = Named::new();
        for (name, spot) in &self.spots {
            put(&mut self.expected, spot.param, &spot.values_in(found));
            params.insert(name.clone(), widen(&spot.param_in(found)));
        }
        params
    }
}

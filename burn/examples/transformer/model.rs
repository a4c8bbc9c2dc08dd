//! A transformer out of burn's own parts: embeddings of characters and places, two blocks, and a score for each character.

use burn::nn::attention::generate_autoregressive_mask;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::prelude::*;

use crate::transformer::text::{Batch, CONTEXT};

const WIDTH: usize = 64;
const HEADS: usize = 4;
const BLOCKS: usize = 2;

#[derive(Module, Debug)]
pub struct Model {
    chars: Embedding,
    places: Embedding,
    blocks: TransformerEncoder,
    head: Linear,
}

impl Model {
    pub fn new(chars: usize, device: &Device) -> Self {
        let blocks = TransformerEncoderConfig::new(WIDTH, 4 * WIDTH, HEADS, BLOCKS);
        Self {
            chars: EmbeddingConfig::new(chars, WIDTH).init(device),
            places: EmbeddingConfig::new(CONTEXT, WIDTH).init(device),
            blocks: blocks.with_norm_first(true).with_dropout(0.0).init(device),
            head: LinearConfig::new(WIDTH, chars).init(device),
        }
    }

    /// The mean loss in nats a character: how surprised the model is at each character that follows.
    pub fn loss(&self, Batch { inputs, targets }: Batch) -> Tensor<1> {
        let ([pieces, _], device) = (inputs.dims(), inputs.device());
        let places = Tensor::arange(0..CONTEXT as i64, &device).reshape([1, CONTEXT]);
        let x = self.chars.forward(inputs) + self.places.forward(places);
        let seen = generate_autoregressive_mask(pieces, CONTEXT, &device);
        let x = self.blocks.forward(TransformerEncoderInput::new(x).mask_attn(seen));
        let scores = self.head.forward(x.reshape([pieces * CONTEXT, WIDTH]));
        CrossEntropyLossConfig::new().init(&device).forward(scores, targets)
    }
}

//! BERT: Devlin, Chang, Lee and Toutanova, 2019, arXiv 1810.04805, and a linear layer for classes. Smaller ones start from scratch.

use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::{
    Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::prelude::*;
use burn::tensor::activation::gelu;

/// How large an encoder is.
#[derive(Debug, Clone, PartialEq)]
pub struct Size {
    pub vocabulary: usize,
    /// Tokens of the longest text.
    pub positions: usize,
    pub width: usize,
    pub inner: usize,
    pub heads: usize,
    pub layers: usize,
}

/// BERT's ε.
const EPSILON: f64 = 1e-12;
const DROPOUT: f64 = 0.1;

#[derive(Module, Debug)]
pub struct Encoder {
    words: Embedding,
    places: Embedding,
    kinds: Embedding,
    norm: LayerNorm,
    dropout: Dropout,
    layers: Vec<Layer>,
    pooler: Linear,
    head: Linear,
}

/// Attention and two linear layers, each with a norm after what it adds.
#[derive(Module, Debug)]
struct Layer {
    attention: MultiHeadAttention,
    attention_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    norm: LayerNorm,
    dropout: Dropout,
}

/// Maker of layers whose weights are normal, of deviation 0.02, as BERT's.
struct Parts<'a> {
    size: &'a Size,
    device: &'a Device,
}

impl Encoder {
    pub fn new(size: &Size, classes: usize, device: &Device) -> Self {
        let parts = Parts { size, device };
        Self {
            words: parts.embedding(size.vocabulary),
            places: parts.embedding(size.positions),
            kinds: parts.embedding(2),
            norm: parts.norm(),
            dropout: DropoutConfig::new(DROPOUT).init(),
            layers: (0..size.layers).map(|_| parts.layer()).collect(),
            pooler: parts.linear(size.width, size.width),
            head: parts.linear(size.width, classes),
        }
    }

    /// From numbers of tokens `[texts, tokens]`, and where there is none, to a score for each class.
    pub fn forward(&self, tokens: Tensor<2, Int>, padding: &Tensor<2, Bool>) -> Tensor<2> {
        self.head.forward(self.dropout.forward(self.pooled(tokens, padding)))
    }

    /// What is said of each text, `[texts, width]`.
    pub fn pooled(&self, tokens: Tensor<2, Int>, padding: &Tensor<2, Bool>) -> Tensor<2> {
        let ([texts, len], device) = (tokens.dims(), tokens.device());
        let places = Tensor::arange(0..len as i64, &device).reshape([1, len]);
        let kinds = Tensor::zeros([texts, len], &device);
        let embedded = self.words.forward(tokens) + self.places.forward(places) + self.kinds.forward(kinds);
        let mut x = self.dropout.forward(self.norm.forward(embedded));
        for layer in &self.layers {
            x = layer.forward(x, padding.clone());
        }
        let first = x.narrow(1, 0, 1).squeeze_dim(1);
        self.pooler.forward(first).tanh()
    }
}

impl Layer {
    fn forward(&self, x: Tensor<3>, padding: Tensor<2, Bool>) -> Tensor<3> {
        let seen = self.attention.forward(MhaInput::self_attn(x.clone()).mask_pad(padding)).context;
        let x = self.attention_norm.forward(x + self.dropout.forward(seen));
        let made = self.outer.forward(gelu(self.inner.forward(x.clone())));
        self.norm.forward(x + self.dropout.forward(made))
    }
}

impl Parts<'_> {
    const WEIGHTS: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };

    fn embedding(&self, count: usize) -> Embedding {
        EmbeddingConfig::new(count, self.size.width).with_initializer(Self::WEIGHTS).init(self.device)
    }

    fn linear(&self, from: usize, to: usize) -> Linear {
        let mut linear = LinearConfig::new(from, to).with_initializer(Self::WEIGHTS).init(self.device);
        linear.bias = Some(Initializer::Zeros.init([to], self.device));
        linear
    }

    fn norm(&self) -> LayerNorm {
        LayerNormConfig::new(self.size.width).with_epsilon(EPSILON).init(self.device)
    }

    fn layer(&self) -> Layer {
        let Size { width, inner, heads, .. } = *self.size;
        let attention = MultiHeadAttentionConfig::new(width, heads).with_dropout(DROPOUT).init(self.device);
        let [query, key, value, output] = [(); 4].map(|()| self.linear(width, width));
        Layer {
            attention: MultiHeadAttention { query, key, value, output, ..attention },
            attention_norm: self.norm(),
            inner: self.linear(width, inner),
            outer: self.linear(inner, width),
            norm: self.norm(),
            dropout: DropoutConfig::new(DROPOUT).init(),
        }
    }
}

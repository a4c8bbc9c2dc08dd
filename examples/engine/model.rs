//! A tiny transformer that reads characters: two blocks of attention and a perceptron, each behind a norm and beside a residual path.
//! It names its parameters and says how a batch goes through them; where anything lies is the device's affair.

use miadam_support::mnist::random::Random;

use crate::device::{Device, Result};
use crate::tape::{Tape, Var};

/// Characters in a sequence.
pub const CONTEXT: usize = 64;
const WIDTH: usize = 64;
const HEADS: usize = 4;
const BLOCKS: usize = 2;

/// A parameter before any device has it.
pub struct Start {
    pub name: String,
    pub shape: [usize; 2],
    pub values: Vec<f32>,
}

/// Every parameter, with the values that training begins with.
pub fn start(chars: usize, seed: u64) -> Vec<Start> {
    let mut random = Random::new(seed, 0);
    let mut params = Vec::new();
    let mut add = |name: &str, shape: [usize; 2], bound: f32| {
        let len = shape[0] * shape[1];
        // A norm's gain starts at 1.
        let value = |_| if bound > 0.0 { random.symmetric(bound) } else { 1.0 };
        params.push(Start { name: name.to_owned(), shape, values: (0..len).map(value).collect() });
    };
    // Uniform numbers within ±√(3/width) keep the size of what they are multiplied by.
    let bound = |inputs: usize| (3.0 / inputs as f32).sqrt();
    // Each block adds twice to the residual path.
    let added = bound(WIDTH) / ((2 * BLOCKS) as f32).sqrt();
    add("embedding.chars", [chars, WIDTH], 0.5);
    add("embedding.places", [CONTEXT, WIDTH], 0.5);
    for block in 0..BLOCKS {
        let mut add = |name: &str, shape, bound| add(&format!("blocks.{block}.{name}"), shape, bound);
        add("attention.norm", [1, WIDTH], 0.0);
        add("attention.qkv", [WIDTH, 3 * WIDTH], bound(WIDTH));
        add("attention.out", [WIDTH, WIDTH], added);
        add("perceptron.norm", [1, WIDTH], 0.0);
        add("perceptron.up", [WIDTH, 4 * WIDTH], bound(WIDTH));
        add("perceptron.down", [4 * WIDTH, WIDTH], added / 2.0);
    }
    add("head.norm", [1, WIDTH], 0.0);
    add("head.out", [WIDTH, chars], bound(WIDTH) / 2.0);
    params
}

/// For each character of the sequences, what may follow it. `param` finds a parameter on the tape, and `places` numbers the
/// characters of each sequence from 0.
pub fn logits<D: Device>(
    tape: &mut Tape<'_, D>,
    param: impl Fn(&str) -> Var,
    [chars, places]: [&D::Slice; 2],
    rows: usize,
) -> Result<Var> {
    let char = tape.embed(chars, rows, param("embedding.chars"))?;
    let place = tape.embed(places, rows, param("embedding.places"))?;
    let mut x = tape.add(char, place)?;
    for block in 0..BLOCKS {
        let param = |name: &str| param(&format!("blocks.{block}.{name}"));

        let normed = tape.norm(x, param("attention.norm"))?;
        let qkv = tape.matmul(normed, param("attention.qkv"))?;
        let seen = tape.attend(qkv, CONTEXT, HEADS)?;
        let out = tape.matmul(seen, param("attention.out"))?;
        x = tape.add(x, out)?;

        let normed = tape.norm(x, param("perceptron.norm"))?;
        let up = tape.matmul(normed, param("perceptron.up"))?;
        let hidden = tape.square_relu(up)?;
        let down = tape.matmul(hidden, param("perceptron.down"))?;
        x = tape.add(x, down)?;
    }
    let normed = tape.norm(x, param("head.norm"))?;
    tape.matmul(normed, param("head.out"))
}

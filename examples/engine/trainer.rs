//! A model in training on any device: one step is one frame, in which the forward pass, the backward pass and the optimizer are
//! recorded, and which is submitted once.

use miadam::{Checkpoint, Optimizer, Param, ParamGroup, Report};
use miadam_support::mnist::random::Random;

use crate::args::Args;
use crate::device::{Device, Named, Result};
use crate::model::{self, CONTEXT, Start};
use crate::saved::{self, Settings};
use crate::tape::{Tape, Var};
use crate::text::{Batch, Text};

/// Below 1, likely characters are likelier in a sample than the model has them.
const TEMPERATURE: f32 = 0.7;

/// The stream of random numbers that samples are drawn from. The text's batches have those after it.
const SAMPLES: u64 = u64::MAX;

pub struct Trainer<'a, D: Device> {
    device: D,
    text: &'a Text,
    settings: Settings,
    params: Vec<Tensor<D::Slice>>,
    optimizer: Optimizer<D::State>,
    /// The number of each character in its sequence.
    places: D::Slice,
    /// The losses of each row of the batch, added up since they were last read.
    losses: D::Slice,
}

struct Tensor<S> {
    name: String,
    shape: [usize; 2],
    slice: S,
}

impl<'a, D: Device> Trainer<'a, D> {
    /// A run at its begin, or where it was saved.
    pub fn new(
        mut device: D,
        text: &'a Text,
        args: &Args,
        settings: &Settings,
        saved: Option<&Checkpoint>,
    ) -> Result<Self> {
        let starts = model::start(text.chars.len(), settings.seed);
        // Biases and norms are usually left out of weight decay. This model has no biases.
        let params = starts.iter().map(|start| Param::new(&start.name, start.values.len()));
        let groups = ParamGroup::new(args.matrices(), params).split(args.gains(), |param| param.name.ends_with("norm"));
        let params = starts
            .into_iter()
            .map(|Start { name, shape, values }| Ok(Tensor { name, shape, slice: device.keep(&values)? }));
        let params: Vec<_> = params.collect::<Result<_>>()?;

        // No gradient has been computed yet. The optimizer has to know some place for each, and is told the right one by every step.
        device.begin()?;
        let nowhere = params.iter().map(|param| Ok(Some(device.allocate(param.shape[0] * param.shape[1])?)));
        let nowhere: Vec<_> = nowhere.collect::<Result<_>>()?;
        let mut optimizer = device.optimizer(groups, &named(&params, &nowhere))?;
        device.submit()?;
        optimizer.set_grad_options(args.grad_options())?;
        if let Some(saved) = saved {
            device.restore(&mut optimizer, &named(&params, &nowhere), saved)?;
        }
        let rows = settings.batch_size * CONTEXT;
        let places: Vec<_> = (0..rows).map(|row| (row % CONTEXT) as f32).collect();
        let (places, losses) = (device.keep(&places)?, device.keep(&vec![0.0; rows])?);
        Ok(Self { device, text, settings: settings.clone(), params, optimizer, places, losses })
    }

    /// Steps so far.
    pub fn steps(&self) -> u32 {
        self.optimizer.recorded()
    }

    pub fn step(&mut self) -> Result<()> {
        let Settings { seed, freeze_after, batch_size } = self.settings;
        if self.steps() == freeze_after {
            self.optimizer.freeze(["embedding.chars", "embedding.places"])?;
        }
        let batch = self.text.batch(seed, self.steps(), batch_size, CONTEXT);
        self.device.begin()?;
        let grads = self.gradients(&batch, true)?;
        self.device.step(&mut self.optimizer, &named(&self.params, &grads))?;
        self.device.submit()
    }

    /// Records the loss of a batch and, if they are wanted, the gradients of all parameters that are not frozen.
    fn gradients(&mut self, batch: &Batch, wanted: bool) -> Result<Vec<Option<D::Slice>>> {
        let [inputs, targets] = [self.device.upload(&batch.inputs)?, self.device.upload(&batch.targets)?];
        let mut tape = Tape::new(&mut self.device);
        let frozen: Vec<_> = self.optimizer.frozen().collect();
        let vars = on_tape(&mut tape, &self.params, |name| wanted && !frozen.contains(&name));
        let param = |name: &str| find(&self.params, &vars, name);
        let logits = model::logits(&mut tape, param, [&inputs, &self.places], batch.inputs.len())?;
        let grad = tape.cross_entropy(logits, &targets, &self.losses)?;
        tape.backward(logits, grad, &vars)
    }

    /// The mean loss of all steps since the last report, and the optimizer's numbers.
    pub fn report(&mut self, steps: u32) -> Result<(f64, Report)> {
        Ok((self.take_losses()? / f64::from(steps), self.device.report(&self.optimizer)?))
    }

    /// All that a run needs to go on.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        let nothing = vec![None; self.params.len()];
        let mut checkpoint = self.device.checkpoint(&self.optimizer, &named(&self.params, &nothing))?;
        saved::insert(&mut checkpoint, &self.settings)?;
        Ok(checkpoint)
    }

    /// The mean loss on the text that is held out.
    pub fn held_out_loss(&mut self) -> Result<f64> {
        let (mut sum, mut batches) = (0.0, 0.0);
        for batch in self.text.held_out(self.settings.batch_size, CONTEXT) {
            self.device.begin()?;
            self.gradients(&batch, false)?;
            self.device.submit()?;
            sum += self.take_losses()?;
            batches += 1.0;
        }
        Ok(sum / batches)
    }

    /// So many characters by the model, after the beginning of the held-out text.
    pub fn sample(&mut self, len: usize) -> Result<String> {
        let mut random = Random::new(self.settings.seed, SAMPLES);
        let mut chars = self.text.held_out(1, CONTEXT).next().map(|batch| batch.inputs).unwrap_or_default();
        for _ in 0..len {
            let next = self.next_char(&chars[chars.len() - CONTEXT..], &mut random)?;
            chars.push(next as f32);
        }
        Ok(chars[CONTEXT..].iter().map(|&char| self.text.chars[char as usize]).collect())
    }

    /// Draws one of the characters that may follow.
    fn next_char(&mut self, context: &[f32], random: &mut Random) -> Result<usize> {
        self.device.begin()?;
        let inputs = self.device.upload(context)?;
        let mut tape = Tape::new(&mut self.device);
        let vars = on_tape(&mut tape, &self.params, |_| false);
        let param = |name: &str| find(&self.params, &vars, name);
        let logits = model::logits(&mut tape, param, [&inputs, &self.places], CONTEXT)?;
        let logits = tape.slice(logits);
        self.device.submit()?;
        let logits = self.device.read(&logits)?;

        let last = &logits[logits.len() - self.text.chars.len()..];
        let largest = last.iter().copied().fold(f32::MIN, f32::max);
        let weights: Vec<_> = last.iter().map(|logit| ((logit - largest) / TEMPERATURE).exp()).collect();
        let mut left = (0.5 + random.symmetric(0.5)) * weights.iter().sum::<f32>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Ok(drawn.unwrap_or(weights.len() - 1))
    }

    /// The losses that have been added up, as the sum of the batches' means.
    fn take_losses(&mut self) -> Result<f64> {
        let losses = self.device.read(&self.losses)?;
        self.device.write(&self.losses, &vec![0.0; losses.len()])?;
        Ok(losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64)
    }

    /// Whether the device is lost.
    pub fn is_lost(&self) -> bool {
        self.device.is_lost()
    }

    /// Loses the device.
    pub fn lose_device(&mut self) {
        self.device.lose();
    }
}

/// The parameters with their gradients, as the device wants to hear of them.
fn named<'a, S>(params: &'a [Tensor<S>], grads: &'a [Option<S>]) -> Vec<Named<'a, S>> {
    let pairs = params.iter().zip(grads);
    pairs.map(|(Tensor { name, slice, .. }, grad)| Named { name, param: slice, grad: grad.as_ref() }).collect()
}

/// Puts the parameters at the beginning of a tape.
fn on_tape<D: Device>(
    tape: &mut Tape<'_, D>,
    params: &[Tensor<D::Slice>],
    needs_grad: impl Fn(&str) -> bool,
) -> Vec<Var> {
    let given = |param: &Tensor<D::Slice>| tape.given(&param.slice, param.shape, needs_grad(&param.name));
    params.iter().map(given).collect()
}

fn find<S>(params: &[Tensor<S>], vars: &[Var], name: &str) -> Var {
    let found = params.iter().position(|param| param.name == name);
    vars[found.unwrap_or_else(|| panic!("the model has no parameter {name}"))]
}

//! A run of the page: two trainers on one device.

use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::Result;
use crate::cpu::CpuTrainer;
use crate::digits::{BATCH, Digits};
use crate::drawn::centred;
use crate::gpu::{Gpu, GpuPair};
use crate::mnist::network::{Score, Weights};
use crate::mnist::random::Random;
use crate::saved::Saved;
use crate::settings::{Settings, json};

/// Hidden units, as in the example.
const HIDDEN: usize = 256;

enum Pair {
    Gpu(Box<GpuPair>),
    Cpu(Box<[CpuTrainer; 2]>),
}

/// Adam and MIAdam from the same start, on the same batches.
#[wasm_bindgen]
pub struct Run {
    settings: Settings,
    digits: Digits,
    pair: Pair,
    step: u32,
}

/// Means of Adam and of MIAdam after a step.
#[derive(Serialize)]
struct Scores {
    step: u32,
    loss: [f64; 2],
    accuracy: [f64; 2],
}

#[wasm_bindgen]
impl Run {
    /// A run before its first step, or where a checkpoint has left it. `digits` are labels and then images; `saved` is empty
    /// without a checkpoint.
    ///
    /// # Errors
    /// If the settings, the digits, the checkpoint or the device are refused.
    pub async fn open(settings: String, digits: Vec<u8>, on_gpu: bool, saved: Vec<u8>) -> Result<Self> {
        let mut settings = Settings::parse(&settings)?;
        let saved = if saved.is_empty() { None } else { Some(Saved::from_bytes(&saved)?) };
        if let Some(saved) = &saved {
            settings = saved.settings.clone();
        }
        let seed = u64::from(settings.seed);
        let digits = Digits::new(&digits, settings.label_noise, seed)?;
        let weights = Weights::random(HIDDEN, &mut Random::new(seed, 2));
        let pair = match on_gpu {
            true => Pair::Gpu(Box::new(GpuPair::new(Gpu::open().await?, &settings, &weights, &digits).await?)),
            false => Pair::Cpu(Box::new(CpuTrainer::pair(&settings, &weights)?)),
        };
        let mut run = Self { settings, digits, pair, step: 0 };
        if let Some(Saved { checkpoints, .. }) = saved {
            run.step = checkpoints[0].step();
            match &mut run.pair {
                Pair::Gpu(pair) => pair.load(&checkpoints).await?,
                Pair::Cpu(pair) => {
                    for (trainer, checkpoint) in pair.iter_mut().zip(&checkpoints) {
                        trainer.load(checkpoint)?;
                    }
                }
            }
        }
        Ok(run)
    }

    /// Steps taken.
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> u32 {
        self.step
    }

    /// So many steps more of each, at most 16. Gives the step and the means over these batches, as JSON.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn advance(&mut self, steps: u32) -> Result<String> {
        let batches: Vec<Vec<u32>> = (self.step..self.step + steps).map(|step| self.digits.batch(step)).collect();
        let samples: usize = batches.iter().map(Vec::len).sum();
        let sums = match &mut self.pair {
            Pair::Gpu(pair) => pair.train(&self.digits, &batches).await?,
            Pair::Cpu(pair) => {
                let mut sums = [Score::default(); 2];
                for batch in &batches {
                    for (trainer, sum) in pair.iter_mut().zip(&mut sums) {
                        sum.add(trainer.step(&self.digits, batch)?);
                    }
                }
                sums
            }
        };
        self.step += steps;
        Ok(self.scores(sums, samples))
    }

    /// The means over the digits held out, as JSON.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn test(&mut self) -> Result<String> {
        let sums = match &mut self.pair {
            Pair::Gpu(pair) => pair.test(&self.digits).await?,
            Pair::Cpu(pair) => pair.each_ref().map(|trainer| trainer.test(&self.digits)),
        };
        Ok(self.scores(sums, self.digits.test().len()))
    }

    fn scores(&self, sums: [Score; 2], samples: usize) -> String {
        let mean = |sum: f64| sum / samples as f64;
        let (loss, accuracy) = (sums.map(|sum| mean(sum.loss)), sums.map(|sum| mean(sum.accuracy)));
        json(&Scores { step: self.step, loss, accuracy })
    }

    /// What both make of a drawing, `side` by `side` bytes: `{pixels, probabilities}` as JSON.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn predict(&mut self, drawing: Vec<u8>, side: usize) -> Result<String> {
        let pixels = centred(&drawing, side);
        let probabilities = match &mut self.pair {
            Pair::Gpu(pair) => pair.predict(&pixels).await?,
            Pair::Cpu(pair) => pair.each_ref().map(|trainer| trainer.predict(&pixels)),
        };
        Ok(json(&serde_json::json!({ "pixels": pixels, "probabilities": probabilities })))
    }

    /// The whole run as the bytes of a file, with what the page wants to find again.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn checkpoint(&self, page: String) -> Result<Vec<u8>> {
        let checkpoints = match &self.pair {
            Pair::Gpu(pair) => pair.checkpoints().await?,
            Pair::Cpu(pair) => [pair[0].checkpoint()?, pair[1].checkpoint()?],
        };
        Saved { settings: self.settings.clone(), page, checkpoints }.to_bytes()
    }

    /// Destroys the device, as a driver's reset does.
    pub fn lose_device(&self) {
        if let Pair::Gpu(pair) = &self.pair {
            pair.gpu().device.destroy();
        }
    }
}

/// The size of the task, for the page's words: `{train, test, batch, hidden}`.
#[wasm_bindgen]
#[must_use]
pub fn task(digits: &[u8]) -> String {
    let Ok(digits) = Digits::new(digits, 0.0, 0) else { return "{}".to_owned() };
    let sizes = [("train", digits.train_len()), ("test", digits.test().len()), ("batch", BATCH), ("hidden", HIDDEN)];
    json(&std::collections::BTreeMap::from(sizes))
}

//! What a run needs to know of its data and its network.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use miadam_support::mnist::random::Random;

/// The samples to train on, or those to test on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Train,
    Test,
}

/// Data, and the network that learns to tell its classes apart.
pub trait Task: Sync {
    type Model: Module;
    /// Samples as another thread prepares them.
    type Inputs: Send;

    /// Their names in tables: the data, and the network.
    fn names(&self) -> [&str; 2];

    fn classes(&self) -> usize;

    /// The true classes.
    fn labels(&self, part: Part) -> &[usize];

    /// A network with random weights.
    fn model(&self, device: &Device) -> Result<Self::Model, String>;

    /// Prepares samples. With random numbers each is augmented, by a function of them alone.
    ///
    /// # Errors
    /// If a file cannot be read. The message names it.
    fn inputs(&self, part: Part, samples: &[usize], random: Option<&mut Random>) -> Result<Self::Inputs, String>;

    /// A score for each class, `[samples, classes]`.
    fn scores(&self, model: &Self::Model, inputs: Self::Inputs, device: &Device) -> Tensor<2>;
}

/// Seeds the device, whose random numbers all tests of the process share: the others wait until this one is done.
#[cfg(test)]
pub fn seeded(device: &Device) -> std::sync::MutexGuard<'static, ()> {
    static SEED: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = SEED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    device.seed(1);
    guard
}

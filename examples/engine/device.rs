//! What the engine asks of a device: places for tensors, a handful of kernels, and MIAdam. The GPU and the CPU each implement this
//! trait; the tape, the model and the training loop are written once, against it.

use std::error::Error;

use miadam::{Checkpoint, OnDevice, Optimizer, ParamGroup, Report};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The kernels. On the GPU each is a shader of this name, whose first lines have its equations; on the CPU, a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    Add,
    Attend,
    AttendBackward,
    AttendScores,
    CrossEntropy,
    Embed,
    EmbedBackward,
    Matmul,
    Norm,
    NormBackward,
    NormGain,
    SquareRelu,
    SquareReluBackward,
}

/// A parameter: where it lies and where its gradient does, if it has one.
pub struct Named<'a, S> {
    pub name: &'a str,
    pub param: &'a S,
    pub grad: Option<&'a S>,
}

pub trait Device: Sized {
    /// Where a tensor lies. A clone is the same place.
    type Slice: Clone;
    /// Where MIAdam keeps its state.
    type State: OnDevice;

    /// A tensor that stays, such as a parameter.
    fn keep(&mut self, values: &[f32]) -> Result<Self::Slice>;

    /// Begins a frame: what is recorded until `submit`. Its tensors last until the frame after the next begins.
    fn begin(&mut self) -> Result<()>;

    /// A place for a tensor of this frame, which may hold anything.
    fn allocate(&mut self, len: usize) -> Result<Self::Slice>;

    /// Records a kernel. Its outputs are the last of the tensors; it runs in so many threads.
    fn run(&mut self, kernel: Kernel, tensors: &[&Self::Slice], shape: [usize; 4], threads: usize) -> Result<()>;

    /// Ends the frame, and lets the device do what was recorded.
    fn submit(&mut self) -> Result<()>;

    /// Writes before anything of this frame is done.
    fn write(&mut self, tensor: &Self::Slice, values: &[f32]) -> Result<()>;

    /// Waits until all that is submitted is done. Between frames.
    fn read(&mut self, tensor: &Self::Slice) -> Result<Vec<f32>>;

    /// MIAdam over these parameters.
    fn optimizer(
        &mut self,
        groups: Vec<ParamGroup>,
        params: &[Named<'_, Self::Slice>],
    ) -> Result<Optimizer<Self::State>>;

    /// Records a step by the gradients of this frame.
    fn step(&mut self, optimizer: &mut Optimizer<Self::State>, params: &[Named<'_, Self::Slice>]) -> Result<()>;

    /// Waits for the optimizer's numbers. Between frames, as the next two.
    fn report(&mut self, optimizer: &Optimizer<Self::State>) -> Result<Report>;

    /// All of the optimizer, and the parameters.
    fn checkpoint(
        &mut self,
        optimizer: &Optimizer<Self::State>,
        params: &[Named<'_, Self::Slice>],
    ) -> Result<Checkpoint>;

    /// Puts the optimizer and the parameters where the checkpoint is.
    fn restore(
        &mut self,
        optimizer: &mut Optimizer<Self::State>,
        params: &[Named<'_, Self::Slice>],
        checkpoint: &Checkpoint,
    ) -> Result<()>;

    /// Whether the device is lost: then whatever fails, fails for this reason.
    fn is_lost(&self) -> bool {
        false
    }

    /// Loses the device by hand, where one can be lost.
    fn lose(&mut self) {}

    /// A tensor of this frame that holds these values.
    fn upload(&mut self, values: &[f32]) -> Result<Self::Slice> {
        let tensor = self.allocate(values.len())?;
        self.write(&tensor, values)?;
        Ok(tensor)
    }
}

//! Many starts at once: all their coordinates are one parameter, so that one optimizer step moves them all.
//!
//! Adam and MIAdam treat each element alone, so that the starts do not know of each other.

mod on_cpu;
mod on_gpu;

use std::error::Error;

use miadam_support::gpu::Gpu;

use super::contenders::Contender;
use super::landscapes::{Landscape, Point};

pub use on_cpu::OnCpu;
pub use on_gpu::Kernel;

/// One landscape, one optimizer, many starts.
pub struct Run<'a> {
    pub landscape: Landscape,
    pub contender: &'a Contender,
    pub starts: &'a [Point],
    /// The steps, in order, after which the places are wanted. The run ends with the last one.
    pub watched: &'a [u32],
}

/// Where a swarm moves.
pub enum Place {
    Cpu,
    Gpu(Box<Kernel>),
}

impl Place {
    /// # Errors
    /// If the device refuses the gradient's kernel.
    pub fn new(gpu: Option<Gpu>) -> Result<Self, Box<dyn Error>> {
        Ok(match gpu {
            Some(gpu) => Self::Gpu(Box::new(Kernel::new(gpu)?)),
            None => Self::Cpu,
        })
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => "CPU".to_owned(),
            Self::Gpu(kernel) => kernel.name().to_owned(),
        }
    }

    /// The places of all starts after each of the watched steps.
    ///
    /// # Errors
    /// If the optimizer refuses the hyperparameters, or if the device fails.
    pub fn run(&self, run: &Run<'_>) -> Result<Vec<Vec<Point>>, Box<dyn Error>> {
        match self {
            Self::Cpu => on_cpu::run(run),
            Self::Gpu(kernel) => kernel.run(run),
        }
    }
}

/// A square grid of starts: `side` times `side` places, each in the middle of its cell.
pub fn grid(landscape: Landscape, side: usize) -> Vec<Point> {
    let place = |cell: usize| ((2 * cell + 1) as f64 / side as f64 - 1.0) * landscape.half_width();
    (0..side).flat_map(|row| (0..side).map(move |column| [place(column), place(row)])).collect()
}

fn coordinates(points: &[Point]) -> Vec<f32> {
    points.as_flattened().iter().map(|&value| value as f32).collect()
}

fn points(coordinates: &[f32]) -> Vec<Point> {
    coordinates.as_chunks::<2>().0.iter().map(|pair| pair.map(f64::from)).collect()
}

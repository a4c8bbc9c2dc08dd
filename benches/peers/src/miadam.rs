//! The crate itself.

use crate::cases::Case;
use crate::runner::{Entry, Runner, timed};
use crate::steppers::cpu::Cpu;
use crate::steppers::gpu::{Gpu, GpuStepper};

pub fn cpu(case: &Case) -> Entry<'static> {
    Ok(Box::new(Cpu::new(case).map_err(|error| error.to_string())?))
}

pub fn gpu<'a>(gpu: &'a Gpu, case: &Case) -> Entry<'a> {
    Ok(Box::new(GpuStepper::new(gpu, case)?))
}

impl Runner for Cpu {
    fn step(&mut self) -> Result<f64, String> {
        timed(|| Self::step(self))
    }

    fn ends(&mut self) -> Result<Vec<f32>, String> {
        Ok(Self::ends(self))
    }
}

impl Runner for GpuStepper<'_> {
    fn step(&mut self) -> Result<f64, String> {
        timed(|| Self::step(self))
    }

    fn ends(&mut self) -> Result<Vec<f32>, String> {
        Self::ends(self)
    }
}

//! The crate itself.

use miadam_support::cases::Case;
use miadam_support::gpu::Gpu;
use miadam_support::steppers::{CpuStepper, GpuStepper, Setup};

use crate::runner::{Entry, Runner, timed};

pub fn cpu(case: &Case) -> Entry<'static> {
    Ok(Box::new(CpuStepper::new(case, &Setup::plain(case)).map_err(|error| error.to_string())?))
}

pub fn gpu<'a>(gpu: &'a Gpu, case: &Case) -> Entry<'a> {
    Ok(Box::new(GpuStepper::new(gpu, case, &Setup::plain(case))?))
}

impl Runner for CpuStepper {
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

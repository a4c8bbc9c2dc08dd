//! The engine on the CPU, for a machine without a GPU: the same kernels as plain functions, which run at once, and the optimizer's CPU
//! twin. Its groups, its options and its checkpoints are those of the GPU.

mod kernels;

use std::cell::RefCell;
use std::rc::Rc;

use miadam::{Checkpoint, ParamGroup, Report, cpu};

use crate::device::{Device, Kernel, Named, Result};

/// A tensor in memory of its own. The system's allocator is the pool.
pub type Slice = Rc<RefCell<Vec<f32>>>;

pub struct CpuDevice;

impl Device for CpuDevice {
    type Slice = Slice;
    type State = cpu::Cpu;

    fn keep(&mut self, values: &[f32]) -> Result<Slice> {
        Ok(Rc::new(RefCell::new(values.to_vec())))
    }

    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn allocate(&mut self, len: usize) -> Result<Slice> {
        self.keep(&vec![0.0; len])
    }

    fn run(&mut self, kernel: Kernel, tensors: &[&Slice], shape: [usize; 4], _: usize) -> Result<()> {
        kernels::run(kernel, tensors, shape);
        Ok(())
    }

    fn submit(&mut self) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, tensor: &Slice, values: &[f32]) -> Result<()> {
        tensor.borrow_mut().copy_from_slice(values);
        Ok(())
    }

    fn read(&mut self, tensor: &Slice) -> Result<Vec<f32>> {
        Ok(tensor.borrow().clone())
    }

    fn optimizer(&mut self, groups: Vec<ParamGroup>, _: &[Named<'_, Slice>]) -> Result<cpu::MiAdam> {
        Ok(cpu::MiAdam::new(groups)?)
    }

    fn step(&mut self, optimizer: &mut cpu::MiAdam, params: &[Named<'_, Slice>]) -> Result<()> {
        // A tensor that rests is not bound.
        let bound = params.iter().filter_map(|named| Some((named.name, named.param, named.grad?)));
        let mut borrowed: Vec<_> =
            bound.map(|(name, param, grad)| (name, param.borrow_mut(), grad.borrow_mut())).collect();
        let bindings =
            borrowed.iter_mut().map(|(name, param, grad)| cpu::Binding::new(name, &mut **param, &mut **grad));
        Ok(optimizer.step(bindings)?)
    }

    fn report(&mut self, optimizer: &cpu::MiAdam) -> Result<Report> {
        Ok(optimizer.read_report())
    }

    fn checkpoint(&mut self, optimizer: &cpu::MiAdam, params: &[Named<'_, Slice>]) -> Result<Checkpoint> {
        let mut checkpoint = optimizer.read_checkpoint();
        for named in params {
            checkpoint.insert_param(named.name, &*named.param.borrow())?;
        }
        Ok(checkpoint)
    }

    fn restore(
        &mut self,
        optimizer: &mut cpu::MiAdam,
        params: &[Named<'_, Slice>],
        checkpoint: &Checkpoint,
    ) -> Result<()> {
        optimizer.load(checkpoint)?;
        for named in params {
            checkpoint.copy_param(named.name, &mut *named.param.borrow_mut())?;
        }
        optimizer.params_written();
        Ok(())
    }
}

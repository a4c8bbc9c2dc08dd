//! What the device holds, on its way to the host: copies at a point of the caller's encoder, which no step waits for.

use std::sync::atomic::Ordering;

use super::MiAdam;
use crate::checkpoint::{Header, HeaderGroup, SavedParam};
use crate::group::Param;
use crate::layout::Progress;
use crate::plan::Tensor;
use crate::readback::{self, Range, StatePlanes};
use crate::report::Report;
use crate::state::Planes;
use crate::{Checkpoint, Error, Hyperparams, Role, State};

impl MiAdam {
    /// Records copies of the numbers that a training loop logs, as they are at this point of the encoder: step, skipped
    /// steps, norm of the gradients, loss scale, and each group's learning rate and phase.
    ///
    /// The future returned resolves once the encoder is submitted and the caller polls its device; no step waits for it.
    ///
    /// # Errors
    /// As for [`read_state`](Self::read_state).
    pub fn read_report(
        &self,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<impl Future<Output = Result<Report, Error>> + use<>, Error> {
        self.memory.check_alive()?;
        let contents = readback::record(&self.memory, encoder, &self.progress_ranges())?;
        let known = self.known_step.clone();
        let (lrs, measured, adopted) = (self.lrs.clone(), self.measured, self.adopted.clone());
        let last_integrating: Vec<_> = self.groups.iter().map(Hyperparams::last_integrating).collect();
        Ok(async move {
            let contents = contents.await?;
            let progress: Progress = readback::head(&contents[0]);
            known.raise(progress.step);
            adopted.fetch_or(progress.advanced == 1, Ordering::Relaxed);
            Ok(Report::new(&progress, &readback::head(&contents[1]), measured, &lrs, last_integrating.into_iter()))
        })
    }

    /// Records copies of the step counter and the whole state as they are at this point of the encoder.
    ///
    /// The future returned resolves once the encoder is submitted and the caller polls its device.
    ///
    /// # Errors
    /// If the device has no memory for the copies, or is lost. Nothing is recorded then. The future gives
    /// [`Error::ReadbackLost`] if the encoder is dropped or the device lost later.
    pub fn read_state(
        &self,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<impl Future<Output = Result<State, Error>> + use<>, Error> {
        self.memory.check_alive()?;
        let contents = readback::record(&self.memory, encoder, &self.state_ranges())?;
        let (planes, known) = (self.state_planes(), self.known_step.clone());
        Ok(async move {
            let contents = contents.await?;
            let Progress { step, .. } = readback::head(&contents[0]);
            known.raise(step);
            Ok(State { step, tensors: planes.assemble(&contents[2..]) })
        })
    }

    /// Records copies of everything that the optimizer remembers, as it is at this point of the encoder, and if
    /// `with_params` of the parameters themselves, whose buffers then need `COPY_SRC`.
    ///
    /// The future returned resolves once the encoder is submitted and the caller polls its device; the steps recorded after
    /// it go on meanwhile.
    ///
    /// # Errors
    /// As for [`read_state`](Self::read_state), and if a parameter cannot be copied.
    pub fn read_checkpoint(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        with_params: bool,
    ) -> Result<impl Future<Output = Result<Checkpoint, Error>> + use<>, Error> {
        self.memory.check_alive()?;
        let mut ranges = self.state_ranges();
        let states = ranges.len();
        let params = if with_params { &self.params[..] } else { &[] };
        for Param { name, param, .. } in params {
            if !param.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
                return Err(Error::MissingCopyUsage { name: name.clone(), role: Role::Param, usage: "COPY_SRC" });
            }
            ranges.push(Range { buffer: &param.buffer, offset: param.offset, size: param.end() - param.offset });
        }
        let contents = readback::record(&self.memory, encoder, &ranges)?;
        let params: Vec<_> =
            params.iter().map(|param| (param.name.clone(), param.param.dtype, param.param.len)).collect();
        let (planes, known) = (self.state_planes(), self.known_step.clone());
        let (recorded, measured) = (self.recorded, self.measured);
        let (gradients, groups) = (self.grad_options, self.header_groups());
        Ok(async move {
            let mut contents = contents.await?;
            let saved = contents.split_off(states);
            let progress: Progress = readback::head(&contents[0]);
            known.raise(progress.step);
            let scaler = readback::head(&contents[1]);
            let header = Header::new(&progress, &scaler, measured, recorded, gradients, groups);
            let mut checkpoint = Checkpoint::new(header, planes.assemble(&contents[2..]));
            for ((name, dtype, len), mut bytes) in params.into_iter().zip(saved) {
                bytes.truncate((len * dtype.width()) as usize);
                checkpoint.params.insert(name, SavedParam { dtype, bytes });
            }
            Ok(checkpoint)
        })
    }

    fn header_groups(&self) -> Vec<HeaderGroup> {
        let group = |(number, hyperparams): (u32, &Hyperparams)| {
            let own = self.params.iter().zip(&self.tensors).filter(|(_, tensor)| tensor.group == number);
            HeaderGroup { params: own.map(|(param, _)| param.name.clone()).collect(), hyperparams: hyperparams.clone() }
        };
        (0..).zip(&self.groups).map(group).collect()
    }

    /// The step counter with what is counted beside it, and the loss scale.
    fn progress_ranges(&self) -> Vec<Range<'_>> {
        [&self.advance.buffers.progress, &self.advance.buffers.scaler].map(Range::whole).to_vec()
    }

    /// The same and, after it, the pages of the state.
    fn state_ranges(&self) -> Vec<Range<'_>> {
        let pages = self.update.pages.iter().flat_map(|page| [&page.moments, &page.integrals]);
        self.progress_ranges().into_iter().chain(pages.map(Range::whole)).collect()
    }

    fn state_planes(&self) -> StatePlanes {
        let named = self
            .params
            .iter()
            .zip(&self.tensors)
            .map(|(param, tensor)| (param.name.clone(), self.planes(param, tensor)));
        StatePlanes { layout: self.layout.clone(), tensors: self.tensors.clone(), named: named.collect() }
    }

    /// The planes that a parameter's state has now.
    pub(super) fn planes(&self, param: &Param, tensor: &Tensor) -> Planes {
        let planes = Planes::new(&self.groups[tensor.group as usize], param.param.dtype);
        Planes { integrals: tensor.integral_planes as usize, ..planes }
    }
}

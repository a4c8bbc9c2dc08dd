//! One norm and one loss scale for several optimizers.

use super::device::{Gpu, LIVE_BUFFER};
use super::device_state::ScalerBuffers;
use super::others::{OtherGrad, Others};
use super::overlap::check_overlap;
use crate::abi::Scaler;
use crate::error::Error;
use crate::optimizer::{Optimizer, backend::Backend};

impl Optimizer<Gpu> {
    /// Lets the gradients of tensors that somebody else updates count in the steps recorded from now on: in the global norm and
    /// in the search for values that are not finite. They replace those given before; with none, only the optimizer's own
    /// count.
    ///
    /// A step reads them, and neither changes nor resets them. It reads them only if it looks at its own gradients, too: if it
    /// clips by norm, measures the norm or can be skipped. Their buffers need `BufferUsages::STORAGE`. The same gradients once
    /// more cost next to nothing, so that an engine may give them at every step.
    ///
    /// [`loss_scale`](Self::loss_scale) tells the others what to do with their gradients, and another `MiAdam` can
    /// [`follow`](Self::follow).
    ///
    /// ```
    /// use miadam::{Binding, Error, GradOptions, GradScaler, MiAdam, OtherGrad};
    ///
    /// /// `head` is trained by itself, under the norm and the loss scale of `body`. Both optimizers have their parameters.
    /// fn share(body: &mut MiAdam, head: &mut MiAdam, head_grad: &wgpu::Buffer, len: usize) -> Result<(), Error> {
    ///     let scaler = Some(GradScaler::default());
    ///     body.set_grad_options(GradOptions { clip_norm: Some(1.0), scaler, ..GradOptions::default() })?;
    ///     body.set_other_grads([OtherGrad::new(head_grad, len)])?;
    ///     head.follow(Some(body.loss_scale()))
    /// }
    ///
    /// /// The leader steps first.
    /// fn step(body: &mut MiAdam, head: &mut MiAdam, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
    ///     body.step(encoder)?;
    ///     head.step(encoder)
    /// }
    /// # use miadam::{Hyperparams, Param, ParamGroup};
    /// # fn main() -> Result<(), Error> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let usage = wgpu::BufferUsages::STORAGE;
    /// # let [w, w_grad, v, v_grad] = [0; 4].map(|_| gpu.buffer_with("test", &[0, 0, 128, 63], usage).unwrap());
    /// # let group = |name| [ParamGroup::new(Hyperparams::default(), [Param::new(name, 1)])];
    /// # let mut body = MiAdam::new(device, queue, group("w"), [Binding::new("w", &w, &w_grad)])?;
    /// # let mut head = MiAdam::new(device, queue, group("v"), [Binding::new("v", &v, &v_grad)])?;
    /// # share(&mut body, &mut head, &v_grad, 1)?;
    /// # let mut encoder = gpu.encoder();
    /// # step(&mut body, &mut head, &mut encoder)?;
    /// # let [body, head] = [body, head].map(|optimizer| optimizer.read_report(&mut encoder).unwrap());
    /// # queue.submit([encoder.finish()]);
    /// # let [body, head] = [body.wait()?, head.wait()?];
    /// # assert_eq!((body.grad_norm, head.grad_norm), (Some(2_f32.sqrt() / 65_536.0), body.grad_norm));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::OtherGrad`] if a gradient cannot be bound, or two of them overlap; and if the optimizer follows another. Nothing
    /// is changed then. Whether one overlaps a parameter or a gradient of the optimizer's is found by the next step, so that
    /// [`rebind`](Self::rebind) may come before or after.
    pub fn set_other_grads(&mut self, others: impl IntoIterator<Item = OtherGrad>) -> Result<(), Error> {
        let grads: Vec<_> = others.into_iter().collect();
        if grads == self.device.others.grads {
            return Ok(());
        }
        if self.course.follows && !grads.is_empty() {
            return Err(Error::LeadersOption { option: "set_other_grads" });
        }
        let others = Others::new(grads)?;
        check_overlap(std::iter::empty(), &others.grads)?;
        self.device.others = others;
        self.device.moved = true;
        Ok(())
    }

    /// Lets the steps recorded from now on take their verdict on the gradients from a leader: whether the step is skipped, the
    /// factor on every gradient, and the norm for the report. With `None` the optimizer judges by itself again.
    ///
    /// `leader` is the [`loss_scale`](Self::loss_scale) of another `MiAdam`, to which this one's gradients were
    /// [given](Self::set_other_grads); or a buffer that a kernel of the host's writes in that layout, of 32 bytes or more and
    /// with `BufferUsages::STORAGE`. A step only reads it. Record the leader's step before each step of its followers: a follower
    /// goes by what the buffer holds then.
    ///
    /// A follower measures nothing. Of its own [`GradOptions`](crate::GradOptions), `clip_value` and `zero` hold; the others are
    /// the leader's. While it follows, its own `loss_scale` is the leader's buffer, and its report has the leader's norm, and a
    /// loss scale of 1. A checkpoint has that the optimizer follows, but not whom: a resumed one follows once more. A checkpoint
    /// with options that are the leader's is loaded with [`own_grad_options`](crate::LoadOptions::own_grad_options).
    ///
    /// # Errors
    /// [`Error::LeadersOption`] if an option is set that is the leader's, or gradients of others are given here;
    /// [`Error::LeaderBuffer`] if the buffer cannot be bound or is the optimizer's own; and if the device is lost. Nothing is
    /// changed then.
    pub fn follow(&mut self, leader: Option<&wgpu::Buffer>) -> Result<(), Error> {
        let Self { course, device } = self;
        device.memory.check_alive()?;
        if let Some(leader) = leader {
            course.grad_options.check_follower()?;
            if !device.others.grads.is_empty() {
                return Err(Error::LeadersOption { option: "set_other_grads" });
            }
            device.check_leader(leader)?;
        }
        device.take_leader(leader)?;
        course.follows = leader.is_some();
        course.followed &= course.follows;
        device.course_changed(course);
        Ok(())
    }
}

impl Gpu {
    fn check_leader(&self, leader: &wgpu::Buffer) -> Result<(), Error> {
        let refuse = |reason| Err(Error::LeaderBuffer { reason });
        if !leader.usage().contains(wgpu::BufferUsages::STORAGE) {
            return refuse("lacks BufferUsages::STORAGE; create it with that usage".to_owned());
        }
        let (size, needed) = (leader.size(), size_of::<Scaler>());
        if size < needed as u64 {
            return refuse(format!("has {size} bytes; it needs the {needed} of `loss_scale`"));
        }
        if *leader == self.state.scaler.own {
            return refuse(
                "is the optimizer's own; give another optimizer's `loss_scale`, or do not follow".to_owned(),
            );
        }
        match self.kernels.try_buffer(&self.memory, leader) {
            Err(Error::Gpu { reason, .. }) => refuse(format!("is refused by wgpu ({reason}); {LIVE_BUFFER}")),
            other => other,
        }
    }

    /// Binds the verdict's buffer. On an error nothing has changed.
    fn take_leader(&mut self, leader: Option<&wgpu::Buffer>) -> Result<(), Error> {
        let before = self.state.scaler.clone();
        if before.leader.as_ref() == leader {
            return Ok(());
        }
        self.state.scaler = ScalerBuffers { leader: leader.cloned(), ..before.clone() };
        match self.recorded.rebound(&self.memory, &self.kernels, &self.state, None) {
            Ok(recorded) => self.recorded = recorded,
            Err(error) => {
                self.state.scaler = before;
                return Err(error);
            }
        }
        self.moved = true;
        Ok(())
    }
}

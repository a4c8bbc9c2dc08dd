//! The forms of methods for browsers, where wgpu says later whether it refuses something. Natively each does what the method does.

use super::binding::{Binding, Bound};
use super::device::Gpu;
use crate::course::{Change, Course};
use crate::error::Error;
use crate::optimizer::{Optimizer, backend::Backend};
use crate::options::{GradOptions, Hyperparams, LoadOptions};
use crate::param::{Param, ParamGroup};
use crate::state::{Checkpoint, Skipped};

impl Optimizer<Gpu> {
    /// [`new`](Self::new) for a browser.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub async fn new_async<'a>(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        groups: impl IntoIterator<Item = ParamGroup>,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<Self, Error> {
        let optimizer = Self::new(device, queue, groups, bindings)?;
        optimizer.device.memory.settle().await?;
        Ok(optimizer)
    }

    /// Plans and compiles what the next step needs, for a browser. A `step` after it is refused nothing
    /// late.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub async fn prepare_async(&mut self) -> Result<(), Error> {
        self.settle()?;
        let Self { course, device } = self;
        device.memory.check_alive()?;
        device.bind_plan(course)?;
        let settled = device.memory.settle().await;
        if settled.is_err() {
            device.forget_plan();
        }
        settled
    }

    /// [`add_group`](Self::add_group) for a browser.
    ///
    /// # Errors
    /// As for [`add_group`](Self::add_group).
    pub async fn add_group_async<'a>(
        &mut self,
        group: ParamGroup,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<usize, Error> {
        let (course, change) = self.course.with_group(group)?;
        let bound = self.bound_with(&course, &change, bindings)?;
        self.change_async(course, &change, bound).await?;
        Ok(self.course.groups.len() - 1)
    }

    /// [`add_params`](Self::add_params) for a browser.
    ///
    /// # Errors
    /// As for [`add_params`](Self::add_params).
    pub async fn add_params_async<'a>(
        &mut self,
        group: usize,
        params: impl IntoIterator<Item = Param>,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<(), Error> {
        let (course, change) = self.course.with_params(group, params.into_iter().collect(), None)?;
        let bound = self.bound_with(&course, &change, bindings)?;
        self.change_async(course, &change, bound).await
    }

    /// [`remove_params`](Self::remove_params) for a browser.
    ///
    /// # Errors
    /// As for [`remove_params`](Self::remove_params).
    pub async fn remove_params_async(&mut self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<(), Error> {
        let (course, change) = self.course.without_params(names)?;
        self.take_async(course, &change).await
    }

    /// [`set_group`](Self::set_group) for a browser.
    ///
    /// # Errors
    /// As for [`set_group`](Self::set_group).
    pub async fn set_group_async(
        &mut self,
        names: impl IntoIterator<Item: AsRef<str>>,
        group: usize,
    ) -> Result<(), Error> {
        let (course, change) = self.course.with_moved(names, group, |clock| self.device.known_clock(clock))?;
        self.take_async(course, &change).await
    }

    /// [`set_hyperparams`](Self::set_hyperparams) for a browser.
    ///
    /// # Errors
    /// As for [`set_hyperparams`](Self::set_hyperparams).
    pub async fn set_hyperparams_async(&mut self, group: usize, hyperparams: Hyperparams) -> Result<(), Error> {
        let (course, change) =
            self.course.with_hyperparams(group, hyperparams, |clock| self.device.known_clock(clock))?;
        self.take_async(course, &change).await
    }

    /// Goes on with a course that has no new parameters.
    async fn take_async(&mut self, course: Course, change: &Change) -> Result<(), Error> {
        self.course.check_averages_out()?;
        let bound = self.device.bound_after(change);
        self.change_async(course, change, bound).await
    }

    async fn change_async(&mut self, course: Course, change: &Change, bound: Vec<Bound>) -> Result<(), Error> {
        let changed = self.device.make_change(&self.course, &course, change, bound)?;
        if let Err(error) = self.device.memory.settle().await {
            self.device.forget_plan();
            return Err(error);
        }
        self.device.take_change(changed);
        self.course.replace(course);
        Ok(())
    }

    /// [`write_params`](Self::write_params) for a browser.
    ///
    /// # Errors
    /// As for [`write_params`](Self::write_params).
    pub async fn write_params_async(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.write_params(checkpoint)?;
        self.device.memory.settle().await
    }

    /// [`load`](Self::load) for a browser.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub async fn load_async(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.load_with_async(checkpoint, &LoadOptions::default()).await.map(drop)
    }

    /// [`load_with`](Self::load_with) for a browser.
    ///
    /// # Errors
    /// As for [`load_with`](Self::load_with).
    pub async fn load_with_async(
        &mut self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<Vec<Skipped>, Error> {
        let Self { course, device } = self;
        let resumed = course.resumed(checkpoint, options)?;
        let loaded = device.make_loaded(&resumed)?;
        device.memory.settle().await?;
        device.take_loaded(loaded)?;
        course.replace(resumed.course);
        device.course_changed(course);
        Ok(resumed.skipped)
    }

    /// [`release_integrals`](Self::release_integrals) for a browser.
    ///
    /// # Errors
    /// As for [`release_integrals`](Self::release_integrals).
    pub async fn release_integrals_async(&mut self) -> Result<u64, Error> {
        let Self { course, device } = self;
        course.check_releasable(|clock| device.known_clock(clock))?;
        device.memory.check_alive()?;
        let pages = device.state.pages_without_integrals(&device.memory)?;
        device.memory.settle().await?;
        let freed = device.take_pages_without_integrals(pages);
        course.release_integrals();
        device.course_changed(course);
        Ok(freed)
    }

    /// [`set_grad_options`](Self::set_grad_options) for a browser.
    ///
    /// # Errors
    /// As for [`set_grad_options`](Self::set_grad_options).
    pub async fn set_grad_options_async(&mut self, options: GradOptions) -> Result<(), Error> {
        self.set_grad_options(options)?;
        self.device.memory.settle().await
    }
}

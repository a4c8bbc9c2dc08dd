//! Averages of the weights in the parameters' place, and back, on the CPU.

use super::chunk::{CHUNK, split_off};
use super::optimizer::{Binding, Cpu};
use crate::course::Course;
use crate::error::Error;
use crate::math::half::{bf16_nearest, bf16_to_f32, f16_nearest, f16_to_f32};
use crate::math::swap::{exchange_master, exchange_packed, exchange_whole};
use crate::optimizer::Optimizer;
use crate::planes::{Bank, Plane, Planes};
use crate::values::ValuesMut;

impl Optimizer<Cpu> {
    /// Puts the averages of the weights in the parameters' place, rounded to their type. The next call puts the parameters
    /// back, to the bit. Every parameter with an average is bound, as for a step; gradients are not looked at, and may be
    /// empty. Parameters that no step has averaged yet stay as they are.
    ///
    /// While the averages are in, steps are errors, and so are calls that change parameters or groups. A
    /// [`State`](crate::State) then has θ as [`Plane::Average`](crate::Plane::Average) where it has no master copy. A
    /// checkpoint remembers that the averages are in.
    ///
    /// ```
    /// use miadam::{Average, Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let average = Average::Equal { from: 1, every: 1 };
    /// let group = ParamGroup::new(Hyperparams { average, ..Hyperparams::default() }, [Param::new("w", 1)]);
    /// let mut optimizer = cpu::MiAdam::new([group])?;
    /// let mut w = [1.0];
    /// for _ in 0..3 {
    ///     optimizer.step([cpu::Binding::new("w", &mut w, &mut [0.5])])?;
    /// }
    /// let last = w;
    /// optimizer.swap_averages([cpu::Binding::new("w", &mut w, &mut [0.0; 0])])?;
    /// assert!(w > last); // … evaluate with the mean of the three, then:
    /// optimizer.swap_averages([cpu::Binding::new("w", &mut w, &mut [0.0; 0])])?;
    /// assert_eq!(w, last);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoAverages`] if no group keeps an average; or if a parameter with an average is missing, or one is unknown or
    /// bound twice, or has another length or type than the optimizer was made with. Nothing is changed then.
    pub fn swap_averages<'a>(&mut self, bindings: impl IntoIterator<Item = Binding<'a>>) -> Result<(), Error> {
        let Self { course, device } = self;
        if course.members.iter().all(|member| !member.planes.average) {
            return Err(Error::NoAverages);
        }
        let bindings = course.sort_all_bindings(bindings, |binding| binding.name, |member| !member.planes.average)?;
        for (binding, member) in bindings.iter().zip(&course.members) {
            binding.as_ref().map_or(Ok(()), |binding| binding.check_param(&member.param))?;
        }
        device.swap_averages(course, bindings);
        course.averages_in = !course.averages_in;
        Ok(())
    }
}

impl Cpu {
    fn swap_averages(&mut self, course: &Course, bindings: Vec<Option<Binding<'_>>>) {
        let mut moments = &mut self.moments[..];
        for (member, binding) in course.members.iter().zip(bindings) {
            let planes = member.planes;
            let mut own = split_off(&mut moments, planes.bank_words(Bank::Moments, member.param.len));
            let is_averaged = planes.average && self.clocks[member.clock].averaged > 0;
            let Some(Binding { mut param, .. }) = binding.filter(|_| is_averaged) else { continue };
            for start in (0..member.param.len).step_by(CHUNK) {
                let len = CHUNK.min(member.param.len - start);
                let chunk;
                (chunk, param) = param.split_at(len);
                let moments = split_off(&mut own, planes.bank_words(Bank::Moments, len));
                exchange(chunk, moments, planes, course.averages_in);
            }
        }
    }
}

/// Swaps the elements of a chunk, whose planes these are.
fn exchange(param: ValuesMut<'_>, mut moments: &mut [f32], planes: Planes, out: bool) {
    let len = param.len();
    let [mut master, mut average]: [&mut [f32]; 2] = Default::default();
    for plane in planes.moments() {
        let values = split_off(&mut moments, planes.words(plane, len));
        match plane {
            Plane::Master => master = values,
            Plane::Average => average = values,
            _ => {}
        }
    }
    match param {
        ValuesMut::F32(param) => exchange_whole(param, average),
        ValuesMut::F16(param) => exchange_master(param, master, average, out, f16_to_f32, f16_nearest),
        ValuesMut::Bf16(param) if planes.master => {
            exchange_master(param, master, average, out, bf16_to_f32, bf16_nearest);
        }
        ValuesMut::Bf16(param) => exchange_packed(param, average, out),
    }
}

//! Averages of the weights in the parameters' place, and back, on the CPU.

use super::binding::Binding;
use super::optimizer::Cpu;
use super::slabs::pieces;
use crate::course::Course;
use crate::error::Error;
use crate::math::half::{bf16_nearest, bf16_to_f32, f16_nearest, f16_to_f32};
use crate::math::swap::{exchange_master, exchange_packed, exchange_whole};
use crate::optimizer::Optimizer;
use crate::planes::Plane;
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
        let mut params: Vec<_> = bindings.into_iter().map(|binding| binding.map(|binding| binding.param)).collect();
        for piece in pieces(&self.slabs, &course.members) {
            let member = &course.members[piece.number];
            let is_averaged = member.planes.average && self.clocks[member.clock].averaged > 0;
            let Some(param) = params[piece.number].as_mut().filter(|_| is_averaged) else { continue };
            // The average is the last plane.
            let words = |plane| if member.planes.has(plane) { piece.words(member.planes, plane) } else { 0..0 };
            let (before, average) = self.moments.split_at_mut(words(Plane::Average).start);
            let (master, average) = (&mut before[words(Plane::Master)], &mut average[..piece.within.len()]);
            exchange(param.split_off(piece.within.len()), master, average, course.averages_in);
        }
    }
}

/// Swaps elements. There are none of a master copy that the parameter does not have.
fn exchange(param: ValuesMut<'_>, master: &mut [f32], average: &mut [f32], out: bool) {
    match param {
        ValuesMut::F32(param) => exchange_whole(param, average),
        ValuesMut::F16(param) => exchange_master(param, master, average, out, f16_to_f32, f16_nearest),
        ValuesMut::Bf16(param) if !master.is_empty() => {
            exchange_master(param, master, average, out, bf16_to_f32, bf16_nearest);
        }
        ValuesMut::Bf16(param) => exchange_packed(param, average, out),
    }
}

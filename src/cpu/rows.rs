//! The twin of `shaders/gather.wgsl` and `shaders/gather_bundles.wgsl`: the state of the rows that parameters go on with.

use rayon::prelude::*;

use super::optimizer::{Cpu, zeros_of};
use super::slabs::pieces_of;
use crate::abi::{FRESH_ROW, NO_AVERAGE};
use crate::error::Error;
use crate::math::packed::{pack, unpack};
use crate::optimizer::Optimizer;
use crate::param::Member;
use crate::planes::Plane;

/// Elements that one task gathers, or more if a row has more.
const GATHERED: usize = 16_384;

impl Optimizer<Cpu> {
    /// Goes on with other rows of parameters, after they have been split, pruned, duplicated or put in another order. Row i has
    /// the state of row `rows[i]` before, or starts at 0 if that is [`FRESH_ROW`].
    ///
    /// Each of the parameters has `before` rows of equal width now, and `rows.len()` rows from the next step on. All of its state
    /// follows: moments, integrals, master copy and average. The parameter itself is the caller's: gather it alike, and
    /// give fresh rows a value. Its count of steps stays, so that fresh rows have no bias correction of their own. The average of
    /// a fresh row starts with its first averaging, and is NaN before.
    ///
    /// ```
    /// use miadam::{FRESH_ROW, Hyperparams, Param, ParamGroup, Plane, cpu};
    ///
    /// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("points", 3 * 2)])])?;
    /// let mut points = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]];
    /// optimizer.step([cpu::Binding::new("points", points.as_flattened_mut(), &mut [1.0, 1.0, 2.0, 2.0, 3.0, 3.0])])?;
    /// // The first point is pruned, the last one is split, and one is new.
    /// optimizer.remap(["points"], 3, &[1, 2, 2, FRESH_ROW])?;
    /// let state = optimizer.read_state();
    /// let means: Vec<_> = state.params[0].plane(Plane::FirstMoment).unwrap().iter().map(|m| (m * 10.0).round()).collect();
    /// assert_eq!(means, [2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 0.0, 0.0]);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no parameter of such a name, or one is named twice; if its length is no multiple of `before`; for a row that
    /// is not there; and for memory that is not to be had. Nothing is changed then.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn remap(
        &mut self,
        names: impl IntoIterator<Item: AsRef<str>>,
        before: usize,
        rows: &[u32],
    ) -> Result<(), Error> {
        self.course.check_averages_out()?;
        let numbers = self.course.find(names)?;
        for (index, &row) in rows.iter().enumerate() {
            if row != FRESH_ROW && row as usize >= before {
                return Err(Error::RowOutOfRange { index, row, rows: before });
            }
        }
        let (course, change, widths) = self.course.with_rows(&numbers, before, rows.len())?;
        let gather = |(&number, width)| Ok((number, self.device.gather(&self.course.members, number, width, rows)?));
        let gathered: Vec<_> = numbers.iter().zip(widths).map(gather).collect::<Result<_, Error>>()?;
        self.device.take_change(&self.course, &course, &change)?;
        for (number, planes) in gathered {
            self.device.put(&course.members, number, &planes);
        }
        self.course.replace(course);
        Ok(())
    }
}

impl Cpu {
    /// The rows of all planes of a parameter, plane after plane.
    fn gather(&self, members: &[Member], number: usize, width: usize, rows: &[u32]) -> Result<Vec<Vec<f32>>, Error> {
        let member = &members[number];
        let mut gathered = Vec::new();
        for plane in member.planes.iter() {
            let bank = [&self.moments, &self.integrals][plane.bank() as usize];
            let mut values = zeros_of(member.param.len as u128)?;
            for piece in pieces_of(&self.slabs, members, number) {
                let source = &bank[piece.words(member.planes, plane)];
                unpack(member.planes.precision_of(plane), plane.is_signed(), source, &mut values[piece.within]);
            }
            let fresh = f32::from_bits(if plane == Plane::Average { NO_AVERAGE } else { 0 });
            gathered.push(take_rows(&values, width, rows, fresh)?);
        }
        Ok(gathered)
    }

    /// Puts the values of all planes of a parameter where they belong.
    fn put(&mut self, members: &[Member], number: usize, planes: &[Vec<f32>]) {
        let member = &members[number];
        for (plane, values) in member.planes.iter().zip(planes) {
            let bank = &mut [&mut self.moments, &mut self.integrals][plane.bank() as usize];
            for piece in pieces_of(&self.slabs, members, number) {
                let target = &mut bank[piece.words(member.planes, plane)];
                pack(member.planes.precision_of(plane), plane.is_signed(), &values[piece.within], target);
            }
        }
    }
}

/// The rows of a plane, on all cores.
fn take_rows(plane: &[f32], width: usize, rows: &[u32], fresh: f32) -> Result<Vec<f32>, Error> {
    let mut gathered = zeros_of(rows.len() as u128 * width as u128)?;
    let each = (GATHERED / width.max(1)).max(1);
    let parts = gathered.par_chunks_mut((width * each).max(1)).zip(rows.par_chunks(each));
    parts.for_each(|(gathered, rows)| {
        for (target, &row) in gathered.chunks_exact_mut(width).zip(rows) {
            if row == FRESH_ROW {
                target.fill(fresh);
            } else {
                target.copy_from_slice(&plane[row as usize * width..][..width]);
            }
        }
    });
    Ok(gathered)
}

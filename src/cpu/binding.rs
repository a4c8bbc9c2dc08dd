//! The binding of a parameter: it says where the parameter and its gradient lie in host memory.

use crate::error::{Error, Role};
use crate::param::Param;
use crate::values::ValuesMut;

/// A parameter and its gradient in host memory, for one step. The parameter is named, so that bindings may come in any
/// order; the order of the groups is the fastest.
///
/// Slices, vectors and arrays of `f32`, [`half::f16`](https://docs.rs/half) and `half::bf16` can be bound.
#[derive(Debug, PartialEq)]
pub struct Binding<'a> {
    /// The name of the [`Param`].
    pub name: &'a str,
    /// θ, updated in place: as long as the [`Param`] says, and of its type.
    pub param: ValuesMut<'a>,
    /// g, as long as the parameter, of any type. A step writes it only if [`GradOptions::zero`](crate::GradOptions::zero) is
    /// set.
    pub grad: ValuesMut<'a>,
}

impl<'a> Binding<'a> {
    /// The parameter `name` in `param`, with its gradient in `grad`.
    #[must_use]
    pub fn new(name: &'a str, param: impl Into<ValuesMut<'a>>, grad: impl Into<ValuesMut<'a>>) -> Self {
        Self { name, param: param.into(), grad: grad.into() }
    }

    /// Takes the first `len` elements off.
    pub(super) fn split_off(&mut self, len: usize) -> Self {
        Self { name: self.name, param: self.param.split_off(len), grad: self.grad.split_off(len) }
    }

    pub(super) fn check(&self, param: &Param) -> Result<(), Error> {
        self.check_param(param)?;
        self.check_len(Role::Grad, param)
    }

    fn check_len(&self, role: Role, param: &Param) -> Result<(), Error> {
        let values = if role == Role::Param { &self.param } else { &self.grad };
        let (expected, found) = (param.len as u64, values.len() as u64);
        if found == expected {
            Ok(())
        } else {
            Err(Error::LengthMismatch { name: param.name.clone(), role, expected, found })
        }
    }

    /// All checks but those of the gradient.
    pub(super) fn check_param(&self, param: &Param) -> Result<(), Error> {
        self.check_len(Role::Param, param)?;
        if self.param.dtype() != param.dtype {
            let (name, role) = (param.name.clone(), Role::Param);
            return Err(Error::DtypeMismatch { name, role, expected: param.dtype, found: self.param.dtype() });
        }
        Ok(())
    }
}

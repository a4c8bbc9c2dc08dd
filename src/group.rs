use std::fmt;

use crate::{Error, Hyperparams};

/// A contiguous `f32` tensor inside a buffer of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The buffer, with `BufferUsages::STORAGE`.
    pub buffer: wgpu::Buffer,
    /// First byte, a multiple of 4.
    pub offset: u64,
    /// Length in elements, 0 included.
    pub len: u64,
}

impl Slice {
    /// `len` elements of `buffer` from byte `offset` on.
    #[must_use]
    pub fn new(buffer: &wgpu::Buffer, offset: u64, len: u64) -> Self {
        Self { buffer: buffer.clone(), offset, len }
    }

    /// All of `buffer`.
    #[must_use]
    pub fn whole(buffer: &wgpu::Buffer) -> Self {
        Self::new(buffer, 0, buffer.size() / 4)
    }
}

/// Which of a parameter's two slices is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The parameter itself, read and written.
    Param,
    /// Its gradient, read.
    Grad,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Param => "parameter",
            Self::Grad => "gradient",
        })
    }
}

/// A parameter tensor, its gradient, and the name that its state goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Unique, not empty.
    pub name: String,
    /// θ: updated in place.
    pub param: Slice,
    /// g: as long as `param`, never written.
    pub grad: Slice,
}

impl Param {
    /// The two slices must have one length and share no byte with each other or any other slice.
    #[must_use]
    pub fn new(name: impl Into<String>, param: Slice, grad: Slice) -> Self {
        Self { name: name.into(), param, grad }
    }

    /// All that can be checked of a parameter by itself.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        validate_slices(&self.name, &self.param, &self.grad)
    }
}

pub(crate) fn validate_slices(name: &str, param: &Slice, grad: &Slice) -> Result<(), Error> {
    let name = || name.to_owned();
    for (role, slice) in [(Role::Param, param), (Role::Grad, grad)] {
        let &Slice { ref buffer, offset, len } = slice;
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::MissingStorageUsage { name: name(), role });
        }
        if !offset.is_multiple_of(4) {
            return Err(Error::Misaligned { name: name(), role, offset });
        }
        let end = len.checked_mul(4).and_then(|bytes| bytes.checked_add(offset));
        if end.is_none_or(|end| end > buffer.size()) {
            return Err(Error::OutOfBounds { name: name(), role, offset, len, size: buffer.size() });
        }
    }
    if grad.len != param.len {
        return Err(Error::LengthMismatch { name: name(), role: Role::Grad, expected: param.len, found: grad.len });
    }
    Ok(())
}

/// Parameters that share hyperparameters. `P` is [`Param`] on the GPU and
/// [`cpu::Param`](crate::cpu::Param) on the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamGroup<P = Param> {
    /// How they are updated.
    pub hyperparams: Hyperparams,
    /// The parameters, any number of them.
    pub params: Vec<P>,
}

impl<P> ParamGroup<P> {
    /// A group of `params` under `hyperparams`.
    #[must_use]
    pub fn new(hyperparams: Hyperparams, params: impl IntoIterator<Item = P>) -> Self {
        Self { hyperparams, params: params.into_iter().collect() }
    }
}

/// A parameter's name, for checks that GPU and CPU share.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

impl Named for Param {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Checks what does not depend on where the parameters live, and warns about outsize steps.
pub(crate) fn validate<P: Named>(groups: &[ParamGroup<P>]) -> Result<(), Error> {
    let mut names = std::collections::HashSet::new();
    for (group, ParamGroup { hyperparams, params }) in groups.iter().enumerate() {
        hyperparams.validate(group)?;
        for (index, param) in params.iter().enumerate() {
            if param.name().is_empty() {
                return Err(Error::EmptyName { group, index });
            }
            if !names.insert(param.name()) {
                return Err(Error::DuplicateName { name: param.name().to_owned() });
            }
        }
    }
    for (group, ParamGroup { hyperparams, .. }) in groups.iter().enumerate() {
        hyperparams.report(group);
    }
    Ok(())
}

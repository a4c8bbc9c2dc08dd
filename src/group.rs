use std::fmt;

use crate::layout::QUAD;
use crate::state::Planes;
use crate::{Dtype, Error, HalfParams, Hyperparams, cpu};

/// A contiguous tensor inside a buffer of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The buffer, with `BufferUsages::STORAGE`.
    pub buffer: wgpu::Buffer,
    /// First byte, a multiple of 4.
    pub offset: u64,
    /// Length in elements, 0 included.
    pub len: u64,
    /// What the elements are. Those of half precision lie side by side, two in 4 bytes; of an odd number, the last has
    /// the lower half of 4 bytes of its own, whose upper half is kept.
    pub dtype: Dtype,
}

impl Slice {
    /// `len` elements of `f32` in `buffer` from byte `offset` on.
    #[must_use]
    pub fn new(buffer: &wgpu::Buffer, offset: u64, len: u64) -> Self {
        Self { buffer: buffer.clone(), offset, len, dtype: Dtype::F32 }
    }

    /// All of `buffer`, in `f32`.
    #[must_use]
    pub fn whole(buffer: &wgpu::Buffer) -> Self {
        Self::new(buffer, 0, buffer.size() / 4)
    }

    /// As many elements of another type, from the same byte on.
    #[must_use]
    pub fn with_dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// The byte after the last, in whole 32-bit words; saturates.
    pub(crate) fn end(&self) -> u64 {
        self.dtype.bytes(self.len).and_then(|bytes| bytes.checked_add(self.offset)).unwrap_or(u64::MAX)
    }
}

/// Which of a parameter's two slices is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The parameter itself, read and written.
    Param,
    /// Its gradient, read, and written if it is to be reset.
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
    /// g: as long as `param`, of any type; written only if [`GradOptions::zero`](crate::GradOptions::zero) asks for it.
    pub grad: Slice,
}

impl Param {
    /// The two slices must have one length and share no byte with each other or any other slice.
    #[must_use]
    pub fn new(name: impl Into<String>, param: Slice, grad: Slice) -> Self {
        Self { name: name.into(), param, grad }
    }

    /// All that can be checked of a parameter by itself.
    pub(crate) fn validate(&self, half_params: HalfParams) -> Result<(), Error> {
        validate_half(&self.name, self.param.dtype, half_params)?;
        validate_slices(&self.name, &self.param, &self.grad)
    }
}

/// Stochastic rounding is for bf16: an f16 would overflow by it.
pub(crate) fn validate_half(name: &str, dtype: Dtype, half_params: HalfParams) -> Result<(), Error> {
    match half_params {
        HalfParams::Stochastic { .. } if dtype == Dtype::F16 => {
            Err(Error::StochasticRounding { name: name.to_owned() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn validate_slices(name: &str, param: &Slice, grad: &Slice) -> Result<(), Error> {
    let name = || name.to_owned();
    for (role, slice) in [(Role::Param, param), (Role::Grad, grad)] {
        let &Slice { ref buffer, offset, len, .. } = slice;
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::MissingStorageUsage { name: name(), role });
        }
        if !offset.is_multiple_of(4) {
            return Err(Error::Misaligned { name: name(), role, offset });
        }
        if slice.end() > buffer.size() {
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

impl ParamGroup<Param> {
    /// Bytes of device memory that an optimizer would need for this group's state: whole quads of every plane. Beside them
    /// it needs some kilobytes, and per tensor some hundred bytes.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let bytes = |param: &Param| {
            let planes = Planes::new(&self.hyperparams, param.param.dtype);
            let quads = param.param.len.div_ceil(QUAD);
            (planes.moments() as u64 + planes.integrals as u64).saturating_mul(quads.saturating_mul(4 * QUAD))
        };
        self.params.iter().map(bytes).fold(0, u64::saturating_add)
    }
}

impl ParamGroup<cpu::Param> {
    /// Bytes of memory that an optimizer would need for this group's state.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let bytes = |param: &cpu::Param| {
            let planes = Planes::new(&self.hyperparams, param.dtype);
            (planes.moments() as u64 + planes.integrals as u64).saturating_mul((param.len as u64).saturating_mul(4))
        };
        self.params.iter().map(bytes).fold(0, u64::saturating_add)
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

//! The variants of the kernels.

use super::format::Format;
use crate::abi::UNROLLED_ORDER;
use crate::options::{Average, GradOptions, Hyperparams, WeightDecay};

/// How a kernel reaches the caller's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// By whole quads: the fast path. They are aligned to 16 bytes, or to 8 where parameter or gradient is in half precision.
    Quads,
    /// By words of 4 bytes: one `f32`, or two elements in half precision. It is for the last few elements of a tensor, and
    /// for tensors that are not aligned.
    Elements,
}

/// How the chunks of a dispatch find their windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// There is one window, with parameters and gradients.
    One,
    /// There are two windows: parameters in the first, gradients in the second.
    Two,
    /// Each chunk names its windows: its parameter's among the even ones, its gradient's among the odd ones.
    Pairs,
    /// Each chunk names its windows, among all of them.
    Many,
}

/// Whether a dispatch is one run of elements or lists many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// One run.
    Run,
    /// A table of chunks, one a workgroup.
    Table,
}

/// A variant of the update kernel, and of the measure and adopt kernels beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// How it reaches the caller's tensors.
    pub access: Access,
    /// How it finds its windows.
    pub form: Form,
    /// Whether it handles one run or many.
    pub shape: Shape,
    /// The types of the elements.
    pub format: Format,
    /// What is compiled in beyond Adam.
    pub extras: Extras,
}

/// The options that the update kernel compiles in, beyond plain Adam. A dispatch compiles in what any of its groups needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Extras {
    /// A change of the gradient: `maximize`, accumulation, loss scale, clipping.
    pub adjust: bool,
    /// A bound on the gradient's elements. Only together with `adjust`.
    pub clamp: bool,
    /// Weight decay.
    pub decay: bool,
    /// Cautious weight decay. Only together with `decay`.
    pub cautious: bool,
    /// Steps that can be skipped.
    pub skip: bool,
    /// The reset of the gradient.
    pub zero: bool,
    /// The largest second moment.
    pub amsgrad: bool,
    /// An average of the weights.
    pub average: bool,
    /// Integrals.
    pub integrals: Integrals,
}

/// The number of integrals of those groups that have any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Integrals {
    /// No group has integrals.
    #[default]
    None,
    /// All have the same number, from 1 to [`FEW`](Self::FEW). It is compiled without a loop.
    Few(u32),
    /// They have any numbers, in a loop.
    Any,
}

impl Integrals {
    /// The most that are compiled without a loop over them.
    pub const FEW: u32 = UNROLLED_ORDER;

    /// The integrals of one group of this order.
    #[must_use]
    pub fn of(order: u32) -> Self {
        match order {
            0 => Self::None,
            1..=Self::FEW => Self::Few(order),
            _ => Self::Any,
        }
    }

    /// The integrals of both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (one, Self::None) | (Self::None, one) => one,
            (one, other) if one == other => one,
            _ => Self::Any,
        }
    }
}

impl Extras {
    /// The options that one group needs.
    #[must_use]
    pub fn new(hyperparams: &Hyperparams, options: &GradOptions) -> Self {
        let decay = match hyperparams.weight_decay {
            WeightDecay::None => 0.0,
            WeightDecay::Coupled(decay) | WeightDecay::Decoupled(decay) | WeightDecay::Cautious(decay) => decay,
        };
        let decay = decay != 0.0;
        let scales = options.factor as f32 != 1.0 || options.clips_norm() || options.scaler.is_some();
        let clamp = options.clip_value.is_some_and(f64::is_finite);
        Self {
            adjust: hyperparams.maximize || scales || clamp,
            clamp,
            decay,
            cautious: decay && matches!(hyperparams.weight_decay, WeightDecay::Cautious(_)),
            skip: options.skips(),
            zero: options.zero,
            amsgrad: hyperparams.amsgrad,
            average: hyperparams.average != Average::None,
            integrals: Integrals::of(hyperparams.order),
        }
    }

    /// The options that either needs.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            adjust: self.adjust || other.adjust,
            clamp: self.clamp || other.clamp,
            decay: self.decay || other.decay,
            cautious: self.cautious || other.cautious,
            skip: self.skip || other.skip,
            zero: self.zero || other.zero,
            amsgrad: self.amsgrad || other.amsgrad,
            average: self.average || other.average,
            integrals: self.integrals.union(other.integrals),
        }
    }
}

use super::{Access, Format};
use crate::{GradOptions, Hyperparams, WeightDecay};

/// How a dispatch's chunks find their windows: a variant of the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Parameters and gradients in one window.
    One,
    /// Parameters in the first, gradients in the second.
    Two,
    /// Each chunk names its two: its parameter's among the even windows, its gradient's among the odd ones.
    Pairs,
    /// Each chunk names its two, of all windows.
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

/// A variant of the update kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// How it reaches the caller's tensors.
    pub access: Access,
    /// How it finds its windows.
    pub form: Form,
    /// Whether it handles one run or many.
    pub shape: Shape,
    /// How the elements lie.
    pub format: Format,
    /// What is compiled in beyond Adam.
    pub extras: Extras,
}

/// What a group asks beyond Adam, with what all gradients are asked, or several groups together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Extras {
    /// Weight decay, or a factor on the gradient: the sign of `maximize`, accumulation, loss scale, clipping.
    pub adjust: bool,
    /// A bound of the gradient's elements; only beside `adjust`.
    pub clamp: bool,
    /// Steps that are left out.
    pub skip: bool,
    /// The gradient's reset.
    pub zero: bool,
    /// The largest second moment.
    pub amsgrad: bool,
    /// Integrals.
    pub integrals: Integrals,
}

/// How many integrals the groups have that have any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Integrals {
    /// None has any.
    #[default]
    None,
    /// 1 to [`FEW`](Self::FEW), all alike: compiled without a loop, which costs a software driver a twentieth of the step.
    Few(u32),
    /// Any numbers.
    Any,
}

impl Integrals {
    /// The most that are compiled without a loop over them.
    pub const FEW: u32 = 3;

    /// What a group of this order has.
    #[must_use]
    pub fn of(order: u32) -> Self {
        match order {
            0 => Self::None,
            1..=Self::FEW => Self::Few(order),
            _ => Self::Any,
        }
    }

    /// What either has.
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
    /// What a group with these hyperparameters asks under these options.
    #[must_use]
    pub fn new(hyperparams: &Hyperparams, options: &GradOptions) -> Self {
        let decays = hyperparams.weight_decay != WeightDecay::None;
        let clamp = options.clip_value.is_some();
        Self {
            adjust: hyperparams.maximize || decays || options.scales() || clamp,
            clamp,
            skip: options.skips(),
            zero: options.zero,
            amsgrad: hyperparams.amsgrad,
            integrals: Integrals::of(hyperparams.order),
        }
    }

    /// What either asks.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            adjust: self.adjust || other.adjust,
            clamp: self.clamp || other.clamp,
            skip: self.skip || other.skip,
            zero: self.zero || other.zero,
            amsgrad: self.amsgrad || other.amsgrad,
            integrals: self.integrals.union(other.integrals),
        }
    }
}

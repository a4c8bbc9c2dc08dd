//! Every kernel that the crate can hand to a device.
//!
//! An update kernel is a *host*, which says how it reaches the caller's tensors, with types and options. The host decides the
//! source's text, and types and options are the values of overrides. All hosts with all types and options would be 345,600
//! kernels. No text that a host chooses mentions an option (a test sees to it), so that [`all`] takes every set of options
//! with all types, each on one host. A kernel that has no options is taken on every host.

use std::collections::HashSet;
use std::fmt;

use miadam::abi;
use miadam::plan::{Access, Extras, Form, Format, Integrals, Kernel, Limits, Shape};
use miadam::shader::{self, Judgement, Shader, Unit};
use miadam::{Dtype, HalfParams, Rounding, StatePrecision};

/// One kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Advance(Judgement),
    Move,
    Gather(Unit),
    Update(Kernel, usize),
    Measure(Kernel, usize),
    Adopt(Kernel, usize),
    Swap { kernel: Kernel, windows: usize, out: bool, words: usize },
}

impl Variant {
    pub fn shader(self) -> Shader {
        match self {
            Self::Advance(judgement) => shader::advance(judgement),
            Self::Move => shader::moves(),
            Self::Gather(unit) => shader::gather(unit),
            Self::Update(kernel, windows) => shader::update(kernel, windows),
            Self::Measure(kernel, windows) => shader::measure(kernel, windows),
            Self::Adopt(kernel, windows) => shader::adopt(kernel, windows),
            Self::Swap { kernel, windows, out, words } => shader::swap(kernel, windows, out, words),
        }
    }

    /// The kernel without its options, and its windows, where it has any.
    pub fn host(self) -> Option<(Kernel, usize)> {
        match self {
            Self::Advance(_) | Self::Move | Self::Gather(_) => None,
            Self::Update(kernel, windows)
            | Self::Measure(kernel, windows)
            | Self::Adopt(kernel, windows)
            | Self::Swap { kernel, windows, .. } => Some((Kernel { extras: Extras::default(), ..kernel }, windows)),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advance(judgement) => write!(f, "advance, {judgement:?}"),
            Self::Move => write!(f, "move"),
            Self::Gather(unit) => write!(f, "gather, {unit:?}"),
            Self::Update(kernel, windows) => write!(f, "update {kernel:?} over {windows}"),
            Self::Measure(kernel, windows) => write!(f, "measure {kernel:?} over {windows}"),
            Self::Adopt(kernel, windows) => write!(f, "adopt {kernel:?} over {windows}"),
            Self::Swap { kernel, windows, out, words } => {
                write!(f, "swap {kernel:?} over {windows}, out {out}, {words} words")
            }
        }
    }
}

/// The windows that kernels of many have: as the device's limits allow, from the least to the most that the planner takes.
pub fn window_counts() -> impl Iterator<Item = usize> {
    // The kernel with the most bindings of its own.
    let least = abi::advance::CLOCKS + 1 - abi::update::WINDOWS;
    least as usize..=Limits::MAX_WINDOWS
}

/// All hosts, as kernels in `f32` without options, each with its windows.
pub fn hosts() -> Vec<(Kernel, usize)> {
    let few = [(Form::One, 1), (Form::Two, 2)].into_iter();
    let many = window_counts().flat_map(|windows| [(Form::Pairs, windows), (Form::Many, windows)]);
    let forms: Vec<_> = few.chain(many).collect();
    let kernel =
        |access, shape, form| Kernel { access, shape, form, format: Format::default(), extras: Extras::default() };
    let mut hosts = Vec::new();
    for access in [Access::Quads, Access::Elements] {
        for shape in [Shape::Run, Shape::Table] {
            hosts.extend(forms.iter().map(|&(form, windows)| (kernel(access, shape, form), windows)));
        }
    }
    hosts
}

/// The hosts of update kernels of these types: where state is kept in fewer bits, no dispatch reaches for more than two windows.
pub fn hosts_of(format: Format) -> Vec<(Kernel, usize)> {
    let is_own = |host: &Kernel| format.state == StatePrecision::F32 || matches!(host.form, Form::One | Form::Two);
    hosts().into_iter().filter(|(host, _)| is_own(host)).collect()
}

/// The types of parameters and gradients, and the precisions of state.
pub fn formats() -> Vec<Format> {
    use Dtype::{Bf16, F16, F32};
    let dtypes = [F32, F16, Bf16];
    let pairs = dtypes.into_iter().flat_map(|param| dtypes.map(|grad| (param, grad, HalfParams::Master)));
    let stochastic = dtypes.map(|grad| (Bf16, grad, HalfParams::Stochastic { seed: 0 }));
    let types: Vec<_> = pairs.chain(stochastic).collect();
    let precisions = [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8];
    let of = |state| move |&(param, grad, half_params)| Format::new(param, grad, half_params, state);
    precisions.into_iter().flat_map(|state| types.iter().map(of(state)).collect::<Vec<_>>()).collect()
}

/// Every set of options.
pub fn options() -> Vec<Extras> {
    let mut options = Vec::new();
    let integrals: Vec<_> = (0..=Integrals::FEW + 1).map(Integrals::of).collect();
    for bits in 0..1 << 8 {
        let [adjust, clamp, decay, cautious, skip, zero, amsgrad, average] =
            std::array::from_fn(|bit| bits >> bit & 1 == 1);
        if (clamp && !adjust) || (cautious && !decay) {
            continue;
        }
        options.extend(integrals.iter().map(|&integrals| Extras {
            adjust,
            clamp,
            decay,
            cautious,
            skip,
            zero,
            amsgrad,
            average,
            integrals,
        }));
    }
    options
}

/// Whether swaps have such a kernel: a parameter takes its gradient's place in their plans.
pub fn swaps(kernel: Kernel) -> bool {
    kernel.format.param == kernel.format.grad && matches!(kernel.form, Form::One | Form::Many)
}

/// State in fewer bits meets every so many-th set of options, by turns of the twelve pairs of types: what reads and writes it is a file of
/// its own, which no option changes.
const PACKED_STEP: usize = 12;

/// The sets of options that the update kernels of a format, by its number, are taken with.
pub fn options_of(number: usize, format: Format) -> Vec<Extras> {
    match format.state {
        StatePrecision::F32 => options(),
        _ => options().into_iter().skip(number % PACKED_STEP).step_by(PACKED_STEP).collect(),
    }
}

/// Every kernel, with every set of options on one host.
pub fn all() -> Vec<Variant> {
    let hosts = hosts();
    let mut all = Judgement::ALL.map(Variant::Advance).to_vec();
    all.push(Variant::Move);
    all.extend([Unit::Word, Unit::Quad].map(Variant::Gather));
    let precisions = [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8];
    let pairs = precisions.into_iter().flat_map(|before| precisions.map(|after| Unit::Bundle { before, after }));
    all.extend(pairs.map(Variant::Gather));
    for (own, format) in formats().into_iter().enumerate() {
        // The other kernels do not look at the moments.
        let others = if format.state == StatePrecision::F32 { &hosts[..] } else { &[] };
        for (number, &(host, windows)) in others.iter().enumerate() {
            let kernel = Kernel { format, ..host };
            all.push(Variant::Measure(kernel, windows));
            if format.rounding == Rounding::Master {
                all.push(Variant::Adopt(kernel, windows));
            }
            if swaps(kernel) {
                // A clock has four words for each order, and eight.
                let words = 8 + 4 * (number % 4);
                all.extend([false, true].map(|out| Variant::Swap { kernel, windows, out, words }));
            }
        }
        let hosts = hosts_of(format);
        for extras in options_of(own, format) {
            // Mixed up, so that neither types nor options keep step with the hosts.
            let number = (all.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let (host, windows) = hosts[number as usize % hosts.len()];
            all.push(Variant::Update(Kernel { format, extras, ..host }, windows));
        }
    }
    all
}

/// A part of them that is translated in seconds: one of each kind, host and types. So it has every text, and its sets of
/// options go by turns.
pub fn sample() -> Vec<Variant> {
    let mut known = HashSet::new();
    let is_new = |variant: &Variant| match variant.host() {
        Some(host) => known.insert((std::mem::discriminant(variant), host)),
        None => true,
    };
    all().into_iter().filter(is_new).collect()
}

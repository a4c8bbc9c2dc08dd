//! What the bytes of the fuzzer mean: limits, tensors, and where these lie.

use arbitrary::Arbitrary;
use miadam::plan::{Extras, Format, Integrals, Limits, Place, Placement, Tensor};
use miadam::{Dtype, HalfParams, Rounding, wgpu};

const QUAD: u64 = 4;
/// Most elements of a tensor.
const MAX_LEN: u64 = 1 << 18;
/// Most quads of the state of a tensor: some pages and bindings of the smallest that devices have.
const MAX_STATE: u64 = 1 << 17;

#[derive(Debug, Arbitrary)]
pub struct Input {
    limits: AnyLimits,
    planes: [(u8, Small); 3],
    grads_last: bool,
    tensors: Vec<AnyTensor>,
}

/// A number of any magnitude.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Small {
    bits: u32,
    shift: u8,
}

impl Small {
    fn get(self) -> u64 {
        (self.bits >> (self.shift % 32)).into()
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct AnyLimits {
    tiny: bool,
    binding: Small,
    buffer: Small,
    windows: [u8; 2],
    workgroups: u16,
    alignment: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct AnyTensor {
    group: u8,
    rests: bool,
    len: Small,
    format: u8,
    extras: u8,
    first: [AnyPlace; 2],
    /// Where it moves, if it does.
    then: Option<[AnyPlace; 2]>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct AnyPlace {
    buffer: u8,
    /// Words after what lies there before, or the next whole quad.
    gap: Option<Small>,
}

/// What a planner is given.
#[derive(Debug)]
pub struct Case {
    pub limits: Limits,
    pub tensors: Vec<Tensor>,
    pub bindings: Vec<Placement>,
    /// The same tensors, some of them elsewhere.
    pub moved: Vec<Placement>,
}

impl Input {
    /// None if no device has such limits.
    pub fn case(&self) -> Option<Case> {
        let limits = self.limits.get()?;
        let tensors: Vec<_> = (1..).zip(&self.tensors).take(24).map(|(n, any)| self.tensor(any, n, &limits)).collect();
        let mut ends = [0; 8];
        let first = self.tensors.iter().map(|any| Some(any.first));
        let bindings: Vec<_> = self.place(&tensors, first, &mut ends).into_iter().flatten().collect();
        let moved = self.place(&tensors, self.tensors.iter().map(|any| any.then), &mut ends);
        let moved = moved.into_iter().zip(&bindings).map(|(moved, &binding)| moved.unwrap_or(binding)).collect();
        Some(Case { limits, tensors, bindings, moved })
    }

    fn tensor(&self, any: &AnyTensor, number: u32, limits: &Limits) -> Tensor {
        let group = any.group % 3;
        let (moment_planes, integral_planes) = self.planes[usize::from(group)];
        let (moment_planes, integral_planes) = (2 + u64::from(moment_planes % 3), integral_planes.get());
        let planes = moment_planes + integral_planes;
        // Tiny pages hold little, and many planes are many things to check.
        let quads = if limits.binding < 1 << 16 { 1 << 14 } else { MAX_STATE };
        let quads = if planes > 16 { quads.min(1 << 9) } else { quads };
        let len = any.len.get().min(MAX_LEN).min(QUAD * quads / planes);
        let format = format(any.format);
        let stream = if format.rounding == Rounding::Stochastic { number } else { 0 };
        let bit = |n: u8| any.extras >> n & 1 == 1;
        let integrals = Integrals::of((any.extras >> 5).into());
        let [adjust, clamp, skip, zero, amsgrad] = [0, 1, 2, 3, 4].map(bit);
        // A switch like any other: with a bit of its own there would be none for the integrals' order.
        let decay = adjust != clamp;
        let extras = Extras { adjust, clamp, decay, skip, zero, amsgrad, integrals, ..Extras::default() };
        Tensor { clock: group.into(), rests: any.rests, len, moment_planes, integral_planes, format, stream, extras, ..Tensor::default() }
    }

    /// Every tensor that has a place, behind all that was placed before.
    fn place(
        &self,
        tensors: &[Tensor],
        places: impl Iterator<Item = Option<[AnyPlace; 2]>>,
        ends: &mut [u64; 8],
    ) -> Vec<Option<Placement>> {
        let mut put = |len: u64, dtype: Dtype, place: AnyPlace, from: usize| {
            let buffer = usize::from(place.buffer % 4) + from;
            let start = place.gap.map_or(ends[buffer].next_multiple_of(QUAD), |gap| ends[buffer] + gap.get());
            ends[buffer] = start + (dtype.width() * len).div_ceil(4);
            Place { buffer, offset: 4 * start }
        };
        let pairs: Vec<_> = tensors.iter().zip(places).collect();
        if self.grads_last {
            let params: Vec<_> = pairs
                .iter()
                .map(|(tensor, places)| places.map(|[param, _]| put(tensor.len, tensor.format.param, param, 0)))
                .collect();
            let grads = pairs
                .iter()
                .map(|(tensor, places)| places.map(|[_, grad]| put(tensor.len, tensor.format.grad, grad, 4)));
            return params.into_iter().zip(grads).map(|(p, g)| Some(Placement { param: p?, grad: g? })).collect();
        }
        let binding = |(tensor, places): &(&Tensor, Option<[AnyPlace; 2]>)| {
            let [param, grad] = (*places)?;
            let param = put(tensor.len, tensor.format.param, param, 0);
            Some(Placement { param, grad: put(tensor.len, tensor.format.grad, grad, 0) })
        };
        pairs.iter().map(binding).collect()
    }
}

impl AnyLimits {
    fn get(&self) -> Option<Limits> {
        let Self { tiny, binding, buffer, windows, workgroups, alignment } = *self;
        if tiny {
            // As in the tests: so small that a few thousand elements exceed them.
            let alignment = 1 << (5 + alignment % 4);
            let bytes = |small: Small| (1 << 10) + small.get() % (31 << 10);
            return Some(Limits {
                binding: bytes(binding) / alignment * alignment,
                buffer: bytes(buffer),
                windows: 2 + usize::from(windows[0] % 5),
                workgroups: 32 + u32::from(workgroups % 8),
                alignment,
            });
        }
        miadam::plan_limits(&wgpu::Limits {
            max_storage_buffer_binding_size: 8 * binding.get(),
            max_buffer_size: 8 * buffer.get(),
            max_storage_buffers_per_shader_stage: u32::from(windows[0] % 32),
            max_bindings_per_bind_group: 4 * u32::from(windows[1]),
            max_compute_workgroups_per_dimension: workgroups.into(),
            // No device's is larger than the default of 256.
            min_storage_buffer_offset_alignment: 1 << (alignment % 9),
            ..wgpu::Limits::default()
        })
        .ok()
    }
}

fn format(byte: u8) -> Format {
    let dtype = |n: u8| [Dtype::F32, Dtype::F16, Dtype::Bf16][usize::from(n % 3)];
    let half_params =
        if (byte / 9).is_multiple_of(2) { HalfParams::Master } else { HalfParams::Stochastic { seed: 0 } };
    Format::new(dtype(byte), dtype(byte / 3), half_params)
}

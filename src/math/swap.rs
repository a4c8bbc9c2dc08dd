//! The twin of `shaders/swap.wgsl`: what its files of exchanges do to one element.

use half::bf16;

use super::adopt::adopt;
use crate::abi::NO_AVERAGE;

/// `swap/whole.wgsl`: an `f32` parameter trades places with its average, in and out.
pub(crate) fn exchange_whole(param: &mut [f32], average: &mut [f32]) {
    let averaged = param.iter_mut().zip(average).filter(|(_, average)| average.to_bits() != NO_AVERAGE);
    averaged.for_each(|(param, average)| std::mem::swap(param, average));
}

/// `swap/master.wgsl`: the master copy keeps θ. `out` says whether the parameters go back.
pub(crate) fn exchange_master<T: Copy>(
    param: &mut [T],
    master: &mut [f32],
    average: &[f32],
    out: bool,
    widen: impl Fn(T) -> f32,
    round: impl Fn(f32) -> T,
) {
    if !out {
        adopt(master, param, widen, &round);
    }
    let source = if out { &*master } else { average };
    for (param, &value) in param.iter_mut().zip(source).filter(|(_, value)| out || value.to_bits() != NO_AVERAGE) {
        *param = round(value);
    }
}

/// `swap/packed.wgsl`: a parameter without a master copy, and its average, share their bits.
pub(crate) fn exchange_packed(param: &mut [bf16], average: &mut [f32], out: bool) {
    for (param, average) in param.iter_mut().zip(average).filter(|(_, average)| average.to_bits() != NO_AVERAGE) {
        let (theta, bits) = (u32::from(param.to_bits()), average.to_bits());
        let lower = bits & 0xffff;
        let upper = if out { theta.wrapping_sub(lower >> 15) } else { theta };
        *average = f32::from_bits(upper << 16 | lower);
        let other = if out { bits } else { bits.wrapping_add(0x8000) };
        *param = bf16::from_bits((other >> 16) as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_values_come_back_to_the_bit() {
        for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
            for upper in 0..=0xffff_u32 {
                let average = upper << 16 | lower;
                let theta = bf16::from_bits((upper * 40_503) as u16);
                // A NaN, above such a lower half, looks as if there were no average.
                if theta.to_bits() == 0xffff && lower == 0xffff {
                    continue;
                }
                let (mut param, mut slot) = ([theta], [f32::from_bits(average)]);
                exchange_packed(&mut param, &mut slot, false);
                let (seen, exact) = (f64::from(param[0].to_f32()), f64::from(f32::from_bits(average)));
                // No other bf16 is nearer; past the largest it is infinite.
                if exact.is_finite() && seen.is_finite() {
                    let half_unit = f64::from(f32::from_bits((upper & 0x7fff) << 16 | 0x8000))
                        - f64::from(f32::from_bits((upper & 0x7fff) << 16));
                    assert!((seen - exact).abs() <= half_unit, "{average:x}");
                }
                exchange_packed(&mut param, &mut slot, true);
                assert_eq!((param[0].to_bits(), slot[0].to_bits()), (theta.to_bits(), average));
            }
        }
    }
}

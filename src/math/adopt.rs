//! The twin of `shaders/adopt.wgsl`.

/// Takes from the parameter every element whose master copy does not round to it.
pub(crate) fn adopt<T: Copy>(master: &mut [f32], param: &[T], widen: impl Fn(T) -> f32, round: impl Fn(f32) -> T) {
    for (master, &param) in master.iter_mut().zip(param) {
        let theta = widen(param);
        if widen(round(*master)).to_bits() != theta.to_bits() {
            *master = theta;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::adopt;
    use crate::math::half::{bf16_nearest, bf16_to_f32};

    /// The first and the last are ahead of what the parameter can hold, and must stay so.
    #[test]
    fn only_copies_of_other_values_are_made_anew() {
        let mut master = [1.001, 0.0, 7.0, 0.999];
        adopt(&mut master, &[1.0, 1.0, 2.0, 1.0].map(bf16::from_f32), bf16_to_f32, bf16_nearest);
        assert_eq!(master, [1.001, 1.0, 2.0, 0.999]);
    }
}

//! The twin of `shaders/adopt.wgsl`.

/// Takes from the parameter whatever is still 0 in its master copy.
pub(crate) fn adopt(master: &mut [f32], param: &[f32]) {
    for (master, &param) in master.iter_mut().zip(param) {
        if master.to_bits() == 0 {
            *master = param;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::adopt;

    /// The others are ahead of what the parameter can hold, and must stay so.
    #[test]
    fn only_missing_parts_of_a_master_copy_are_made() {
        let mut master = [1.001, 0.0, 0.999];
        adopt(&mut master, &[1.0; 3]);
        assert_eq!(master, [1.001, 1.0, 0.999]);
    }
}

//! Adam with the 8-bit state of bitsandbytes and torchao, as they publish it: blocks of 256 elements share their largest magnitude, and
//! a code of 256 numbers between -1 and 1 ("8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861, dynamic quantization) is
//! rounded to nearest. A step reads the code, updates in full precision, and rounds what it leaves.

/// Elements that share a scale.
const BLOCK: usize = 256;

/// A code of seven decades: each has its numbers evenly spread, twice as many as the decade below.
struct Code {
    /// In ascending order.
    numbers: Vec<f64>,
}

impl Code {
    fn new(signed: bool) -> Self {
        let mut numbers = vec![0.0, 1.0];
        for decade in 0..7 {
            let count = 1 << (decade + i32::from(!signed));
            let unit = 10_f64.powi(decade - 6);
            // The middles of `count` equal parts of what is between a tenth and 1.
            let middles = (0..count).map(|part| unit * (0.1 + 0.9 * (f64::from(part) + 0.5) / f64::from(count)));
            numbers.extend(middles.flat_map(|number| [Some(number), signed.then_some(-number)]).flatten());
        }
        numbers.sort_by(f64::total_cmp);
        Self { numbers }
    }

    fn nearest(&self, value: f64) -> f64 {
        let above = self.numbers.partition_point(|number| *number < value).min(self.numbers.len() - 1);
        let below = above.saturating_sub(1);
        let [below, above] = [self.numbers[below], self.numbers[above]];
        if value - below < above - value { below } else { above }
    }

    /// Rounds values to what this code can keep of them.
    fn keep(&self, values: &mut [f64]) {
        for block in values.chunks_mut(BLOCK) {
            let largest = block.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            if largest > 0.0 {
                block.iter_mut().for_each(|value| *value = largest * self.nearest(*value / largest));
            }
        }
    }
}

/// Adam in `f64`, whose state is kept in this code if there is one.
pub struct Adam {
    codes: Option<[Code; 2]>,
    step: i32,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Adam {
    /// The oracle: it keeps all bits.
    pub fn exact(len: usize) -> Self {
        Self { codes: None, step: 0, first: vec![0.0; len], second: vec![0.0; len] }
    }

    pub fn dynamic(len: usize) -> Self {
        Self { codes: Some([Code::new(true), Code::new(false)]), ..Self::exact(len) }
    }

    /// m̂ / (√v̂ + ε) of one step, with Adam's usual numbers.
    pub fn update(&mut self, grad: &[f32]) -> Vec<f64> {
        let (beta1, beta2, eps) = (0.9, 0.999, 1e-8);
        self.step += 1;
        let [unbias1, unbias2] = [beta1, beta2].map(|beta: f64| 1.0 - beta.powi(self.step));
        let state = self.first.iter_mut().zip(&mut self.second);
        let update = |((m, v), g): ((&mut f64, &mut f64), &f32)| {
            let g = f64::from(*g);
            *m += (1.0 - beta1) * (g - *m);
            *v += (1.0 - beta2) * (g * g - *v);
            *m / unbias1 / ((*v / unbias2).sqrt() + eps)
        };
        let updates = state.zip(grad).map(update).collect();
        if let Some([signed, unsigned]) = &self.codes {
            signed.keep(&mut self.first);
            unsigned.keep(&mut self.second);
        }
        updates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_have_256_numbers_up_to_1() {
        for (signed, smallest) in [(true, -0.993), (false, 0.0)] {
            let numbers = Code::new(signed).numbers;
            assert_eq!(numbers.len(), 256);
            assert_eq!(numbers.last(), Some(&1.0));
            assert!((numbers[0] - smallest).abs() < 1e-4, "{}", numbers[0]);
            assert!(numbers.is_sorted_by(|a, b| a < b));
        }
    }

    /// bitsandbytes' own test of its default code asks for a mean error below 0.011 of normal values.
    #[test]
    fn normal_values_come_back_as_bitsandbytes_tests_it() {
        let mut random = miadam_support::random::Random(3);
        let values: Vec<_> = (0..65_536).map(|_| f64::from(random.normal())).collect();
        let mut kept = values.clone();
        Code::new(true).keep(&mut kept);
        let error = values.iter().zip(&kept).map(|(value, kept)| (value - kept).abs()).sum::<f64>() / 65_536.0;
        assert!((0.008..0.011).contains(&error), "{error}");
    }
}

//! The shapes whose steps are measured.

use std::fmt;

use miadam::{Hyperparams, StatePrecision, StepScale};

/// How the tensors lie in the caller's buffers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// One buffer of parameters and one of gradients: neighbours in both, which make up one run.
    Pool,
    /// One buffer in which each gradient follows its parameter, so that no two tensors make up a run.
    Mixed,
    /// Two buffers for every tensor.
    Separate,
}

/// Where something lies: a buffer's number, and the first element in it.
pub type Place = (usize, usize);

#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub home: Home,
    pub lens: Vec<usize>,
    pub order: u32,
    pub state: StatePrecision,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at order {}", self.name, self.order)?;
        match self.state {
            StatePrecision::F32 => Ok(()),
            state => write!(f, " in {state:?}"),
        }
    }
}

impl Case {
    pub fn elements(&self) -> usize {
        self.lens.iter().sum()
    }

    /// Bytes that a step has to move: θ, m, v and the integrals both ways, g one way.
    pub fn bytes(&self) -> u64 {
        (12 + 8 / self.state.width() * (2 + u64::from(self.order))) * self.elements() as u64
    }

    /// The elements of each buffer, and where the parameter and the gradient of each tensor lie.
    pub fn places(&self) -> (Vec<usize>, Vec<[Place; 2]>) {
        let all = self.elements();
        let mut at = 0;
        let firsts = self.lens.iter().map(|&len| {
            at += len;
            (at - len, len)
        });
        match self.home {
            Home::Pool => (vec![all; 2], firsts.map(|(first, _)| [(0, first), (1, first)]).collect()),
            Home::Mixed => (vec![2 * all], firsts.map(|(first, len)| [(0, 2 * first), (0, 2 * first + len)]).collect()),
            Home::Separate => {
                let buffers = self.lens.iter().flat_map(|&len| [len; 2]).collect();
                (buffers, (0..self.lens.len()).map(|number| [(2 * number, 0), (2 * number + 1, 0)]).collect())
            }
        }
    }

    /// The step size is Adam's at every order. The paper's is next to nothing at order 3, which the optimizer warns of.
    pub fn hyperparams(&self) -> Hyperparams {
        let (order, state_precision) = (self.order, self.state);
        Hyperparams { order, state_precision, step_scale: StepScale::UnitGain, ..Hyperparams::default() }
    }
}

/// Every shape at orders 0, 1 and 3.
pub fn all() -> Vec<Case> {
    use Home::{Mixed, Pool, Separate};
    let shapes = [
        ("1 x 4M", Pool, vec![4 << 20]),
        ("1 x 16M", Pool, vec![16 << 20]),
        ("1000 x 4096 pool", Pool, vec![4096; 1000]),
        ("1000 x 4096 mixed", Mixed, vec![4096; 1000]),
        ("64 x 65536 mixed", Mixed, vec![65_536; 64]),
        ("1000 x 4096 separate", Separate, vec![4096; 1000]),
        ("10000 x 256 pool", Pool, vec![256; 10_000]),
        ("ResNet-18 separate", Separate, resnet18()),
        ("BERT-base separate", Separate, bert_base()),
    ];
    let state = StatePrecision::F32;
    let of_order = |order| move |(name, home, lens)| Case { name, home, lens, order, state };
    let all = shapes.into_iter().flat_map(|shape| [0, 1, 3].map(|order| of_order(order)(shape.clone())));
    all.collect()
}

/// Shapes whose state is in fewer bits.
pub fn packed() -> Vec<Case> {
    let shapes =
        all().into_iter().filter(|case| ["1 x 16M", "1000 x 4096 pool", "64 x 65536 mixed"].contains(&case.name));
    let packed = [StatePrecision::Bf16, StatePrecision::Q8];
    shapes.flat_map(|case| packed.map(|state| Case { state, ..case.clone() })).collect()
}

/// The 62 tensors of ResNet-18 for ImageNet (He et al., 2016), torchvision's shapes.
fn resnet18() -> Vec<usize> {
    let norm = |channels| [channels, channels];
    let mut lens = vec![64 * 3 * 49];
    lens.extend(norm(64));
    let mut from = 64;
    for to in [64, 128, 256, 512] {
        for block in 0..2 {
            lens.push(9 * from * to);
            lens.extend(norm(to));
            lens.push(9 * to * to);
            lens.extend(norm(to));
            if block == 0 && from != to {
                lens.push(from * to);
                lens.extend(norm(to));
            }
            from = to;
        }
    }
    lens.extend([512 * 1000, 1000]);
    lens
}

/// The 199 tensors of BERT-base uncased (Devlin et al., 2019), with its pooler.
fn bert_base() -> Vec<usize> {
    const HIDDEN: usize = 768;
    let dense = |inputs: usize, outputs: usize| [inputs * outputs, outputs];
    let norm = [HIDDEN, HIDDEN];
    let mut lens = vec![30_522 * HIDDEN, 512 * HIDDEN, 2 * HIDDEN];
    lens.extend(norm);
    for _ in 0..12 {
        for _ in 0..4 {
            lens.extend(dense(HIDDEN, HIDDEN));
        }
        lens.extend(norm);
        lens.extend(dense(HIDDEN, 4 * HIDDEN));
        lens.extend(dense(4 * HIDDEN, HIDDEN));
        lens.extend(norm);
    }
    lens.extend(dense(HIDDEN, HIDDEN));
    lens
}

#[cfg(test)]
mod tests {
    #[test]
    fn models_have_their_published_sizes() {
        let count = |lens: Vec<usize>| (lens.len(), lens.iter().sum::<usize>());
        assert_eq!(count(super::resnet18()), (62, 11_689_512));
        assert_eq!(count(super::bert_base()), (199, 109_482_240));
    }
}

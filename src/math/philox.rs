//! The twin of `shaders/shared/philox.wgsl`: random bits as a function of a counter and a key.

const ROUNDS: u32 = 10;
const MULTIPLIER: u64 = 0xd256_d193;
const WEYL: u32 = 0x9e37_79b9;

/// 64 random bits for each counter and key: enough for a quad of bf16.
#[inline]
#[must_use]
pub fn philox(counter: [u32; 2], key: u32) -> [u32; 2] {
    let state = (0..ROUNDS).fold((counter, key), |(counter, key), _| philox_round(counter, key));
    state.0
}

/// [`philox`] of the counters `[first, second]`, `[first + 1, second]` and so on, the first word in the low half of each.
///
/// Each word lies in 64 bits, whose upper 32 hold anything until the end. A processor multiplies the lower 32 bits of its
/// lanes of 64, so that a round is four instructions for four lanes.
#[cfg(feature = "cpu")]
#[inline(always)]
pub(crate) fn philox_of<const N: usize>(first: u32, second: u32, key: u32) -> [u64; N] {
    const LOW: u64 = 0xffff_ffff;
    let mut x = std::array::from_fn(
        #[inline(always)]
        |lane| u64::from(first.wrapping_add(lane as u32)),
    );
    let mut y = [u64::from(second); N];
    let mut key = key;
    // Round after round for all lanes at once. Within one lane each round has to wait for the one before.
    for _ in 0..ROUNDS {
        for (x, y) in x.iter_mut().zip(&mut y) {
            let product = (*x & LOW) * MULTIPLIER;
            (*x, *y) = ((product >> 32) ^ u64::from(key) ^ *y, product);
        }
        key = key.wrapping_add(WEYL);
    }
    for (x, y) in x.iter_mut().zip(y) {
        *x = (*x & LOW) | (y << 32);
    }
    x
}

/// One round on the counter and, after it, the key.
#[inline(always)]
fn philox_round([x, y]: [u32; 2], key: u32) -> ([u32; 2], u32) {
    let product = u64::from(x) * MULTIPLIER;
    ([(product >> 32) as u32 ^ key ^ y, product as u32], key.wrapping_add(WEYL))
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_its_authors_known_answers() {
        // `kat_vectors` of Random123, "philox2x32 10"; the last counter and key are digits of π.
        let vectors = [
            ([0, 0], 0, [0xff1d_ae59, 0x6cd1_0df2]),
            ([u32::MAX; 2], u32::MAX, [0x2c3f_628b, 0xab4f_d7ad]),
            ([0x243f_6a88, 0x85a3_08d3], 0x1319_8a2e, [0xdd7c_e038, 0xf62a_4c12]),
        ];
        for (counter, key, answer) in vectors {
            assert_eq!(philox(counter, key), answer, "{counter:x?} {key:x}");
            let [.., last] = philox_of::<3>(counter[0].wrapping_sub(2), counter[1], key);
            assert_eq!([last as u32, (last >> 32) as u32], answer, "{counter:x?} {key:x}");
        }
    }
}

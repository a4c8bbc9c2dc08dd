//! The twin of `shaders/measure.wgsl`. It sums in `f64`, where no square of an `f32` leaves the range. Subnormal gradients count here, and as 0
//! in the shader.

/// Sums that grow side by side. There are always as many, so that the result does not depend on how wide a processor is.
const LANES: usize = 16;

/// Σ g² and the bits of the largest |g|.
#[inline(always)]
pub(crate) fn measure(grad: &[f32]) -> (f64, u32) {
    let (mut squares, mut largest) = ([0.0; LANES], [0; LANES]);
    let (rows, rest) = grad.as_chunks::<LANES>();
    for row in rows {
        for lane in 0..LANES {
            add(row[lane], &mut squares[lane], &mut largest[lane]);
        }
    }
    for (lane, &g) in rest.iter().enumerate() {
        add(g, &mut squares[lane], &mut largest[lane]);
    }
    (squares.iter().sum(), largest.into_iter().fold(0, u32::max))
}

#[inline(always)]
fn add(g: f32, squares: &mut f64, largest: &mut u32) {
    *squares += f64::from(g) * f64::from(g);
    *largest = (*largest).max(g.abs().to_bits());
}

//! A part of a picture at another size: the triangle filter of Pillow's bilinear, which takes the mean where it shrinks.

use crate::paper::images::decode::Picture;

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// The pixels that a new one is made of, from `first` on, and their weights.
struct Window {
    first: usize,
    weights: Vec<f32>,
}

/// The area as `side` x `side` pixels: three planes of values from 0 to 255.
pub fn resample(picture: &Picture, area: Area, side: usize) -> Vec<f32> {
    let across = windows(area.left, area.width, picture.width, side);
    let down = windows(area.top, area.height, picture.height, side);
    let (first, last) = match (down.first(), down.last()) {
        (Some(top), Some(bottom)) => (top.first, bottom.first + bottom.weights.len()),
        _ => (0, 0),
    };
    // First each row that is needed becomes as wide as it will be.
    let mut narrow = Vec::with_capacity((last - first) * side * 3);
    for row in picture.bytes.chunks_exact(3 * picture.width).take(last).skip(first) {
        for Window { first, weights } in &across {
            let pixels = row[3 * first..].as_chunks::<3>().0;
            narrow.push(weighted(weights, |n| pixels[n].map(f32::from)));
        }
    }
    let mut planes = vec![0.0; 3 * side * side];
    for (y, Window { first: top, weights }) in down.iter().enumerate() {
        for x in 0..side {
            let pixel = weighted(weights, |n| narrow[(top - first + n) * side + x]);
            for (channel, value) in pixel.into_iter().enumerate() {
                planes[(channel * side + y) * side + x] = value;
            }
        }
    }
    planes
}

fn weighted(weights: &[f32], pixel: impl Fn(usize) -> [f32; 3]) -> [f32; 3] {
    let mut sum = [0.0; 3];
    for (n, weight) in weights.iter().enumerate() {
        for (sum, value) in sum.iter_mut().zip(pixel(n)) {
            *sum += weight * value;
        }
    }
    sum
}

/// For each of `side` new pixels those of `len` old ones that lie under a triangle around its middle.
fn windows(start: f64, width: f64, len: usize, side: usize) -> Vec<Window> {
    let scale = width / side as f64;
    // Half the triangle's width: two pixels of the coarser of the two grids.
    let reach = scale.max(1.0);
    let window = |pixel: usize| {
        let middle = start + (pixel as f64 + 0.5) * scale;
        let first = ((middle - reach + 0.5).max(0.0) as usize).min(len - 1);
        let last = ((middle + reach + 0.5) as usize).clamp(first + 1, len);
        let weight = |n: usize| (1.0 - ((n as f64 + 0.5 - middle) / reach).abs()).max(0.0);
        let sum: f64 = (first..last).map(weight).sum();
        let weights = (first..last).map(|n| if sum > 0.0 { weight(n) / sum } else { 1.0 / (last - first) as f64 });
        Window { first, weights: weights.map(|weight| weight as f32).collect() }
    };
    (0..side).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture whose pixel has its column, its row and 7.
    fn ramp(width: usize, height: usize) -> Picture {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7]));
        Picture { width, height, bytes: pixels.collect() }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let area = Area { left: 1.0, top: 2.0, width: 3.0, height: 3.0 };
        let planes = resample(&ramp(6, 8), area, 3);
        assert_eq!(planes[..9], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        assert_eq!(planes[9..18], [2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0]);
        assert_eq!(planes[18..], [7.0; 9]);
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let area = Area { left: 0.0, top: 0.0, width: 40.0, height: 40.0 };
        for side in [10, 80] {
            let planes = resample(&ramp(40, 40), area, side);
            let step = 40.0 / side as f32;
            // Far from the edges, where a part of the triangle is missing.
            for x in side / 4..side * 3 / 4 {
                let expected = (x as f32 + 0.5) * step - 0.5;
                let found = planes[side / 2 * side + x];
                assert!((found - expected).abs() < 1e-3, "{side}: {found} at {x}, {expected} expected");
            }
        }
    }
}

//! A drawing as MNIST's makers prepared theirs: scaled into 20 by 20 pixels, its centre of mass in the middle of 28 by 28.

use crate::mnist::network::INPUTS;

const SIDE: usize = 28;
const BOX: f32 = 20.0;

/// Pixels of a drawing of `side` by `side` bytes. An empty drawing is an empty image.
pub fn centred(drawing: &[u8], side: usize) -> Vec<u8> {
    let mut image = vec![0.0; INPUTS];
    let ink: Vec<(usize, usize, f32)> = (0..side * side)
        .zip(drawing)
        .filter(|(_, ink)| **ink > 0)
        .map(|(i, &ink)| (i % side, i / side, ink.into()))
        .collect();
    let Some(&(first, ..)) = ink.first() else { return vec![0; INPUTS] };
    let (mut left, mut right, mut top, mut bottom) = (first, first, side, 0);
    let (mut mass, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
    for &(x, y, ink) in &ink {
        (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
        (mass, x_sum, y_sum) = (mass + ink, x_sum + ink * x as f32, y_sum + ink * y as f32);
    }
    let scale = BOX / (1 + (right - left).max(bottom - top)) as f32;
    let middle = (SIDE - 1) as f32 / 2.0;
    let (x_mass, y_mass) = (x_sum / mass, y_sum / mass);
    for &(x, y, ink) in &ink {
        // Each dot's ink goes to the four pixels about its place, by their nearness.
        let (x, y) = ((x as f32 - x_mass) * scale + middle, (y as f32 - y_mass) * scale + middle);
        for (column, row) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (column, row) = (x.floor() + column as f32, y.floor() + row as f32);
            let inside = |place: f32| (0.0..SIDE as f32).contains(&place);
            if inside(column) && inside(row) {
                let share = (1.0 - (x - column).abs()) * (1.0 - (y - row).abs());
                image[row as usize * SIDE + column as usize] += ink * share * scale * scale;
            }
        }
    }
    image.into_iter().map(|value: f32| value.round().min(255.0) as u8).collect()
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn a_block_anywhere_becomes_the_same_block_in_the_middle() {
        let block = |left: usize, top: usize, width: usize| {
            let inside = |i: usize| (left..left + width).contains(&(i % 112)) && (top..top + 80).contains(&(i / 112));
            centred(&(0..112 * 112).map(|i| u8::from(inside(i)) * 255).collect::<Vec<_>>(), 112)
        };
        let image = block(3, 20, 40);
        assert_eq!(image, block(60, 31, 40));
        let ink: Vec<usize> = (0..INPUTS).filter(|&i| image[i] > 128).collect();
        let (columns, rows) = (ink.iter().map(|i| i % SIDE), ink.iter().map(|i| i / SIDE));
        assert_eq!(
            (rows.clone().min(), rows.max(), columns.clone().min(), columns.max()),
            (Some(4), Some(23), Some(9), Some(18))
        );
    }

    #[wasm_bindgen_test]
    fn an_empty_drawing_is_an_empty_image() {
        assert_eq!(centred(&[0; 100], 10), [0; INPUTS]);
    }
}

//! Small images in memory, and how they reach a network: cropped, flipped, and of mean 0 and deviation 1.

use miadam_support::mnist::random::Random;

/// Pixels of nothing around an image that is cropped at random, as in the ResNet paper.
const PADDING: usize = 4;

/// Mean and standard deviation of each channel, of values from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Statistics {
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
}

/// Square images of three channels, each a plane of its own.
pub struct Images {
    pub side: usize,
    pub labels: Vec<usize>,
    statistics: Statistics,
    bytes: Vec<u8>,
}

impl Statistics {
    /// A byte of a channel as a network takes it.
    pub fn normal(&self, channel: usize, byte: u8) -> f32 {
        (f32::from(byte) / 255.0 - self.mean[channel]) / self.deviation[channel]
    }
}

/// Where an image is looked at: moved by pixels of -4 to 4, and in a mirror or not.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    pub down: isize,
    pub right: isize,
    pub mirrored: bool,
}

impl View {
    pub fn random(random: &mut Random) -> Self {
        let mut shift = || random.below(2 * PADDING + 1) as isize - PADDING as isize;
        let (down, right) = (shift(), shift());
        Self { down, right, mirrored: random.below(2) == 1 }
    }
}

impl Images {
    pub fn new(side: usize, statistics: Statistics) -> Self {
        Self { side, labels: Vec::new(), statistics, bytes: Vec::new() }
    }

    pub fn push(&mut self, pixels: &[u8], label: usize) {
        self.bytes.extend(pixels);
        self.labels.push(label);
    }

    /// An image's bytes, channel by channel.
    pub fn pixels(&self, image: usize) -> &[u8] {
        let len = 3 * self.side * self.side;
        &self.bytes[image * len..][..len]
    }

    /// Appends an image in this view, normalised. What lies outside of it is black.
    pub fn append(&self, image: usize, view: View, to: &mut Vec<f32>) {
        let side = self.side as isize;
        for (channel, plane) in self.pixels(image).chunks_exact(self.side * self.side).enumerate() {
            for row in 0..side {
                for column in 0..side {
                    let column = if view.mirrored { side - 1 - column } else { column };
                    let (row, column) = (row + view.down, column + view.right);
                    let is_inside = (0..side).contains(&row) && (0..side).contains(&column);
                    let byte = if is_inside { plane[(row * side + column) as usize] } else { 0 };
                    to.push(self.statistics.normal(channel, byte));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Statistics = Statistics { mean: [0.0; 3], deviation: [1.0 / 255.0; 3] };

    fn seen(view: View) -> Vec<f32> {
        let mut images = Images::new(2, PLAIN);
        images.push(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 0);
        let mut seen = Vec::new();
        images.append(0, view, &mut seen);
        seen.iter().map(|value| value.round()).collect()
    }

    #[test]
    fn an_image_is_moved_and_mirrored_in_each_channel() {
        let view = View::default();
        assert_eq!(seen(view), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        let mirrored = seen(View { mirrored: true, ..view });
        assert_eq!(mirrored, [2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 8.0, 7.0, 10.0, 9.0, 12.0, 11.0]);
        let moved = seen(View { down: 1, right: -1, ..view });
        assert_eq!(moved, [0.0, 3.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 11.0, 0.0, 0.0]);
    }

    #[test]
    fn views_are_of_every_kind() {
        let mut random = Random::new(1, 2);
        let views: Vec<View> = (0..1000).map(|_| View::random(&mut random)).collect();
        for shift in -4..=4 {
            assert!(views.iter().any(|view| view.down == shift) && views.iter().any(|view| view.right == shift));
        }
        assert!(views.iter().all(|view| view.down.abs() <= 4 && view.right.abs() <= 4));
        let mirrored = views.iter().filter(|view| view.mirrored).count();
        // 500 are expected, and 16 is a standard deviation.
        assert!(mirrored.abs_diff(500) < 80, "{mirrored}");
    }

    #[test]
    fn bytes_become_normal() {
        let statistics = Statistics { mean: [0.5, 0.4, 0.0], deviation: [0.25, 0.2, 1.0] };
        assert_eq!((statistics.normal(0, 255), statistics.normal(2, 51)), (2.0, 0.2));
        // Two roundings of f32.
        assert!((statistics.normal(1, 0) + 2.0).abs() < 1e-6);
    }
}

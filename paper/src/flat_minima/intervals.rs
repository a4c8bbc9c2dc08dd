//! Estimates with their 95 % intervals.

/// Standard deviations to either side that hold 95 % of a normal distribution.
const Z: f64 = 1.959_963_985;

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The mean, with the normal interval. Not a number without any values, and without an interval for one alone.
pub fn mean(values: &[f64]) -> Estimate {
    let count = values.len() as f64;
    let value = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|other| (other - value).powi(2)).sum::<f64>() / (count - 1.0);
    let radius = Z * (variance / count).sqrt();
    Estimate { value, low: value - radius, high: value + radius }
}

/// A share, with Wilson's interval: right near 0 and 1, too.
pub fn share(hits: usize, of: usize) -> Estimate {
    let (hits, count) = (hits as f64, of as f64);
    let value = hits / count;
    let widening = 1.0 + Z * Z / count;
    let middle = (value + Z * Z / (2.0 * count)) / widening;
    let radius = Z / widening * (value * (1.0 - value) / count + Z * Z / (4.0 * count * count)).sqrt();
    // At 0 and 1 the ends are exact but for rounding.
    Estimate { value, low: (middle - radius).max(0.0).min(value), high: (middle + radius).min(1.0).max(value) }
}

/// The mean waiting time, where some have waited in vain: all time waited over the number that came, the maximum-likelihood
/// estimate for waiting without memory. The interval is that of its logarithm, whose deviation is 1/√events. Infinite if none
/// came.
pub fn waiting_time(waited: f64, events: usize) -> Estimate {
    let value = waited / events as f64;
    let factor = (Z / (events as f64).sqrt()).exp();
    let low = if events == 0 { waited / 3.7 } else { value / factor };
    // Without an event in the time T, the mean is above T/3.7 with 97.5 % confidence.
    Estimate { value, low, high: value * factor }
}

/// A straight line by least squares, each point weighted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub slope: Estimate,
    pub intercept: f64,
}

/// Fits y = intercept + slope·x to points (x, y, weight), with the interval of the slope by the scatter about the line.
/// None below three points.
pub fn line(points: &[[f64; 3]]) -> Option<Line> {
    if points.len() < 3 {
        return None;
    }
    let sum = |part: &dyn Fn(f64, f64) -> f64| points.iter().map(|&[x, y, weight]| weight * part(x, y)).sum::<f64>();
    let total = sum(&|_, _| 1.0);
    let (x_mean, y_mean) = (sum(&|x, _| x) / total, sum(&|_, y| y) / total);
    let spread = sum(&|x, _| (x - x_mean).powi(2));
    let value = sum(&|x, y| (x - x_mean) * (y - y_mean)) / spread;
    let intercept = y_mean - value * x_mean;
    let scatter = sum(&|x, y| (y - intercept - value * x).powi(2)) / (points.len() as f64 - 2.0);
    let radius = Z * (scatter / spread).sqrt();
    Some(Line { slope: Estimate { value, low: value - radius, high: value + radius }, intercept })
}

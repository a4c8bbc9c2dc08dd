use serde::{Deserialize, Serialize};

use crate::error::Error;

/// 2¹²⁶, the largest loss scale: its reciprocal is still normal.
pub(crate) const LARGEST_SCALE: f32 = f32::from_bits(0x7e80_0000);

/// The way of all groups' gradients into the update, in this order:
///
/// ```text
///        any g not finite: the step is skipped       with `skip_non_finite` or a `scaler`
/// g    ← factor · g / scale                          accumulation, loss scale
/// norm = √(Σ g²)                                     over all groups
/// g    ← g · min(1, clip_norm / (norm + 1e-6))       torch.nn.utils.clip_grad_norm_
/// g    ← max(-clip_value, min(clip_value, g))        torch.nn.utils.clip_grad_value_
/// ```
///
/// All of it happens within the step, on the device: nothing is read back and nobody waits. Gradients in the caller's
/// buffers stay as they are, unless `zero` resets them. A step reads the gradients a second time if it clips by norm,
/// measures the norm or can be skipped.
///
/// ```
/// use miadam::{GradOptions, GradScaler, Hyperparams, Param, ParamGroup, cpu};
///
/// let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)]);
/// let mut optimizer = cpu::MiAdam::new([group])?;
/// optimizer.set_grad_options(GradOptions {
///     factor: 0.25, // the mean of four micro-batches, added up
///     clip_norm: Some(1.0),
///     scaler: Some(GradScaler::default()),
///     ..GradOptions::default()
/// })?;
/// let (mut w, mut gradient) = ([1.0, -1.0], [f32::INFINITY, 0.5]);
/// optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
/// assert_eq!(w, [1.0, -1.0]);
/// let report = optimizer.read_report();
/// assert_eq!((report.step, report.skipped, report.loss_scale), (0, 1, 32_768.0));
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradOptions {
    /// The factor on every gradient, above 0: 1/k for the mean of k accumulated ones. Default 1.
    pub factor: f64,
    /// The bound of the global norm, at least 0. Infinity clips nothing, and measures the norm as
    /// [`measure_norm`](Self::measure_norm) does. Default none.
    ///
    /// The norm is that of the gradients after `factor`, without the loss scale. As in PyTorch, one NaN among them makes
    /// all of them NaN, and an infinite one makes the finite ones 0. Gradients, loss scale, norm and clipping factor may be of
    /// any size: what is in the normal range of `f32` in the end is right, on a device that takes subnormal numbers for 0 as
    /// well. A finite bound past that range is the largest number in it.
    #[serde(with = "infinite")]
    pub clip_norm: Option<f64>,
    /// Whether every step measures the global norm for the [report](crate::Report::grad_norm). It costs a second reading
    /// of the gradients. Clipping by norm, skipping and loss scaling measure it anyway. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub measure_norm: bool,
    /// The bound of each element's absolute value, at least 0. Default none. Infinity is no bound either: an infinite
    /// gradient stays so, and makes its element NaN, as in PyTorch. A finite bound past the range of `f32` is the largest
    /// number in it, so that it does clip an infinite gradient.
    #[serde(with = "infinite")]
    pub clip_value: Option<f64>,
    /// Whether a step with an infinite or NaN gradient is skipped. A skipped step leaves every bit of the parameters, the
    /// state and the step counter as it is; only the count of skipped steps grows. Default false: such gradients
    /// propagate, as in PyTorch. A `scaler` always skips.
    pub skip_non_finite: bool,
    /// Whether the step sets every gradient to 0 once it has used it, so that the next gradients can be added to it. A
    /// skipped step resets them as well. Default false.
    pub zero: bool,
    /// Dynamic loss scaling. Default none.
    pub scaler: Option<GradScaler>,
}

impl Default for GradOptions {
    fn default() -> Self {
        Self {
            factor: 1.0,
            clip_norm: None,
            measure_norm: false,
            clip_value: None,
            skip_non_finite: false,
            zero: false,
            scaler: None,
        }
    }
}

/// Dynamic loss scaling, as `torch.amp.GradScaler` does it: the loss is multiplied by a scale, so that half-precision
/// gradients do not vanish, and the step divides the gradients by it.
///
/// A step with a gradient that is not finite is skipped and multiplies the scale by `backoff_factor`; `growth_interval`
/// steps in a row without one multiply it by `growth_factor`. It stays from 2⁻¹²⁶ to 2¹²⁶.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradScaler {
    /// The first scale, from 2⁻¹²⁶ to 2¹²⁶. Default 65536, PyTorch's.
    pub init_scale: f64,
    /// Above 1, rounded to `f32`. Default 2, PyTorch's.
    pub growth_factor: f64,
    /// In (0, 1), rounded to `f32`. Default 0.5, PyTorch's.
    pub backoff_factor: f64,
    /// At least 1. Default 2000, PyTorch's.
    pub growth_interval: u32,
}

impl Default for GradScaler {
    fn default() -> Self {
        Self { init_scale: 65_536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }
}

impl GradOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// For the first value that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let normal = |value: f64| (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&value);
        const NORMAL: &str = "in the normal range of f32, 1.2e-38 to 3.4e38";
        const BOUND: &str = "at least 0; leave it out to clip nothing";
        check("factor", self.factor, normal(self.factor), NORMAL)?;
        for (field, bound) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            let bound = bound.unwrap_or_default();
            check(field, bound, bound >= 0.0, BOUND)?;
        }
        let Some(GradScaler { init_scale, growth_factor, backoff_factor, growth_interval }) = self.scaler else {
            return Ok(());
        };
        let init_holds = normal(init_scale) && init_scale <= f64::from(LARGEST_SCALE);
        check("scaler.init_scale", init_scale, init_holds, "in the range 1.2e-38 to 8.5e37")?;
        let growth_holds = normal(growth_factor) && growth_factor > 1.0;
        check("scaler.growth_factor", growth_factor, growth_holds, "above 1 and in the range of f32")?;
        let backoff_holds = normal(backoff_factor) && backoff_factor < 1.0;
        check("scaler.backoff_factor", backoff_factor, backoff_holds, "above 0 and below 1")?;
        check("scaler.growth_interval", f64::from(growth_interval), growth_interval > 0, "at least 1")
    }

    /// Checks that no option is set that a follower takes from its leader.
    pub(crate) fn check_follower(&self) -> Result<(), Error> {
        let leaders = [
            ("factor", self.factor != 1.0),
            ("clip_norm", self.clip_norm.is_some()),
            ("measure_norm", self.measure_norm),
            ("skip_non_finite", self.skip_non_finite),
            ("scaler", self.scaler.is_some()),
        ];
        match leaders.into_iter().find(|(_, is_set)| *is_set) {
            Some((option, _)) => Err(Error::LeadersOption { option }),
            None => Ok(()),
        }
    }

    /// Those that are a follower's own: without what it takes from its leader.
    pub(crate) fn of_follower(self) -> Self {
        Self { clip_value: self.clip_value, zero: self.zero, ..Self::default() }
    }

    /// Whether the norm has a bound.
    pub(crate) fn clips_norm(&self) -> bool {
        self.clip_norm.is_some_and(f64::is_finite)
    }

    /// Whether a step can be skipped.
    pub(crate) fn skips(&self) -> bool {
        self.skip_non_finite || self.scaler.is_some()
    }

    /// Whether a step has to look at all gradients before it uses the first.
    pub(crate) fn measures(&self) -> bool {
        self.skips() || self.clip_norm.is_some() || self.measure_norm
    }
}

/// An error about `value`, unless `holds`.
fn check(field: &'static str, value: f64, holds: bool, expected: &'static str) -> Result<(), Error> {
    // A comparison with NaN is false.
    if holds { Ok(()) } else { Err(Error::InvalidGradOption { field, value, expected }) }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Bounds as JSON has them, which knows no infinity: a number, null, or `"infinity"`.
mod infinite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Bound {
        Number(f64),
        Infinite(Infinity),
    }

    #[derive(Serialize, Deserialize)]
    enum Infinity {
        #[serde(rename = "infinity")]
        Infinity,
    }

    pub fn serialize<S: Serializer>(bound: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        let bound = bound.map(|bound| match bound {
            f64::INFINITY => Bound::Infinite(Infinity::Infinity),
            number => Bound::Number(number),
        });
        bound.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let bound = Option::<Bound>::deserialize(deserializer)?;
        Ok(bound.map(|bound| match bound {
            Bound::Number(number) => number,
            Bound::Infinite(Infinity::Infinity) => f64::INFINITY,
        }))
    }
}

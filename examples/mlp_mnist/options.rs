//! The flags of the training loop: what becomes of the gradients and of the learning rate. All are off by default.

use std::error::Error;

use clap::{Args, ValueEnum};
use miadam::{Dtype, GradOptions, GradScaler, HalfParams, Schedule};
use miadam_support::command_line::{NumberParser, number};

/// No normal number of `f32` is smaller.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;
/// 2¹²⁶, up to which a loss scale grows.
const LARGEST_SCALE: f64 = 8.507_059_173_023_462e37;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Training loop")]
pub struct Options {
    /// Shrink the gradients of a step to the norm X, over all tensors, where it is larger; `inf` only measures it
    #[arg(long, value_name = "X", value_parser = bound())]
    pub clip_norm: Option<f64>,
    /// Clip each element of the gradients to the range from -X to X
    #[arg(long, value_name = "X", value_parser = bound())]
    pub clip_value: Option<f64>,
    /// Make one step of the mean gradient of K batches; an epoch's last step is made of the batches that are left
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = number(1..=1_000_000_u32))]
    pub accumulate: u32,
    /// Scale the loss, dynamically, from this scale on [without a number: 65536]
    #[arg(
        long,
        value_name = "SCALE",
        num_args = 0..=1,
        default_missing_value = "65536",
        value_parser = number(SMALLEST..=LARGEST_SCALE).or("drop the number for 65536")
    )]
    pub loss_scale: Option<f64>,
    /// Skip every step with a gradient that is infinite or NaN; with --loss-scale they are skipped anyway
    #[arg(long)]
    pub skip_non_finite: bool,
    /// How the learning rate changes from step to step
    #[arg(long, value_enum, default_value_t = ScheduleKind::Constant)]
    pub schedule: ScheduleKind,
    /// What weights and gradients are; those in half precision are updated by way of a master copy in f32
    #[arg(long, value_enum, default_value_t = Type::F32)]
    pub dtype: Type,
    /// Round bf16 weights at random, by --seed, instead of keeping a master copy
    #[arg(long)]
    pub stochastic_rounding: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Type {
    F32,
    /// Gradients below 6e-8 vanish: add --loss-scale
    F16,
    Bf16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleKind {
    /// --lr throughout
    Constant,
    /// From --lr down to 0 by equal amounts
    Linear,
    /// From --lr down to 0, as the square of the steps that are left
    Polynomial,
    /// From near 0 up to --lr in 5 % of the steps, then down to 0 along half a cosine
    WarmupCosine,
    /// Three times from --lr down to 0 along half a cosine, each time in twice as many steps as before
    CosineRestarts,
    /// A tenth of --lr from half of the steps on, a hundredth from three quarters on: the paper's setting
    MultiStep,
    /// From a 25th up to --lr in 30 % of the steps, then down to a 250000th: PyTorch's OneCycleLR
    OneCycle,
}

impl Options {
    /// Refuses what is wrong whatever the data and the device.
    pub fn validate(&self) -> Result<(), Box<dyn Error>> {
        if self.stochastic_rounding && self.dtype != Type::Bf16 {
            return Err("--stochastic-rounding is of bf16 weights; add --dtype bf16, or drop the flag".into());
        }
        Ok(())
    }

    pub fn dtype(&self) -> Dtype {
        match self.dtype {
            Type::F32 => Dtype::F32,
            Type::F16 => Dtype::F16,
            Type::Bf16 => Dtype::Bf16,
        }
    }

    pub fn half_params(&self, seed: u64) -> HalfParams {
        if self.stochastic_rounding { HalfParams::Stochastic { seed } } else { HalfParams::Master }
    }

    /// The options of a step of one batch.
    pub fn grad_options(&self) -> GradOptions {
        GradOptions {
            clip_norm: self.clip_norm,
            clip_value: self.clip_value,
            skip_non_finite: self.skip_non_finite,
            scaler: self.loss_scale.map(|init_scale| GradScaler { init_scale, ..GradScaler::default() }),
            ..GradOptions::default()
        }
    }

    /// The schedule of a run of so many steps, at least 1.
    pub fn schedule(&self, steps: u64) -> Result<Schedule, Box<dyn Error>> {
        if self.schedule == ScheduleKind::Constant {
            return Ok(Schedule::Constant);
        }
        let steps = u32::try_from(steps)
            .map_err(|_| format!("--schedule: {steps} steps are more than it can count; lower --epochs"))?;
        Ok(self.schedule.over(steps))
    }
}

/// The range of what clips.
fn bound() -> NumberParser<f64> {
    number(SMALLEST..=f64::INFINITY).or("drop the flag to clip nothing")
}

impl ScheduleKind {
    /// Whether it changes until the end of the run that it was made for, and not after that.
    pub fn ends(self) -> bool {
        !matches!(self, Self::Constant | Self::CosineRestarts)
    }

    fn over(self, steps: u32) -> Schedule {
        match self {
            Self::Constant => Schedule::Constant,
            Self::Linear => Schedule::Linear { start_factor: 1.0, end_factor: 0.0, steps },
            Self::Polynomial => Schedule::Polynomial { steps, power: 2.0, end_factor: 0.0 },
            // The shortest of runs has no room for both.
            Self::WarmupCosine if steps == 1 => Schedule::Constant,
            Self::WarmupCosine => Schedule::warmup_cosine(steps.div_ceil(20), steps, 0.0),
            // 1 + 2 + 4 sevenths.
            Self::CosineRestarts => Schedule::CosineRestarts { steps: steps.div_ceil(7), growth: 2, end_factor: 0.0 },
            // Half is rounded up, so that the shortest of runs begins with the full learning rate.
            Self::MultiStep => Schedule::MultiStep { at: vec![steps.div_ceil(2), steps - steps / 4], gamma: 0.1 },
            Self::OneCycle => Schedule::OneCycle { steps, warmup: 0.3, div_factor: 25.0, final_div_factor: 1e4 },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use miadam_support::command_line::{objection, parse as read};

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        options: Options,
    }

    fn try_parse(flags: &str) -> Result<Options, String> {
        let flags: Result<Flags, _> = read(["mlp_mnist"].into_iter().chain(flags.split_whitespace()));
        flags.map(|flags| flags.options).map_err(|error| objection(&error))
    }

    fn parse(flags: &str) -> Options {
        try_parse(flags).unwrap()
    }

    #[test]
    fn without_a_flag_nothing_happens_to_the_gradients() {
        let options = parse("");
        assert!(options.validate().is_ok());
        assert_eq!((options.grad_options(), options.accumulate), (GradOptions::default(), 1));
        assert_eq!(options.schedule(u64::MAX).unwrap(), Schedule::Constant);
        assert_eq!((options.dtype(), options.half_params(1)), (Dtype::F32, HalfParams::Master));
    }

    #[test]
    fn each_flag_sets_its_option() {
        let options = parse("--clip-norm inf --clip-value 0.5 --accumulate 3 --loss-scale --skip-non-finite");
        assert!(options.validate().is_ok());
        assert_eq!(options.accumulate, 3);
        let expected = GradOptions {
            clip_norm: Some(f64::INFINITY),
            clip_value: Some(0.5),
            skip_non_finite: true,
            scaler: Some(GradScaler::default()),
            ..GradOptions::default()
        };
        assert_eq!(options.grad_options(), expected);
        assert_eq!(parse("--loss-scale 8").loss_scale, Some(8.0));
        let options = parse("--dtype bf16 --stochastic-rounding");
        assert!(options.validate().is_ok());
        assert_eq!((options.dtype(), options.half_params(1)), (Dtype::Bf16, HalfParams::Stochastic { seed: 1 }));
        // The flag does not take what comes after it for its number.
        assert!(parse("--loss-scale --skip-non-finite").skip_non_finite);
    }

    #[test]
    fn bad_values_are_errors_that_name_the_flag() {
        for flags in [
            "--clip-norm 0",
            "--clip-norm -1",
            "--clip-norm nan",
            "--clip-norm 1e-40",
            "--clip-value 0",
            "--clip-value -0.5",
            "--clip-value nan",
            "--accumulate 0",
            "--accumulate -1",
            "--accumulate 1000001",
            "--loss-scale 0",
            "--loss-scale -2",
            "--loss-scale nan",
            "--loss-scale inf",
            "--loss-scale 1e38",
        ] {
            let message = try_parse(flags).unwrap_err();
            assert!(message.starts_with(&format!("{flags} is out of range; choose ")), "{flags}: {message}");
        }
        for flags in ["--accumulate 1.5", "--clip-norm x", "--loss-scale x"] {
            let message = try_parse(flags).unwrap_err();
            assert!(message.starts_with(&format!("{flags} is no ")), "{flags}: {message}");
        }
        let message = try_parse("--schedule cosine").unwrap_err();
        assert!(message.contains("'--schedule") && message.contains("warmup-cosine"), "{message}");
        let message = parse("--dtype f16 --stochastic-rounding").validate().unwrap_err().to_string();
        assert!(message.starts_with("--stochastic-rounding"), "{message}");
        let message = parse("--schedule one-cycle").schedule(1 << 32).unwrap_err().to_string();
        assert!(message.starts_with("--schedule"), "{message}");
    }

    #[test]
    fn the_largest_loss_scale_is_the_optimizers() {
        let limit = LARGEST_SCALE as f32;
        assert_eq!(limit, 2.0f32.powi(126));
        let options = |init_scale| GradOptions {
            scaler: Some(GradScaler { init_scale, ..GradScaler::default() }),
            ..GradOptions::default()
        };
        assert!(options(LARGEST_SCALE).validate().is_ok());
        assert!(options(2.0 * LARGEST_SCALE).validate().is_err());
    }

    #[test]
    fn schedules_span_the_run() {
        let factors = |schedule: &str, steps, at: &[u32]| {
            let schedule = parse(&format!("--schedule {schedule}")).schedule(steps).unwrap();
            at.iter().map(|&step| schedule.factor(step)).collect::<Vec<_>>()
        };
        let near = |found: Vec<f64>, expected: &[f64]| {
            let holds = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12);
            assert!(holds, "{found:?}, not {expected:?}");
        };
        near(factors("constant", 100, &[0, 50, 99]), &[1.0, 1.0, 1.0]);
        near(factors("linear", 100, &[0, 50, 99, 100]), &[1.0, 0.5, 0.01, 0.0]);
        near(factors("polynomial", 100, &[0, 50, 90, 100]), &[1.0, 0.25, 0.01, 0.0]);
        near(factors("cosine-restarts", 140, &[0, 10, 20, 40, 60, 100, 140]), &[1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]);
        near(factors("warmup-cosine", 195, &[0, 4, 9, 10, 195]), &[1.0 / 11.0, 5.0 / 11.0, 10.0 / 11.0, 1.0, 0.0]);
        near(factors("multi-step", 100, &[0, 49, 50, 74, 75, 99]), &[1.0, 1.0, 0.1, 0.1, 0.01, 0.01]);
        near(factors("one-cycle", 100, &[0, 29, 99]), &[1.0 / 25.0, 1.0, 1.0 / 250_000.0]);
        for schedule in ["constant", "linear", "polynomial", "warmup-cosine", "cosine-restarts", "multi-step"] {
            near(factors(schedule, 1, &[0]), &[1.0]);
        }
        near(factors("warmup-cosine", 2, &[0, 1]), &[0.5, 1.0]);
    }

    #[test]
    fn what_ends_keeps_its_last_learning_rate() {
        for kind in ScheduleKind::value_variants() {
            let schedule = kind.over(70);
            let changes = (70..u32::MAX).step_by(1_000_003).any(|step| schedule.factor(step) != schedule.factor(70));
            let changes_before = (0..70).any(|step| schedule.factor(step) != schedule.factor(70));
            assert_eq!(kind.ends(), changes_before && !changes, "{kind:?}");
        }
    }
}

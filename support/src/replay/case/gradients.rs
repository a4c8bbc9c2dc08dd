//! The keys that say what happens to the gradients.

use std::collections::HashMap;

use miadam::{Error, GradOptions, GradScaler};
use serde::Deserialize;

use super::CaseError;
use super::metadata::parse as parse_key;

/// A [`GradScaler`]. An absent field is as in its default.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Scaler {
    init_scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u32,
}

impl Default for Scaler {
    fn default() -> Self {
        let GradScaler { init_scale, growth_factor, backoff_factor, growth_interval } = GradScaler::default();
        Self { init_scale, growth_factor, backoff_factor, growth_interval }
    }
}

impl From<Scaler> for GradScaler {
    fn from(Scaler { init_scale, growth_factor, backoff_factor, growth_interval }: Scaler) -> Self {
        Self { init_scale, growth_factor, backoff_factor, growth_interval }
    }
}

const BOUND: &str = "a number, 0 or above";
const SWITCH: &str = "true or false";
const SCALER: &str = "a JSON object of numbers: init_scale, growth_factor, backoff_factor, growth_interval";

pub fn parse(entries: &HashMap<String, String>) -> Result<GradOptions, CaseError> {
    let defaults = GradOptions::default();
    let switch = |key, default| Ok::<bool, CaseError>(parse_key(entries, key, SWITCH)?.unwrap_or(default));
    let options = GradOptions {
        factor: parse_key(entries, "grad_factor", "a number above 0")?.unwrap_or(defaults.factor),
        clip_norm: parse_key(entries, "max_grad_norm", BOUND)?,
        clip_value: parse_key(entries, "clip_value", BOUND)?,
        skip_non_finite: switch("skip_non_finite", defaults.skip_non_finite)?,
        zero: switch("zero_grads", defaults.zero)?,
        scaler: parse_key::<Scaler>(entries, "scaler", SCALER)?.map(GradScaler::from),
        ..defaults
    };
    options.validate().map_err(in_terms_of_the_file)?;
    Ok(options)
}

/// The crate's error about a field, by the key that the field came from.
fn in_terms_of_the_file(error: Error) -> CaseError {
    let Error::InvalidGradOption { field, value, expected } = error else { return CaseError::GradOptions(error) };
    let (key, subject) = match (field, field.strip_prefix("scaler.")) {
        (_, Some(inner)) => ("scaler", format!("`{inner}`")),
        ("factor", _) => ("grad_factor", "it".to_owned()),
        ("clip_norm", _) => ("max_grad_norm", "it".to_owned()),
        ("clip_value", _) => ("clip_value", "it".to_owned()),
        _ => return CaseError::GradOptions(error),
    };
    CaseError::BadMetadata { key, reason: format!("{subject} is {value}"), expected }
}

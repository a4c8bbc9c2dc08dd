//! The check of one value of a parameter group.

use crate::error::Error;

/// An error about `value`, unless `holds` and it is finite.
pub(in crate::options) fn check(
    group: usize,
    field: &'static str,
    value: f64,
    holds: bool,
    expected: &'static str,
) -> Result<(), Error> {
    // A comparison with NaN is false, so `holds` covers it; infinities need the second test.
    if holds && value.is_finite() { Ok(()) } else { Err(Error::InvalidHyperparam { group, field, value, expected }) }
}

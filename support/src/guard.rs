//! The error scopes around what a device is asked to do.

use miadam::wgpu::{Device, Error, ErrorFilter};

/// Runs `act`, and returns what the device objected to. Outside a scope an error would abort the program.
///
/// # Errors
/// The first objection of the first kind, by the order below.
pub fn guard<T>(device: &Device, act: impl FnOnce() -> T) -> Result<T, Error> {
    let filters = [ErrorFilter::OutOfMemory, ErrorFilter::Internal, ErrorFilter::Validation];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let value = act();
    // Innermost first.
    let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop()));
    match errors.last() {
        None => Ok(value),
        Some(error) => Err(error),
    }
}

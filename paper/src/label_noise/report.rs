//! The tables and pictures of what came out.

use std::error::Error;
use std::path::Path;

use super::Study;
use super::entrants::Entrant;
use crate::lab::Lab;

/// Writes `NAME.csv`, and prints it.
pub fn write(
    _lab: &Lab,
    _study: &Study,
    _name: &str,
    _out: &Path,
    _entrants: &dyn Fn(u32) -> Vec<Entrant>,
) -> Result<(), Box<dyn Error>> {
    Ok(())
}

//! An optimizer's memory as the host sees it: copies of the state, reports, checkpoints.

mod checkpoint;
mod params;
mod report;

#[cfg(feature = "gpu")]
pub(crate) use checkpoint::SavedParam;
#[cfg(feature = "cpu")]
pub(crate) use checkpoint::gains_after;
pub use checkpoint::{Checkpoint, Skipped};
pub(crate) use checkpoint::{Fit, FitParam, Header, HeaderGroup, VERSION};
pub use params::{ParamState, State};
pub use report::{GroupReport, Phase, Report};

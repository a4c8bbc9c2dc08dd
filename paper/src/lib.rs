//! The paper's figures and tables, re-run: is MIAdam worth using, on what, with which settings?
//!
//! | module | |
//! |---|---|
//! | `drawing` | pictures, as SVG |
//! | `flat_minima` | Figure 2: where optimizers end on landscapes of two parameters, how they escape, whether they settle |
//! | `optimizers` | the paper's eleven optimizers over slices: eight baselines, and MIAdam from the crate |
//! | `setting` | an optimizer and all that it is set to, as a row of a table |
//! | `training` | one run: digits with wrong labels, a network, an optimizer, a schedule |
//! | `lab` | many runs, each done once and kept in a table |
//! | `label_noise` | Table 4: accuracy under wrong labels |
//! | `hessian` | how curved the loss is: top eigenvalue, trace and spectral density of its Hessian |
//! | `precision` | state in fewer bits: how far it drifts, and what it costs in accuracy |
//! | `settings` | which settings work: heat maps |
//! | `sharpness` | Figure 3: how flat each optimizer's networks are |
//! | `threads` | many runs at a time, each on one thread |
//! | `stats` | means, deviations, paired differences with their intervals |
//!
//! Each command in `src/bin` makes one of the paper's figures or tables. `docs/PAPER.md` says what came out.

#[cfg(feature = "studies")]
pub mod drawing;
#[cfg(feature = "studies")]
pub mod flat_minima;
#[cfg(feature = "studies")]
pub mod hessian;
#[cfg(feature = "studies")]
pub mod lab;
#[cfg(feature = "studies")]
pub mod label_noise;
pub mod optimizers;
#[cfg(feature = "studies")]
pub mod precision;
#[cfg(feature = "studies")]
pub mod setting;
#[cfg(feature = "studies")]
pub mod settings;
#[cfg(feature = "studies")]
pub mod sharpness;
#[cfg(feature = "studies")]
pub mod stats;
#[cfg(feature = "studies")]
pub mod threads;
#[cfg(feature = "studies")]
pub mod training;

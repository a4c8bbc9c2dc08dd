//! Figure 3 of the paper, re-run: how flat are the networks that each optimizer finds, and does flatness go with accuracy?
//!
//! | file | |
//! |---|---|
//! | `plan` | flags, and what is trained by which settings |
//! | `measure` | top eigenvalue, trace and density of one trained network |
//! | `journal` | what has been done, in a file that a later call goes on from |
//! | `rank` | Spearman's rank correlation |
//! | `summary` | means over seeds, correlations |
//! | `report` | tables and pictures |
//! | `scatter` | accuracy over the top eigenvalue |
//! | `study` | the command |

mod journal;
mod measure;
pub mod plan;
mod rank;
mod report;
mod scatter;
pub mod study;
mod summary;

//! Where optimizers end on landscapes with flat and sharp minima: the paper's Figure 2, its 2,500 starts, and its two theorems.
//!
//! | module | |
//! |---|---|
//! | `landscapes`, `descent` | two losses of two parameters; which minimum a point belongs to |
//! | `contenders` | the optimizers, and the controls that tell the integrals from a larger step or a longer β1 |
//! | `swarm` | all starts as one optimizer step, on the GPU or the CPU |
//! | `ends`, `intervals`, `table` | where they end, counted |
//! | `stability` | why the integrals keep an optimizer moving, and how far |
//! | `escape` | Theorem 1: how long a sharp minimum holds them under gradient noise |
//! | `convergence` | Theorem 2: whether they settle |
//! | `drawing`, `folder`, `noise` | pictures, files, seeded numbers |
//! | `settings`, `study` | what is run, and the running of it |

pub mod contenders;
pub mod convergence;
pub mod descent;
pub mod drawing;
pub mod ends;
pub mod escape;
pub mod folder;
pub mod intervals;
pub mod landscapes;
pub mod noise;
pub mod settings;
pub mod stability;
pub mod study;
pub mod swarm;
pub mod table;

//! The landscapes, the swarms on them, and what is counted.

mod contenders;
mod ends;
mod intervals;
mod landscapes;
mod program;
mod stability;
mod swarm;
mod theorems;

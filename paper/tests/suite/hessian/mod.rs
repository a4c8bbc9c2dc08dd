//! The Hessian against a dense one, against finite differences and against the network that trains.

mod lanczos;
mod product;
mod reference;

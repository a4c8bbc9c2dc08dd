//! The Hessian against a dense one, against finite differences and against the network that trains.

mod hessian {
    mod lanczos;
    mod product;
    pub mod reference;
}

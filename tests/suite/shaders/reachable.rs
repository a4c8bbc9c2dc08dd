//! The variants are all that there can be.

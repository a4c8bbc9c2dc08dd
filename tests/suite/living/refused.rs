//! Calls that are refused change nothing.

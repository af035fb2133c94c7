//! f64 twins.
pub mod conv;

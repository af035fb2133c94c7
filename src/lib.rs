//! contraleak trains image encoders by contrastive learning, measures what they leak about their
//! training data, and trains encoders that leak less, with hand-written WGSL on wgpu.
//!
//! Imports go one way:
//! `cli → experiment → {attack, defence, train, metrics} → {nn, optim, data, augment} → graph →
//! kernels → gpu`. [`rng`], [`error`] and [`files`] may be used from anywhere; [`mod@reference`] by tests only.

pub mod attack;
pub mod augment;
pub mod cli;
pub mod data;
pub mod defence;
pub mod error;
pub mod experiment;
pub mod files;
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod metrics;
pub mod nn;
pub mod optim;
pub mod reference;
pub mod rng;
pub mod train;

pub use error::{Error, Result};

//! Optimisers and learning-rate schedules; minimisation of small problems on the CPU.

pub mod lbfgs;
mod optimizer;
pub mod schedule;

pub use lbfgs::{Lbfgs, Minimum};
pub use optimizer::{Arena, Optimizer};
pub use schedule::{LearningRate, Schedule};

//! Optimisers and learning-rate schedules.

mod optimizer;
pub mod schedule;

pub use optimizer::{Arena, Optimizer};
pub use schedule::{LearningRate, Schedule};

//! Optimisers and learning-rate schedules.

pub mod schedule;

pub use schedule::{LearningRate, Schedule};

//! Whole experiments: from data and encoders to results and a report.

pub mod attribute;
pub mod audit;
pub mod bench;
pub mod demo;
pub mod encodermi;
pub mod features;
pub mod kept_features;
pub mod leaks;
pub mod load;
pub mod membership;
pub mod pace;
pub mod probe;
pub mod report;
mod tell;

pub use tell::Tell;

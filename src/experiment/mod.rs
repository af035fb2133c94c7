//! Whole experiments: from data and encoders to results and a report.

pub mod bench;
pub mod demo;
pub mod encodermi;
pub mod load;
pub mod report;

//! TODO room header

pub mod report;

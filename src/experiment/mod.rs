//! TODO room header

pub mod bench;
pub mod report;

//! Attacks: what an encoder's answers tell about its training data.

pub mod attribute;
pub mod classifier;
pub mod encodermi;
pub mod probe;

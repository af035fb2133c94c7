//! Attacks: what an encoder's answers tell about its training data and about the people in the images.

pub mod attribute;
pub mod baselines;
pub mod blind;
pub mod classifier;
pub mod encodermi;
pub mod membership;
pub mod probe;

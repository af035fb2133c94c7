//! Attacks: what an encoder's answers tell about its training data.

pub mod baselines;
pub mod blind;
pub mod classifier;
pub mod encodermi;
pub mod membership;

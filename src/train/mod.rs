//! Training of encoders: configurations, the training program, checkpoints, and frozen encoders in use; [`learner`] trains small
//! networks in turns.

mod checkpoint;
mod config;
mod encode;
mod images;
pub mod learner;
mod model;
mod run;
mod simclr;

pub use config::{BatchNormScope, CONFIG_FILE, Method, PretrainConfig, SimclrConfig};
pub use encode::{Encoder, Pass, Views};
pub use images::GpuImages;
pub use model::{EncoderConfig, Model, Values, Weights};
pub use run::{Outcome, Progress, RunOptions, pretrain_simclr};
pub use simclr::SimclrTrainer;

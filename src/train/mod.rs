//! Training of encoders: configurations, the training programs, checkpoints, and frozen encoders in use.
//!
//! A method is a file with its settings and its programs ([`simclr`], [`moco`], [`supervised`],
//! [`talos`]); what steps them is the same for all
//! ([`Trainer`]), and so are run folders, checkpoints and resume ([`pretrain()`]). [`learner`] trains small networks in turns.

mod buffers;
mod checkpoint;
mod config;
mod encode;
mod images;
mod key_encoder;
pub mod learner;
pub mod moco;
mod model;
mod pass;
pub mod plan;
mod precision;
mod program;
mod run;
pub mod simclr;
pub mod supervised;
pub mod talos;
mod trainer;

pub use config::{CONFIG_FILE, Place, PretrainConfig, Settings, Start, Training};
pub use encode::{Encoder, Output, PixelInput, Views};
pub use images::{GpuImages, SetSize};
pub use moco::MocoConfig;
pub use model::{AdversaryShape, Attachments, EncoderConfig, Model, Values, Weights};
pub use pass::Pass;
pub use precision::{LossScaling, Precision};
pub use run::{Outcome, Progress, RunOptions, pretrain};
pub use simclr::{BatchNormScope, SimclrConfig};
pub use supervised::SupervisedConfig;
pub use talos::TalosConfig;
pub use trainer::Trainer;

//! Attribute inference: a sensitive attribute of an image from its embedding (overlearning: Song and Shmatikov, ICLR 2020;
//! He and Zhang, CCS 2021).
//!
//! The attacker holds embeddings of auxiliary images with the attribute, trains a classifier on them and applies it to
//! the test embeddings. [`AttributeAttack::run`] trains the published network beside stronger attackers, the baselines
//! that need no model of the victim, and a control with shuffled labels.

mod attackers;
mod baselines;
mod control;
mod finding;
mod inputs;
mod run;
mod settings;

pub use attackers::{adaptive_network, published_network};
pub use finding::{Attacker, AttributeFinding, Baseline, Decensoring, ShuffledLabels, ShuffledRun};
pub use inputs::{Embeddings, Features, Labelled};
pub use run::AttributeAttack;
pub use settings::{AdaptiveSettings, AttributeSettings, PublishedSettings};

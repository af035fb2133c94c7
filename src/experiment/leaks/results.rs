//! What the experiment found: everything that its page shows, in full precision.

use super::config::LeaksConfig;
use super::encoders::Method;
use crate::attack::attribute::AttributeFinding;
use crate::attack::probe::EpochAccuracy;
use crate::experiment::membership::{Family, Found};
use crate::experiment::report::{AdapterSummary, DataSummary, Stage};
use crate::metrics::accountant::DpStatement;
use crate::metrics::{Control, MembershipMetrics, Proportion};
use serde::{Deserialize, Serialize};

/// Version of the layout of [`LeaksResults`].
pub const SCHEMA: u32 = 1;

/// Results of the whole experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaksResults {
    /// Always [`SCHEMA`] when written by this version.
    pub schema: u32,
    /// Tells these results from an audit's: always `contrastive-leaks`.
    pub experiment: String,
    pub tool: String,
    pub version: String,
    pub title: String,
    pub config: LeaksConfig,
    pub data: DataSummary,
    pub task: Classes,
    pub attribute: Classes,
    /// A model of one method in one trial each.
    pub subjects: Vec<Subject>,
    pub defences: Vec<Defence>,
    /// EncoderMI's baselines, which must find nothing, by trial.
    pub baselines: Vec<Baselines>,
    /// What images alone tell about membership, by trial.
    pub blind: Vec<(u64, Control)>,
    pub adapter: AdapterSummary,
    pub wall_time_s: f64,
    pub stages: Vec<Stage>,
    pub warnings: Vec<String>,
}

/// A label of the images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    pub names: Vec<String>,
    /// Images of each class in the pool's four parts of the first trial.
    pub counts: Vec<u64>,
}

/// One method in one trial: how useful its models are and what they leak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub seed: u64,
    pub method: Method,
    /// SHA-256 of the target's and the shadow's encoder file.
    pub encoders: [String; 2],
    pub utility: Utility,
    pub membership: Vec<MembershipAttack>,
    /// The neural attack after learning from shuffled membership labels.
    pub shuffled: Option<Control>,
    /// By the auxiliary set that the attacker has.
    pub attribute: Vec<AttributeFinding>,
    pub seconds: f64,
}

/// Accuracy at the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utility {
    pub target_train: Proportion,
    pub target_test: Proportion,
    pub shadow_train: Proportion,
    pub shadow_test: Proportion,
    /// Target-train minus target-test accuracy.
    pub overfitting_gap: f64,
    /// Logistic regression on the frozen features.
    pub logistic: Proportion,
    /// Weighted nearest neighbours.
    pub neighbours: Proportion,
    /// Accuracies of the linear probe while it trains; empty for supervised models, which bring their classifier.
    pub by_epoch: Vec<EpochAccuracy>,
}

/// One membership attack on the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MembershipAttack {
    pub id: String,
    pub title: String,
    pub family: Family,
    pub metrics: MembershipMetrics,
    pub threshold: Option<f64>,
    /// Mean queries an image, where they are many.
    pub queries: Option<f64>,
    pub warnings: Vec<String>,
}

impl MembershipAttack {
    /// An attack with its metrics; bootstrap from `seed`.
    pub fn new(found: Found, seed: u64) -> MembershipAttack {
        MembershipAttack {
            id: found.id,
            title: found.title,
            family: found.family,
            metrics: MembershipMetrics::compute(&found.result, seed),
            threshold: found.threshold,
            queries: found.queries,
            warnings: found.warnings,
        }
    }
}

/// A defence on the models of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Defence {
    pub seed: u64,
    pub method: Method,
    /// e.g. `olympus`.
    pub id: String,
    pub title: String,
    /// Its settings in force, in words: α, ε, ….
    pub setting: String,
    pub task_accuracy: Proportion,
    /// The strongest of the membership attacks that were run on it, and the neural one.
    pub membership: Vec<MembershipAttack>,
    /// Accuracies of the published and of the logistic attribute attack.
    pub attribute: Vec<(String, Proportion)>,
    pub dp: Option<DpStatement>,
    pub notes: Vec<String>,
}

/// EncoderMI's baselines on the contrastive encoder of one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    pub seed: u64,
    /// Images that the heads were trained on, none of which is evaluated; 0 for none left.
    pub head_images: u64,
    pub attacks: Vec<MembershipAttack>,
}

//! What an attribute attack found: a row an attacker, a row a baseline.

use super::settings::AttributeSettings;
use crate::metrics::attribute::{AttributeMetrics, AttributeResult, GroupAccuracy};
use crate::metrics::{Estimate, Measured, Proportion, Trials};
use serde::{Deserialize, Serialize};

/// One attacker on one feature space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacker {
    /// `mlp-128` (the published one), `logistic`, `knn-200`, `adam-mlp-64`, …; after a prefix for other feature spaces:
    /// `views-`, `projection-`, `decensored-`.
    pub id: String,
    pub title: String,
    /// Whether it goes beyond the published attack.
    pub adaptive: bool,
    /// Share of the auxiliary rows that it decides rightly (nearest neighbours: each row without itself).
    pub training_accuracy: f64,
    pub metrics: AttributeMetrics,
    /// Accuracy within each task class; empty where the task is not known.
    pub by_task: Vec<GroupAccuracy>,
    /// Accuracy minus that of imputation (of the majority baseline where the task is not known), paired bootstrap.
    pub advantage: Estimate,
    /// Answers for each test image.
    #[serde(skip)]
    pub result: Option<AttributeResult>,
}

/// What is reached without the victim's model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `chance`, `majority`, `imputation`, `pixels-logistic`, `pixels-mlp`.
    pub id: String,
    pub title: String,
    pub explanation: String,
    pub accuracy: Measured,
    /// `None` for chance.
    pub metrics: Option<AttributeMetrics>,
}

/// The published attack trained on permuted auxiliary labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShuffledLabels {
    pub runs: Vec<ShuffledRun>,
    /// Accuracy minus expected accuracy over the runs, with a Student t interval of 99 %. Runs differ by more than chance
    /// among test images explains: a network that learned a random rule errs alike on all images that lie together.
    pub excess: Option<Trials>,
    /// Whether that interval holds 0; `None` with fewer than two runs.
    pub at_chance: Option<bool>,
}

/// One permutation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShuffledRun {
    pub accuracy: Proportion,
    pub balanced_accuracy: Option<f64>,
    /// Σ over classes of (share of the predictions)·(share of the labels): the accuracy of answers that know nothing.
    pub expected: f64,
}

/// The map of the de-censoring attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decensoring {
    pub l2: f64,
    /// Share of the variance of uncensored embeddings that the map explains on auxiliary images left out.
    pub explained: f64,
}

/// One attribute attack with its baselines and controls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttributeFinding {
    /// Which set the attacker holds, e.g. `shadow-train` or `target-train`.
    pub auxiliary: String,
    /// Auxiliary images used, after the ratio.
    pub auxiliary_samples: u64,
    pub test_samples: u64,
    pub classes: u64,
    /// `imputation`, or `majority` where the task is not known: what advantages are measured against.
    pub advantage_over: String,
    /// The published attacker first.
    pub attackers: Vec<Attacker>,
    pub baselines: Vec<Baseline>,
    pub shuffled_labels: ShuffledLabels,
    pub decensoring: Option<Decensoring>,
    pub warnings: Vec<String>,
    pub settings: AttributeSettings,
    pub seed: u64,
}

impl AttributeFinding {
    /// The attacker of this id.
    pub fn attacker(&self, id: &str) -> Option<&Attacker> {
        self.attackers.iter().find(|attacker| attacker.id == id)
    }
    /// The baseline of this id.
    pub fn baseline(&self, id: &str) -> Option<&Baseline> {
        self.baselines.iter().find(|baseline| baseline.id == id)
    }
    /// The published attack.
    pub fn published(&self) -> Option<&Attacker> {
        self.attackers.first()
    }
    /// The attacker with the highest test accuracy, the first of equals. It was chosen on the test set, which flatters it.
    pub fn strongest(&self) -> Option<&Attacker> {
        let better = |a: &&Attacker, b: &&Attacker| a.metrics.accuracy.value >= b.metrics.accuracy.value;
        self.attackers.iter().reduce(|a, b| if better(&a, &b) { a } else { b })
    }
}

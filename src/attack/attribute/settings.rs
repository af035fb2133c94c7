//! Constants of the attack, with the published values as defaults.

use crate::attack::probe::{KnnSettings, LogisticSettings, RidgeSettings};
use crate::metrics::REPLICATES;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The published network: d → 128 → 128 → 128 → C with ReLU, weights N(0, 1/fan_in), plain SGD, last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishedSettings {
    pub hidden: Vec<usize>,
    pub learning_rate: f64,
    pub batch: usize,
    pub epochs: u64,
    /// Compatibility: ReLU behind the logits as well. When all of them die, every prediction is class 0.
    pub final_relu: bool,
}

impl Default for PublishedSettings {
    fn default() -> PublishedSettings {
        PublishedSettings {
            hidden: vec![128; 3],
            learning_rate: 0.01,
            batch: 512,
            epochs: 100,
            final_relu: false,
        }
    }
}

/// Stronger networks: standardised features, three hidden layers of one width, Adam (assumed constants).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveSettings {
    /// One attacker for each width.
    pub widths: Vec<usize>,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub batch: usize,
    pub epochs: u64,
}

impl Default for AdaptiveSettings {
    fn default() -> AdaptiveSettings {
        AdaptiveSettings {
            widths: vec![64, 256, 1024],
            learning_rate: 1e-3,
            weight_decay: 1e-4,
            batch: 512,
            epochs: 50,
        }
    }
}

/// Everything that an attack's bits depend on, beside embeddings and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributeSettings {
    /// Share of the auxiliary set that is used, in (0, 1], after a shuffle that the seed fixes.
    pub ratio: f64,
    pub published: PublishedSettings,
    pub adaptive: AdaptiveSettings,
    pub logistic: LogisticSettings,
    pub knn: KnnSettings,
    /// The map of the de-censoring attack.
    pub ridge: RidgeSettings,
    /// Runs of the control with shuffled labels.
    pub shuffles: u32,
    /// Replicates of bootstrap intervals.
    pub replicates: usize,
}

impl Default for AttributeSettings {
    fn default() -> AttributeSettings {
        AttributeSettings {
            ratio: 1.0,
            published: PublishedSettings::default(),
            adaptive: AdaptiveSettings::default(),
            logistic: LogisticSettings::default(),
            knn: KnnSettings::default(),
            ridge: RidgeSettings::default(),
            shuffles: 5,
            replicates: REPLICATES,
        }
    }
}

impl AttributeSettings {
    /// The published network as it was released, with a ReLU behind the logits. What is published about data (auxiliary set
    /// = the encoder's training quarter, random flips while embedding) is the caller's.
    pub fn compat() -> AttributeSettings {
        let published = PublishedSettings { final_relu: true, ..PublishedSettings::default() };
        AttributeSettings { published, ..AttributeSettings::default() }
    }

    /// Rows of an auxiliary set of `rows` that the ratio leaves: ⌊ratio·rows⌋, at least 1.
    ///
    /// # Errors
    /// A ratio outside (0, 1].
    pub fn used(&self, rows: usize) -> Result<usize> {
        if self.ratio.is_nan() || self.ratio <= 0.0 || self.ratio > 1.0 {
            return Err(Error::usage(format!(
                "ratio: expected a share above 0 and at most 1, found {}",
                self.ratio
            )));
        }
        // The small slack undoes the rounding of products like 0.29·100.
        Ok(((self.ratio * rows as f64 + 1e-9).floor() as usize).max(1))
    }
}

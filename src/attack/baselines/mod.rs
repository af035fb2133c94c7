//! What classifier and embedding attacks find when they are adapted to an encoder: the comparison of EncoderMI
//! (H. Liu et al., ACM CCS 2021), which reports that all of them are close to guessing.
//!
//! | | attack | here |
//! |---|---|---|
//! | A | a network on the largest posteriors of a downstream head | [`confidence_network`] |
//! | B | the feature vector treated as posteriors | [`encoder_as_classifier`] |
//! | C | whether the head is right on each of several views | [`label_only`] |
//! | D | thresholds on numbers of the head's posteriors | [`head_metrics`] |
//! | E | several views' embeddings, joined or averaged | [`multi_view`] |
//! | F | A and D with the head fitted on the members | [`Setting::HeadOnMembers`] |
//! | G | blind differential comparison, without a shadow model | [`differential`] |
//!
//! The paper names neither its baselines nor their constants, so the list and every number here are assumed. Heads
//! are fitted on labelled data disjoint from all audited and shadow samples, so that only the encoder can leak; F is
//! the exception.

mod confidence;
pub mod differential;
mod features;
mod label_only;

pub use confidence::{Setting, confidence_network, head_metrics};
pub use features::{ViewFeatures, encoder_as_classifier, multi_view};
pub use label_only::{correctness_bits, label_only};

use crate::attack::membership::network::NetworkSettings;
use crate::attack::membership::{Four, Inference, Outcome};
use crate::{Result, attack::encodermi::exact_threshold};
use serde::{Deserialize, Serialize};

/// One baseline with what it found, ready for a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// e.g. `baseline-a`.
    pub id: String,
    pub title: String,
    /// What it does, in a sentence.
    pub explanation: String,
    pub outcome: Outcome,
}

impl Baseline {
    fn new(id: &str, title: &str, explanation: &str, outcome: Outcome) -> Baseline {
        Baseline { id: id.into(), title: title.into(), explanation: explanation.into(), outcome }
    }
}

/// How the baselines' networks are trained. Only their widths are given; rate, batch and epochs are those of the
/// membership attack on posteriors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaselineSettings {
    /// Posteriors that A sees, fewer where the head has fewer classes.
    pub top: usize,
    pub learning_rate: f64,
    pub batch: usize,
    pub epochs: u64,
}

impl Default for BaselineSettings {
    fn default() -> BaselineSettings {
        let NetworkSettings { learning_rate, batch, epochs, .. } = NetworkSettings::default();
        BaselineSettings { top: 3, learning_rate, batch, epochs }
    }
}

impl BaselineSettings {
    /// A network with these hidden widths.
    fn network(&self, hidden: &[usize]) -> NetworkSettings {
        NetworkSettings {
            hidden: hidden.to_vec(),
            learning_rate: self.learning_rate,
            batch: self.batch,
            epochs: self.epochs,
            ..NetworkSettings::default()
        }
    }
}

/// Member iff the score is at least the threshold of best shadow accuracy.
fn by_threshold(scores: &Four<Vec<f64>>) -> Result<Outcome> {
    let found = exact_threshold(&scores.shadow_members, &scores.shadow_non_members)?;
    let decide = |scores: &[f64]| Inference {
        scores: scores.to_vec(),
        decisions: scores.iter().map(|&s| s >= found.value).collect(),
    };
    Outcome::new(
        decide(&scores.target_members),
        decide(&scores.target_non_members),
        Some(found.value).filter(|t| t.is_finite()),
        Some(found.training_accuracy),
    )
}

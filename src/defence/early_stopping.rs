//! Early stopping: of a sweep over checkpoints, the one that trained least among those that serve the task well enough. Fewer epochs
//! mean a smaller gap between members and non-members.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which checkpoint is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingSettings {
    /// Accuracy below the best that is given up for fewer epochs.
    pub tolerance: f64,
}

impl Default for EarlyStoppingSettings {
    fn default() -> EarlyStoppingSettings {
        EarlyStoppingSettings { tolerance: 0.01 }
    }
}

/// A checkpoint and its accuracy on data that is neither trained on nor reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    pub epoch: u64,
    pub accuracy: f64,
}

/// The earliest checkpoint whose accuracy is within the tolerance of the best.
///
/// # Errors
/// No checkpoint, or an accuracy or tolerance that is no number.
pub fn earliest(settings: &EarlyStoppingSettings, checkpoints: &[Checkpoint]) -> Result<Checkpoint> {
    let best = checkpoints.iter().map(|c| c.accuracy).fold(f64::NEG_INFINITY, f64::max);
    checkpoints
        .iter()
        .filter(|c| c.accuracy >= best - settings.tolerance)
        .min_by_key(|c| c.epoch)
        .copied()
        .ok_or_else(|| Error::usage(format!("early stopping: no checkpoint to keep among {checkpoints:?}")))
}

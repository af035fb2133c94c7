//! Attack by a neural network on the largest posteriors (Salem et al., NDSS 2019, as He and Zhang use it).

use super::network::{self, NetworkSettings};
use super::{Four, Outcome, Posteriors, Rows};
use crate::gpu::Gpu;
use crate::metrics::Control;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings with the published values as defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeuralSettings {
    /// k, the number of posteriors that the attacker sees: 1 to 10, at most the number of classes.
    pub top: usize,
    pub network: NetworkSettings,
}

impl Default for NeuralSettings {
    fn default() -> NeuralSettings {
        NeuralSettings { top: 2, network: NetworkSettings::default() }
    }
}

/// Permutations of the control with shuffled labels.
pub const PERMUTATIONS: u32 = 5;

/// The largest k.
const MOST: usize = 10;

impl NeuralSettings {
    /// `compat: contrastive-leaks`, artefact 1: a ReLU on the two logits.
    pub fn compat() -> NeuralSettings {
        let network = NetworkSettings { final_relu: true, ..NetworkSettings::default() };
        NeuralSettings { network, ..NeuralSettings::default() }
    }

    /// A sample's row: its `top` largest posteriors in descending order, and 1 if its prediction is right, else 0.
    ///
    /// # Errors
    /// [`Error::Usage`] for a `top` outside 1 to 10 or above the number of classes.
    pub fn features(&self, posteriors: &Posteriors) -> Result<Rows> {
        if self.top > MOST {
            return Err(Error::usage(format!(
                "neural membership attack: expected 1 to {MOST} posteriors, found {}",
                self.top
            )));
        }
        let top = posteriors.top(self.top)?;
        let rows = top.iter().zip(posteriors.correct());
        let values =
            rows.flat_map(|(row, right)| row.iter().copied().chain([f32::from(u8::from(right))])).collect();
        Rows::new(self.top + 1, values)
    }
}

/// Trains on the shadow model's posteriors and decides about the target's.
///
/// # Errors
/// Empty sets, classes that differ, settings that make no sense, [`Error::Diverged`].
pub fn attack(
    gpu: &Gpu,
    posteriors: &Four<Posteriors>,
    settings: &NeuralSettings,
    seed: u64,
) -> Result<Outcome> {
    network::attack(gpu, &rows(posteriors, settings)?, &settings.network, seed)
}

/// Control: see [`network::shuffled_labels`]; [`PERMUTATIONS`] is the usual number.
///
/// # Errors
/// As [`attack`].
pub fn shuffled_labels(
    gpu: &Gpu,
    posteriors: &Four<Posteriors>,
    settings: &NeuralSettings,
    permutations: u32,
    seed: u64,
) -> Result<Option<Control>> {
    network::shuffled_labels(gpu, &rows(posteriors, settings)?, &settings.network, permutations, seed)
}

fn rows(posteriors: &Four<Posteriors>, settings: &NeuralSettings) -> Result<Four<Rows>> {
    posteriors.classes()?;
    posteriors.try_map(|set| settings.features(set))
}

//! AttriGuard on embeddings (after Jia and Gong, "AttriGuard: A Practical Defense Against Attribute Inference Attacks via Adversarial
//! Machine Learning", USENIX Security 2018): small changes that fool a classifier of the defender's own.
//!
//! [`embedding`] moves every embedding towards a uniform guess by gradient descent; [`two_phase`] is the original's form: the smallest
//! change for each class, then a random choice among them.

pub mod embedding;
pub mod two_phase;

pub use embedding::{AttriGuardSettings, Guarded, guard_embeddings};
pub use two_phase::{Cost, TwoPhaseSettings, class_distribution, guard_two_phase};

use super::network::{self, NetworkTraining, Target};
use super::{Rows, dense::Dense};
use crate::gpu::Gpu;
use crate::optim::Optimizer;
use crate::train::Values;
use crate::{Error, Result};

/// The defender's classifier of the attribute, d→64→32→C_s, with what it knows of its data.
#[derive(Clone, Debug)]
pub struct Defender {
    pub values: Values,
    network: Dense,
    pub width: usize,
    pub hidden: Vec<usize>,
    /// Share of each class in the defender's data.
    pub prior: Vec<f64>,
    /// Smallest and largest value of each feature in the defender's data.
    pub range: Vec<[f32; 2]>,
}

impl Defender {
    /// The published widths; Adam 1e-3, batches of 256, 100 epochs.
    pub fn default_training() -> NetworkTraining {
        NetworkTraining {
            hidden: vec![64, 32],
            optimizer: Optimizer::adam(0.0),
            learning_rate: 1e-3,
            batch: 256,
            epochs: 100,
            seed: 0,
        }
    }

    /// Trains on the defender's own embeddings and their attribute.
    ///
    /// # Errors
    /// Labels that do not fit; fewer than two classes; [`Error::Diverged`].
    pub fn train(
        gpu: &Gpu,
        training: &NetworkTraining,
        features: &Rows,
        attributes: &[u32],
        classes: usize,
    ) -> Result<Defender> {
        if classes < 2 {
            return Err(Error::usage(format!("attriguard: expected at least two classes, found {classes}")));
        }
        let values = network::train(gpu, training, features, Target::Classes(attributes, classes))?;
        let mut prior = vec![0.0; classes];
        attributes.iter().for_each(|&class| prior[class as usize] += 1.0 / attributes.len() as f64);
        let mut range = vec![[f32::INFINITY, f32::NEG_INFINITY]; features.width];
        for row in features.iter() {
            for (range, &value) in range.iter_mut().zip(row) {
                *range = [range[0].min(value), range[1].max(value)];
            }
        }
        let network = Dense::from_values(&values, "")?;
        Ok(Defender { values, network, width: features.width, hidden: training.hidden.clone(), prior, range })
    }

    pub fn classes(&self) -> usize {
        self.prior.len()
    }

    /// The network in f64.
    pub fn network(&self) -> &Dense {
        &self.network
    }

    fn check(&self, features: &Rows) -> Result<()> {
        if features.width != self.width {
            return Err(Error::shape(format!(
                "attriguard: the defender was trained on rows of {}, found rows of {}",
                self.width, features.width
            )));
        }
        Ok(())
    }
}

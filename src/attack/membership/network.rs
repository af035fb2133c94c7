//! A network that tells members from non-members by rows of numbers, and its control with shuffled labels.

use super::{Four, Inference, Outcome, Rows, accuracy};
use crate::attack::classifier::{Architecture, Classifier, Training};
use crate::gpu::Gpu;
use crate::kernels::elementwise::Unary;
use crate::metrics::{Control, MembershipMetrics};
use crate::nn::LinearInit;
use crate::optim::Optimizer;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A fully connected network with ReLU between its layers, weights N(0, 1/fan_in), zero biases; mean cross-entropy,
/// Adam; the last epoch is used. Defaults are those of He and Zhang's attack network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Widths between input and the two outputs.
    pub hidden: Vec<usize>,
    pub learning_rate: f64,
    pub batch: usize,
    pub epochs: u64,
    /// λ of λ·Σ‖W‖² over weight matrices.
    pub weight_penalty: f64,
    /// `compat: contrastive-leaks`: a ReLU on the two logits too. When both die, every answer is "non-member".
    pub final_relu: bool,
}

impl Default for NetworkSettings {
    fn default() -> NetworkSettings {
        NetworkSettings {
            hidden: vec![32, 32],
            learning_rate: 1e-3,
            batch: 256,
            epochs: 100,
            weight_penalty: 0.0,
            final_relu: false,
        }
    }
}

impl NetworkSettings {
    /// The classifier for rows of `width` numbers, and its training.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting that makes no sense.
    pub fn plan(&self, width: usize, seed: u64) -> Result<(Architecture, Training)> {
        if self.hidden.contains(&0) {
            return Err(Error::usage("attack network: expected hidden widths of at least 1, found 0"));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return Err(Error::usage(format!(
                "attack network: expected a learning rate above 0, found {}",
                self.learning_rate
            )));
        }
        let widths = [&[width], self.hidden.as_slice(), &[2]].concat();
        let architecture = Architecture::Mlp {
            widths,
            activation: Unary::Relu,
            init: LinearInit::FanIn,
            last: self.final_relu.then_some(Unary::Relu),
        };
        let training = Training {
            batch: self.batch,
            epochs: self.epochs,
            learning_rate: self.learning_rate,
            decay_every: None,
            optimizer: Optimizer::adam(0.0),
            weight_penalty: self.weight_penalty,
            clip: None,
            keep_partial: true,
            seed,
        };
        Ok((architecture, training))
    }
}

/// A trained network.
pub struct Network {
    classifier: Classifier,
}

impl Network {
    /// Trains on `rows` with a label each, 1 for members.
    ///
    /// # Errors
    /// Rows that do not fit their labels, settings that make no sense, [`Error::Diverged`].
    pub fn train(
        gpu: &Gpu,
        settings: &NetworkSettings,
        rows: &Rows,
        labels: &[u32],
        seed: u64,
    ) -> Result<Network> {
        let (architecture, training) = settings.plan(rows.width(), seed)?;
        let classifier = Classifier::train(gpu, &architecture, &training, rows.values(), labels, None)?;
        Ok(Network { classifier })
    }

    /// Score logit₁ − logit₀ of each row; decision argmax, "non-member" on a tie.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn infer(&self, gpu: &Gpu, rows: &Rows) -> Result<Inference> {
        let logits = self.classifier.logits(gpu, rows.values())?;
        let scores: Vec<f64> = logits.chunks(2).map(|l| f64::from(l[1]) - f64::from(l[0])).collect();
        let decisions = scores.iter().map(|&s| s > 0.0).collect();
        Ok(Inference { scores, decisions })
    }
}

/// Trains on the shadow sets and decides about the target's.
///
/// # Errors
/// Empty sets, widths that differ, settings that make no sense, [`Error::Diverged`].
pub fn attack(gpu: &Gpu, rows: &Four<Rows>, settings: &NetworkSettings, seed: u64) -> Result<Outcome> {
    let (shadow, labels) = shadow(rows)?;
    decide(gpu, rows, &Network::train(gpu, settings, &shadow, &labels, seed)?)
}

/// Control: the same attack trained on permuted shadow membership labels, `permutations` times. Its mean AUC is ½
/// whatever the target leaks. `None` without permutations.
///
/// # Errors
/// As [`attack`].
pub fn shuffled_labels(
    gpu: &Gpu,
    rows: &Four<Rows>,
    settings: &NetworkSettings,
    permutations: u32,
    seed: u64,
) -> Result<Option<Control>> {
    let (shadow, labels) = shadow(rows)?;
    let mut runs = Vec::new();
    for run in 0..permutations {
        let order = permutation(Key::from_seed(seed).stream(Stream::Attack, run), labels.len());
        let permuted: Vec<u32> = order.iter().map(|&i| labels[i]).collect();
        let seed = seed.wrapping_add(1 + u64::from(run));
        let network = Network::train(gpu, settings, &shadow, &permuted, seed)?;
        let outcome = decide(gpu, rows, &network)?;
        runs.push(MembershipMetrics::compute_with(&outcome.result, CONTROL_REPLICATES, seed));
    }
    Ok(Control::repeated("shuffled-labels", "Shuffled labels", SHUFFLED, &runs))
}

/// Only means over runs are kept of a control, so few bootstrap replicates do.
const CONTROL_REPLICATES: usize = 200;

const SHUFFLED: &str = "The attack was trained with membership labels in random order, several times. It must then \
                        guess: what it still finds is chance.";

/// Members' and then non-members' rows of the shadow model, with labels.
fn shadow(rows: &Four<Rows>) -> Result<(Rows, Vec<u32>)> {
    let width = rows.width()?;
    let (members, others) = (&rows.shadow_members, &rows.shadow_non_members);
    let labels = (0..members.len() + others.len()).map(|i| u32::from(i < members.len())).collect();
    Ok((Rows::new(width, [members.values(), others.values()].concat())?, labels))
}

fn decide(gpu: &Gpu, rows: &Four<Rows>, network: &Network) -> Result<Outcome> {
    let all = rows.try_map(|set| network.infer(gpu, set))?;
    let right = accuracy(&all.shadow_members.decisions, &all.shadow_non_members.decisions);
    Outcome::new(all.target_members, all.target_non_members, None, Some(right))
}

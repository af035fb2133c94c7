//! The inference classifiers: trained on a shadow encoder's features, applied to a target's.

use super::features::MembershipFeatures;
use super::settings::{Settings, Variant};
use super::threshold::{Threshold, exact_threshold, grid501_threshold};
use crate::attack::classifier::{Architecture, Classifier, Training};
use crate::gpu::Gpu;
use crate::kernels::elementwise::Unary;
use crate::nn::LinearInit;
use crate::optim::Optimizer;
use crate::rng::{Key, uniform};
use crate::{Error, Result};

/// A trained inference classifier.
pub struct Inferrer {
    pub variant: Variant,
    rule: Rule,
    /// Similarities of an image.
    pairs: usize,
    /// Share of the shadow images that it decides rightly.
    pub training_accuracy: f64,
}

enum Rule {
    Vector(Classifier),
    Set(Classifier),
    PointSet(Classifier),
    Mean(Threshold),
}

/// Scores and decisions, one for each image; larger scores say member.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    pub scores: Vec<f64>,
    pub decisions: Vec<bool>,
}

impl Inferrer {
    /// Trains `variant` on the features of shadow members and shadow non-members.
    ///
    /// # Errors
    /// Empty groups, or features of another number of pairs than the settings'.
    pub fn train(
        gpu: &Gpu,
        variant: Variant,
        settings: &Settings,
        members: &MembershipFeatures,
        nonmembers: &MembershipFeatures,
        seed: u64,
    ) -> Result<Inferrer> {
        let pairs = settings.pairs();
        if members.images() == 0
            || nonmembers.images() == 0
            || members.pairs != pairs
            || nonmembers.pairs != pairs
        {
            return Err(Error::shape(format!(
                "EncoderMI-{variant}: expected shadow members and non-members with {pairs} similarities each, found {} with {} and {} with {}",
                members.images(),
                members.pairs,
                nonmembers.images(),
                nonmembers.pairs
            )));
        }
        let rows: Vec<f32> = members.sorted.iter().chain(&nonmembers.sorted).copied().collect();
        let mut labels = vec![1u32; members.images()];
        labels.resize(members.images() + nonmembers.images(), 0);
        Inferrer::train_on(gpu, variant, settings, &rows, &labels, seed)
    }

    /// The same on rows with labels, 1 for members (controls permute them).
    pub fn train_on(
        gpu: &Gpu,
        variant: Variant,
        settings: &Settings,
        rows: &[f32],
        labels: &[u32],
        seed: u64,
    ) -> Result<Inferrer> {
        let pairs = settings.pairs();
        if labels.is_empty() || rows.len() != labels.len() * pairs {
            return Err(Error::shape(format!(
                "EncoderMI-{variant}: {} numbers do not make {} rows of {pairs} similarities",
                rows.len(),
                labels.len()
            )));
        }
        let rule = match variant {
            Variant::V => {
                let (architecture, training) = vector(settings, seed);
                Rule::Vector(Classifier::train(gpu, &architecture, &training, rows, labels, None)?)
            }
            Variant::S if settings.compat_deepsets => {
                let (architecture, training) = point_set(settings, seed);
                let rows: Vec<f32> = rows.chunks(pairs).flat_map(points).collect();
                Rule::PointSet(Classifier::train(
                    gpu,
                    &architecture,
                    &training,
                    &rows,
                    labels,
                    Some(&|batch, key| turn(batch, pairs, key)),
                )?)
            }
            Variant::S => {
                let (architecture, training) = set(settings, seed);
                Rule::Set(Classifier::train(gpu, &architecture, &training, rows, labels, None)?)
            }
            Variant::T => {
                let means = |label| -> Vec<f64> {
                    let of_label = rows.chunks(pairs).zip(labels).filter(|(_, l)| **l == label);
                    of_label.map(|(row, _)| mean(row)).collect()
                };
                let find = if settings.compat_grid501 { grid501_threshold } else { exact_threshold };
                Rule::Mean(find(&means(1), &means(0))?)
            }
        };
        let mut inferrer = Inferrer { variant, rule, pairs, training_accuracy: f64::NAN };
        let decided = inferrer.decide(gpu, rows, pairs)?.decisions;
        let right = decided.iter().zip(labels).filter(|(d, l)| **d == (**l == 1)).count();
        inferrer.training_accuracy = right as f64 / labels.len() as f64;
        Ok(inferrer)
    }

    /// The threshold of T.
    pub fn threshold(&self) -> Option<f64> {
        match &self.rule {
            Rule::Mean(threshold) => Some(threshold.value),
            _ => None,
        }
    }

    /// Scores and decisions for target images.
    pub fn infer(&self, gpu: &Gpu, features: &MembershipFeatures) -> Result<Inference> {
        self.decide(gpu, &features.sorted, features.pairs)
    }

    fn decide(&self, gpu: &Gpu, rows: &[f32], pairs: usize) -> Result<Inference> {
        if pairs != self.pairs {
            return Err(Error::shape(format!(
                "EncoderMI-{}: trained on {} similarities of each image, found {pairs}",
                self.variant, self.pairs
            )));
        }
        let logits = match &self.rule {
            Rule::Vector(classifier) | Rule::Set(classifier) => classifier.logits(gpu, rows)?,
            Rule::PointSet(classifier) => {
                let points: Vec<f32> = rows.chunks(pairs).flat_map(points).collect();
                classifier.logits(gpu, &points)?
            }
            Rule::Mean(threshold) => {
                let scores: Vec<f64> = rows.chunks(pairs).map(mean).collect();
                let decisions = scores.iter().map(|&s| s >= threshold.value).collect();
                return Ok(Inference { scores, decisions });
            }
        };
        let scores: Vec<f64> = logits.chunks(2).map(|l| f64::from(l[1]) - f64::from(l[0])).collect();
        let decisions = scores.iter().map(|&s| s > 0.0).collect();
        Ok(Inference { scores, decisions })
    }
}

fn mean(row: &[f32]) -> f64 {
    row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64
}

/// Network and training of V.
fn vector(settings: &Settings, seed: u64) -> (Architecture, Training) {
    let s = &settings.vector;
    let widths = vec![settings.pairs(), s.hidden, s.hidden, 2];
    let training = Training {
        batch: s.batch,
        epochs: s.epochs,
        learning_rate: s.learning_rate,
        decay_every: None,
        optimizer: Optimizer::adam(0.0),
        weight_penalty: s.weight_penalty,
        clip: None,
        keep_partial: true,
        seed,
    };
    let architecture =
        Architecture::Mlp { widths, activation: Unary::Tanh, init: LinearInit::Glorot, last: None };
    (architecture, training)
}

/// Network and training of S.
fn set(settings: &Settings, seed: u64) -> (Architecture, Training) {
    let s = &settings.set;
    let training = Training {
        batch: s.batch,
        epochs: s.epochs,
        learning_rate: s.learning_rate,
        decay_every: None,
        optimizer: Optimizer::adam(s.weight_decay),
        weight_penalty: 0.0,
        clip: Some(s.clip),
        keep_partial: true,
        seed,
    };
    (Architecture::DeepSets { elements: settings.pairs(), width: s.width, dropout: s.dropout }, training)
}

/// Network and training of S in the public pipeline: ε = 1e-3, rate × 0.1 every 400 epochs, a partial last batch dropped.
fn point_set(settings: &Settings, seed: u64) -> (Architecture, Training) {
    let s = &settings.set;
    let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-3, weight_decay: s.weight_decay };
    let training = Training {
        batch: s.batch,
        epochs: s.epochs,
        learning_rate: s.learning_rate,
        decay_every: Some(400),
        optimizer,
        weight_penalty: 0.0,
        clip: Some(s.clip),
        keep_partial: false,
        seed,
    };
    (Architecture::PointSets { elements: settings.pairs(), width: s.width, dropout: s.dropout }, training)
}

/// A set of similarities as points (0, 0, s): clipped to ±100·mean|x|, minus the mean, over the population standard
/// deviation, each taken over all points and coordinates together.
fn points(row: &[f32]) -> Vec<f32> {
    let mut all: Vec<f64> = row.iter().flat_map(|&s| [0.0, 0.0, f64::from(s)]).collect();
    let count = all.len() as f64;
    let bound = 100.0 * all.iter().map(|v| v.abs()).sum::<f64>() / count;
    all.iter_mut().for_each(|v| *v = v.clamp(-bound, bound));
    let mean = all.iter().sum::<f64>() / count;
    let deviation = (all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    all.into_iter().map(|v| ((v - mean) / deviation.max(1e-12)) as f32).collect()
}

/// Turns each set of a batch about the third axis by U(−0.1π, 0.1π) and scales each axis by U(0.8, 1.25).
fn turn(batch: &mut [f32], elements: usize, key: Key) {
    for (index, set) in batch.chunks_mut(elements * 3).enumerate() {
        let draw = |number| key.draw(index as u32, 0, number).map(uniform);
        let ([angle, x], [y, z]) = (draw(0), draw(1));
        let (sin, cos) = ((2.0 * angle - 1.0) * 0.1 * std::f32::consts::PI).sin_cos();
        let scale = [x, y, z].map(|u| 0.8 + 0.45 * u);
        for point in set.chunks_mut(3) {
            let (a, b) = (point[0], point[1]);
            point[0] = (cos * a - sin * b) * scale[0];
            point[1] = (sin * a + cos * b) * scale[1];
            point[2] *= scale[2];
        }
    }
}

//! DP-SGD on the linear probe (Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1).
//!
//! Poisson samples, exact clipping of each example's gradient, Gaussian noise by counter. For a linear layer the gradient of one
//! example is (p − y) ⊗ [h, 1], so its norm is ‖p − y‖·√(‖h‖² + 1) and no gradient of one example is ever stored. The sums run in f64 on
//! the CPU: a Poisson sample has a different size in every step, and what the clipping promises should not hang on f32 sums.
//!
//! The statement is about the labels and embeddings that the probe is trained on. It says nothing about the encoder: for that the
//! encoder must not have been trained on the same examples. It holds as long as the seed is secret, because noise is drawn from it.

use super::{Rows, check_labels};
use crate::attack::probe::LinearHead;
use crate::metrics::accountant::{Accountant, DpStatement, noise_multiplier_for};
use crate::rng::{Key, Stream, normal};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Target ε and training of the probe. {1, 4, 8, 16} are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpSgdSettings {
    pub epsilon: f64,
    pub delta: f64,
    /// Largest norm of one example's gradient.
    pub clip: f64,
    /// Expected size of a Poisson sample.
    pub batch: usize,
    pub epochs: u64,
    pub learning_rate: f64,
    /// Kept secret, or the statement does not hold.
    pub seed: u64,
}

impl Default for DpSgdSettings {
    fn default() -> DpSgdSettings {
        DpSgdSettings {
            epsilon: 8.0,
            delta: 1e-5,
            clip: 1.0,
            batch: 256,
            epochs: 30,
            learning_rate: 0.5,
            seed: 0,
        }
    }
}

/// A linear probe and what is promised about the examples it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct DpProbe {
    pub head: LinearHead,
    pub statement: DpStatement,
}

/// W and b, one row `[W_c, b_c]` a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    pub rows: Vec<f64>,
    pub width: usize,
}

impl Affine {
    fn logits<'a>(&'a self, h: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        self.rows
            .chunks(self.width + 1)
            .map(move |row| row[self.width] + row.iter().zip(h).map(|(w, &x)| w * f64::from(x)).sum::<f64>())
    }

    /// p − y of one example, times min(1, clip / norm of its gradient).
    fn clipped_residual(&self, h: &[f32], label: u32, clip: f64) -> Vec<f64> {
        let mut residual: Vec<f64> = self.logits(h).collect();
        let largest = residual.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        residual.iter_mut().for_each(|r| *r = (*r - largest).exp());
        let sum: f64 = residual.iter().sum();
        residual.iter_mut().for_each(|r| *r /= sum);
        residual[label as usize] -= 1.0;
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let input = square(&mut h.iter().map(|&x| f64::from(x))) + 1.0;
        let norm = (square(&mut residual.iter().copied()) * input).sqrt();
        let factor = if norm > clip { clip / norm } else { 1.0 };
        residual.iter_mut().for_each(|r| *r *= factor);
        residual
    }

    /// Σ over `chosen` of the clipped gradients of the cross-entropy, in the layout of [`Affine::rows`]; no example adds more than
    /// `clip` to its norm. Sums run in the order of `chosen`.
    pub fn clipped_sum(&self, features: &Rows, labels: &[u32], chosen: &[usize], clip: f64) -> Vec<f64> {
        let residuals: Vec<Vec<f64>> =
            chosen.par_iter().map(|&i| self.clipped_residual(features.row(i), labels[i], clip)).collect();
        let mut sum = vec![0.0; self.rows.len()];
        sum.par_chunks_mut(self.width + 1).enumerate().for_each(|(class, row)| {
            for (&i, residual) in chosen.iter().zip(&residuals) {
                let factor = residual[class];
                row.iter_mut().zip(features.row(i)).for_each(|(s, &x)| *s += factor * f64::from(x));
                row[self.width] += factor;
            }
        });
        sum
    }
}

/// The examples of one step: each is in with probability `rate`, by itself.
pub fn poisson_sample(key: Key, rate: f64, count: usize) -> Vec<usize> {
    let included = |&i: &usize| (f64::from(key.draw(i as u32, 0, 0)[0]) + 0.5) / 4_294_967_296.0 < rate;
    (0..count).filter(included).collect()
}

/// Trains a probe with (ε, δ)-differential privacy for adding or removing one example.
///
/// # Errors
/// Labels that do not fit; settings out of range; an ε that no noise reaches; [`Error::Diverged`].
pub fn train(settings: &DpSgdSettings, features: &Rows, labels: &[u32], classes: usize) -> Result<DpProbe> {
    let (count, width) = (features.count(), features.width);
    check_labels("dp-sgd", labels, count, classes)?;
    let positive = |v: f64| v > 0.0 && v.is_finite();
    if classes == 0
        || settings.batch == 0
        || settings.epochs == 0
        || ![settings.clip, settings.learning_rate, settings.epsilon].into_iter().all(positive)
    {
        return Err(Error::usage(format!(
            "dp-sgd: expected a class, a batch, an epoch, and epsilon, clip and learning_rate above 0, found {classes} \
             classes and {settings:?}"
        )));
    }
    let rate = (settings.batch as f64 / count as f64).min(1.0);
    let steps = (settings.epochs as f64 / rate).ceil() as u64;
    let sigma = noise_multiplier_for(rate, steps, settings.delta, settings.epsilon)?;
    let statement = Accountant::new(rate, sigma, steps)?.statement(settings.delta, true)?;
    let mut affine = Affine { rows: vec![0.0; classes * (width + 1)], width };
    let key = Key::from_seed(settings.seed);
    let noise = sigma * settings.clip;
    // The expected size of a sample, not the actual one, which is private.
    let factor = settings.learning_rate / (rate * count as f64);
    for step in 0..steps {
        let key = key.stream(Stream::Defence, step as u32);
        let chosen = poisson_sample(key, rate, count);
        let sum = affine.clipped_sum(features, labels, &chosen, settings.clip);
        for (i, (w, g)) in affine.rows.iter_mut().zip(sum).enumerate() {
            *w -= factor * (g + noise * normal(key.draw(i as u32, 1, 0)));
        }
    }
    if let Some(weight) = affine.rows.iter().find(|w| !w.is_finite()) {
        return Err(Error::Diverged(format!("dp-sgd: a weight became {weight}; try a lower learning rate")));
    }
    let rows = affine.rows.chunks(width + 1);
    let weight = rows.clone().flat_map(|row| &row[..width]).map(|&w| w as f32).collect();
    let bias = rows.map(|row| row[width] as f32).collect();
    Ok(DpProbe { head: LinearHead::new(weight, bias, width)?, statement })
}

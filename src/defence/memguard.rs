//! MemGuard: noise on posteriors that leaves a membership classifier undecided and the predicted class as it is (Jia, Salem, Backes,
//! Zhang, Gong, "MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial Examples", CCS 2019).

use super::dense::Dense;
use super::network::{self, NetworkTraining, Target};
use super::{Rows, argmax, content_key};
use crate::gpu::Gpu;
use crate::optim::Optimizer;
use crate::rng::{Stream, uniform};
use crate::train::Values;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Per query c₁·|NN logit| + c₂·relu(largest other logit − top logit) + c₃·‖change of the posteriors‖₁ is minimised in logit space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemGuardSettings {
    /// The defence classifier: sorted posteriors C→256→128→64→1.
    pub network: NetworkTraining,
    pub c1: f64,
    pub c2: f64,
    /// The first c₃; it grows tenfold up to `c3_last` for as long as the search succeeds.
    pub c3: f64,
    pub c3_last: f64,
    /// Length of a step.
    pub step: f64,
    pub steps: usize,
    /// Of the release.
    pub seed: u64,
}

impl Default for MemGuardSettings {
    fn default() -> MemGuardSettings {
        MemGuardSettings {
            network: NetworkTraining {
                hidden: vec![256, 128, 64],
                optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
                learning_rate: 1e-3,
                batch: 64,
                epochs: 400,
                seed: 0,
            },
            c1: 1.0,
            c2: 10.0,
            c3: 0.1,
            c3_last: 1e5,
            step: 0.1,
            steps: 300,
            seed: 0,
        }
    }
}

/// The distortion budgets that are compared.
pub const EPSILONS: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 1.0];

/// A defence classifier and its settings.
#[derive(Clone, Debug)]
pub struct MemGuard {
    settings: MemGuardSettings,
    network: Dense,
    classes: usize,
}

/// One query before its release: what was found once serves every ε.
#[derive(Clone, Debug, PartialEq)]
pub struct Protected {
    pub original: Vec<f32>,
    /// Posteriors that the defence classifier cannot decide on; the original ones where none were found or they bring
    /// the classifier no nearer to ½.
    pub perturbed: Vec<f32>,
    /// ‖perturbed − original‖₁.
    pub distortion: f64,
}

/// Posteriors sorted from the largest down: what the defence classifier sees.
fn sorted<T: PartialOrd + Copy>(posteriors: &[T]) -> (Vec<T>, Vec<usize>) {
    let mut order: Vec<usize> = (0..posteriors.len()).collect();
    order.sort_by(|&a, &b| posteriors[b].partial_cmp(&posteriors[a]).unwrap_or(std::cmp::Ordering::Equal));
    (order.iter().map(|&i| posteriors[i]).collect(), order)
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// σ(x) − ½.
fn decision(logit: f64) -> f64 {
    0.5 * (0.5 * logit).tanh()
}

impl MemGuard {
    /// Trains the defence classifier on posteriors of members and of non-members that the defender knows, and keeps it.
    ///
    /// # Errors
    /// Posteriors of different widths; fewer than two classes; [`Error::Diverged`].
    pub fn train(
        gpu: &Gpu,
        settings: &MemGuardSettings,
        members: &Rows,
        non_members: &Rows,
    ) -> Result<MemGuard> {
        let classes = members.width;
        if non_members.width != classes || classes < 2 {
            return Err(Error::shape(format!(
                "memguard: expected posteriors of one width and at least two classes, found {classes} and {}",
                non_members.width
            )));
        }
        let rows: Vec<f32> = members.iter().chain(non_members.iter()).flat_map(|row| sorted(row).0).collect();
        let targets: Vec<f32> =
            (0..members.count() + non_members.count()).map(|i| f32::from(i < members.count())).collect();
        let rows = Rows::new("memguard", &rows, classes)?;
        let values = network::train(gpu, &settings.network, &rows, Target::Probabilities(&targets))?;
        MemGuard::from_values(settings, &values, classes)
    }

    /// A classifier trained earlier, its values named `layers.<i>.{weight,bias}`.
    ///
    /// # Errors
    /// Values that are not such a network for `classes` inputs.
    pub fn from_values(settings: &MemGuardSettings, values: &Values, classes: usize) -> Result<MemGuard> {
        let network = Dense::from_values(values, "")?;
        if network.widths() != [&[classes], &settings.network.hidden[..], &[1]].concat() {
            return Err(Error::shape(format!(
                "memguard: the network has widths {:?}, expected {classes}, {:?}, 1",
                network.widths(),
                settings.network.hidden
            )));
        }
        Ok(MemGuard { settings: settings.clone(), network, classes })
    }

    /// The defence classifier's logit for posteriors: above 0 it says member.
    pub fn logit(&self, posteriors: &[f64]) -> f64 {
        self.network.forward(&sorted(posteriors).0)[0]
    }

    /// The objective at `logits` and its gradient there. `posteriors` are the original ones, `top` their class.
    pub fn objective(&self, logits: &[f64], posteriors: &[f64], top: usize, c3: f64) -> (f64, Vec<f64>) {
        let MemGuardSettings { c1, c2, .. } = self.settings;
        let y = softmax(logits);
        let (input, order) = sorted(&y);
        let (output, slope) = self.network.input_gradient(&input, |output| vec![c1 * sign(output[0])]);
        // The gradient of the posteriors, then through the softmax.
        let mut dy: Vec<f64> = y.iter().zip(posteriors).map(|(y, p)| c3 * sign(y - p)).collect();
        order.iter().zip(&slope).for_each(|(&place, slope)| dy[place] += slope);
        let mean: f64 = y.iter().zip(&dy).map(|(y, d)| y * d).sum();
        let mut gradient: Vec<f64> = y.iter().zip(&dy).map(|(y, d)| y * (d - mean)).collect();
        let other = largest_other(logits, top);
        let excess = logits[other] - logits[top];
        if excess > 0.0 {
            gradient[other] += c2;
            gradient[top] -= c2;
        }
        let change: f64 = y.iter().zip(posteriors).map(|(y, p)| (y - p).abs()).sum();
        (c1 * output[0].abs() + c2 * excess.max(0.0) + c3 * change, gradient)
    }

    /// Logits from `start` on until the classifier crosses ½ with the class kept; `None` if that does not happen.
    fn search(&self, start: &[f64], posteriors: &[f64], c3: f64) -> Option<Vec<f64>> {
        let top = argmax(posteriors);
        let before = self.logit(posteriors);
        let mut logits = start.to_vec();
        for _ in 0..self.settings.steps {
            let (_, gradient) = self.objective(&logits, posteriors, top, c3);
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            if norm == 0.0 {
                return None;
            }
            let step = self.settings.step / norm;
            logits.iter_mut().zip(&gradient).for_each(|(z, g)| *z -= step * g);
            let kept = logits[top] > logits[largest_other(&logits, top)];
            if kept && self.logit(&softmax(&logits)) * before <= 0.0 {
                return Some(logits);
            }
        }
        None
    }

    fn protect_row(&self, row: &[f32]) -> Protected {
        let unchanged = Protected { original: row.to_vec(), perturbed: row.to_vec(), distortion: 0.0 };
        let posteriors: Vec<f64> = row.iter().map(|&p| f64::from(p)).collect();
        let before = decision(self.logit(&posteriors)).abs();
        if before <= 1e-5 {
            return unchanged;
        }
        let start: Vec<f64> = posteriors.iter().map(|p| p.max(1e-30).ln()).collect();
        let mut found = None;
        let mut c3 = self.settings.c3;
        // A margin for the rounding of products of ten.
        while c3 <= self.settings.c3_last * (1.0 + 1e-9) {
            match self.search(&start, &posteriors, c3) {
                Some(logits) => found = Some(logits),
                None => break,
            }
            c3 *= 10.0;
        }
        let Some(logits) = found else { return unchanged };
        let perturbed: Vec<f32> = softmax(&logits).iter().map(|&p| p as f32).collect();
        let wide: Vec<f64> = perturbed.iter().map(|&p| f64::from(p)).collect();
        let nearer = decision(self.logit(&wide)).abs() < before;
        // Rounding to f32 may make a tie that the first class wins.
        if !nearer || argmax(&perturbed) != argmax(row) {
            return unchanged;
        }
        let distortion = wide.iter().zip(&posteriors).map(|(a, b)| (a - b).abs()).sum();
        Protected { original: unchanged.original, perturbed, distortion }
    }

    /// The search for every row of `posteriors`, each by itself.
    ///
    /// # Errors
    /// Rows of another width than the classes.
    pub fn protect(&self, posteriors: &Rows) -> Result<Vec<Protected>> {
        if posteriors.width != self.classes {
            return Err(Error::shape(format!(
                "memguard: expected posteriors of {} classes, found {}",
                self.classes, posteriors.width
            )));
        }
        let rows: Vec<&[f32]> = posteriors.iter().collect();
        Ok(rows.into_par_iter().map(|row| self.protect_row(row)).collect())
    }

    /// What is answered at distortion budget ε, row-major: the perturbed posteriors with probability min(ε/‖r‖₁, 1), otherwise the
    /// original ones; so E‖change‖₁ ≤ ε. The coin depends on the query's content alone: asking again gives the same answer.
    pub fn release(&self, protected: &[Protected], epsilon: f64) -> Vec<f32> {
        let of_row = |query: &Protected| {
            let key = content_key(self.settings.seed, &query.original).stream(Stream::Defence, 1);
            let coin = f64::from(uniform(key.draw(0, 0, 0)[0]));
            if coin * query.distortion < epsilon { query.perturbed.clone() } else { query.original.clone() }
        };
        protected.iter().flat_map(of_row).collect()
    }
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// The class with the largest logit beside `top`.
fn largest_other(logits: &[f64], top: usize) -> usize {
    let others = (0..logits.len()).filter(|&j| j != top);
    others.fold(usize::from(top == 0), |best, j| if logits[j] > logits[best] { j } else { best })
}

//! The blind control: tells members from non-members by the images alone, never asking a model.
//!
//! If it succeeds, the two sets differ in distribution, and a membership attack may measure that instead of a leak
//! (D. Das, J. Zhang, F. Tramèr, "Blind baselines beat membership inference attacks for foundation models", 2024).

mod features;
mod folds;

pub use features::{FEATURES, describe_image, image_features};

use crate::attack::membership::network::{Network, NetworkSettings};
use crate::attack::membership::{Inference, Outcome, Rows};
use crate::data::ImageSet;
use crate::gpu::Gpu;
use crate::metrics::{Control, MembershipMetrics, MembershipResult};
use crate::{Error, Result};
use folds::stratified;
use serde::{Deserialize, Serialize};

/// Settings of the control. Widths and folds are the protocol's; the other numbers are assumed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlindSettings {
    /// Parts of the cross-validation.
    pub folds: usize,
    /// Width of the network's two hidden layers.
    pub hidden: usize,
    /// Smallest number of optimiser steps of a training; at least one epoch is trained.
    pub steps: u64,
    pub batch: usize,
    pub learning_rate: f64,
    /// λ of λ·Σ‖W‖².
    pub weight_penalty: f64,
}

impl Default for BlindSettings {
    fn default() -> BlindSettings {
        BlindSettings {
            folds: 5,
            hidden: 64,
            steps: 100,
            batch: 256,
            learning_rate: 5e-3,
            weight_penalty: 1e-2,
        }
    }
}

/// What the control found. Every sample is decided by classifiers that were not trained on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Blind {
    /// Logistic regression.
    pub logistic: MembershipResult,
    /// Network d-64-64-2.
    pub network: MembershipResult,
    /// Mean of the two probabilities: the control that decides. Choosing the better of the two after the fact would
    /// find differences where there are none.
    pub combined: MembershipResult,
    /// The control `blind` of `combined`. Its interval takes the samples to be judged independently. Classifiers of
    /// different folds share training samples, so that equal distributions are called different somewhat more often
    /// than its level says (a few in a hundred sets of a few hundred images instead of one).
    pub control: Control,
}

const EXPLANATION: &str = "A classifier that sees only the images, never the model (5-fold cross-validation). If it \
                           can tell the two sets apart, they differ in themselves, and an attack may measure that.";

/// Runs the control on the audited members and non-members. Features are of pixels alone: an [`ImageSet`] does not keep
/// what its images were as files, which [`describe_image`] is told of images that are decoded on demand.
///
/// # Errors
/// Fewer members or non-members than folds; settings that make no sense; [`Error::Diverged`].
pub fn control(
    gpu: &Gpu,
    members: &ImageSet,
    non_members: &ImageSet,
    settings: &BlindSettings,
    seed: u64,
) -> Result<Blind> {
    let rows = [image_features(members)?, image_features(non_members)?];
    cross_validate(gpu, &rows[0], &rows[1], settings, seed)
}

/// The same on rows of features.
///
/// # Errors
/// As [`control`]; rows of different width.
pub fn cross_validate(
    gpu: &Gpu,
    members: &Rows,
    non_members: &Rows,
    settings: &BlindSettings,
    seed: u64,
) -> Result<Blind> {
    let (p, n, folds) = (members.len(), non_members.len(), settings.folds);
    if folds < 2 || p < folds || n < folds || members.width() != non_members.width() {
        return Err(Error::shape(format!(
            "blind control: expected at least {} members and non-members with features of one width, found {p} of {} \
             and {n} of {}",
            folds.max(2),
            members.width(),
            non_members.width()
        )));
    }
    if settings.batch == 0 {
        return Err(Error::usage("blind control: expected batches of at least 1, found 0"));
    }
    let width = members.width();
    let values = [members.values(), non_members.values()].concat();
    let fold = stratified([p, n], folds, seed);
    let mut logits = [vec![0.0; p + n], vec![0.0; p + n]];
    for held_out in 0..folds {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..p + n).partition(|&i| fold[i] == held_out);
        let scale = Scale::fit(&values, width, &train);
        let labels: Vec<u32> = train.iter().map(|&i| u32::from(i < p)).collect();
        let (train, rows) = (scale.apply(&values, &train)?, scale.apply(&values, &test)?);
        let epochs = settings.steps.div_ceil(train.len().div_ceil(settings.batch) as u64).max(1);
        for (kind, hidden) in [vec![], vec![settings.hidden; 2]].into_iter().enumerate() {
            let network = NetworkSettings {
                hidden,
                learning_rate: settings.learning_rate,
                batch: settings.batch,
                epochs,
                weight_penalty: settings.weight_penalty,
                final_relu: false,
            };
            let seed = seed.wrapping_add((2 * held_out + kind) as u64);
            let found = Network::train(gpu, &network, &train, &labels, seed)?.infer(gpu, &rows)?;
            test.iter().zip(found.scores).for_each(|(&i, score)| logits[kind][i] = score);
        }
    }
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let combined: Vec<f64> =
        (0..p + n).map(|i| (sigmoid(logits[0][i]) + sigmoid(logits[1][i])) / 2.0 - 0.5).collect();
    let [logistic, network] = logits.map(|scores| result(scores, p));
    let combined = result(combined, p)?;
    let metrics = MembershipMetrics::compute(&combined, seed);
    let control = Control::single("blind", "Images alone, without the model", EXPLANATION, &metrics);
    Ok(Blind { logistic: logistic?, network: network?, combined, control })
}

/// Members first; member iff the score is above 0.
fn result(scores: Vec<f64>, members: usize) -> Result<MembershipResult> {
    let inference = |scores: &[f64]| Inference {
        scores: scores.to_vec(),
        decisions: scores.iter().map(|&s| s > 0.0).collect(),
    };
    let (first, rest) = scores.split_at(members);
    Ok(Outcome::new(inference(first), inference(rest), None, None)?.result)
}

/// Means and deviations of the training rows.
struct Scale {
    mean: Vec<f64>,
    /// 0 for a column that is constant: it carries nothing, also where it varies outside of the training rows.
    factor: Vec<f64>,
}

/// Standardised values are cut off here: a column that is all but constant in training may be far outside later.
const FARTHEST: f64 = 10.0;

impl Scale {
    fn fit(values: &[f32], width: usize, rows: &[usize]) -> Scale {
        let mut scale = Scale { mean: vec![0.0; width], factor: vec![0.0; width] };
        let row = |i: usize| &values[i * width..(i + 1) * width];
        let count = rows.len() as f64;
        for &i in rows {
            scale.mean.iter_mut().zip(row(i)).for_each(|(m, &v)| *m += f64::from(v) / count);
        }
        for &i in rows {
            for ((f, m), &v) in scale.factor.iter_mut().zip(&scale.mean).zip(row(i)) {
                *f += (f64::from(v) - m).powi(2) / count;
            }
        }
        // Features are at most a few units large, in f32.
        scale.factor.iter_mut().for_each(|f| *f = if *f > 1e-12 { 1.0 / f.sqrt() } else { 0.0 });
        scale
    }

    fn apply(&self, values: &[f32], rows: &[usize]) -> Result<Rows> {
        let width = self.mean.len();
        let scaled = rows.iter().flat_map(|&i| {
            let row = &values[i * width..(i + 1) * width];
            row.iter()
                .zip(&self.mean)
                .zip(&self.factor)
                .map(|((&v, m), f)| ((f64::from(v) - m) * f).clamp(-FARTHEST, FARTHEST) as f32)
        });
        Rows::new(width, scaled.collect())
    }
}

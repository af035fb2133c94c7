//! Probes: how much frozen features tell about a label. Utility when it is the task's, leakage when it is an attribute.
//!
//! Four kinds, each giving posteriors of test rows, accuracies and the overfitting gap: the published linear probe
//! of He & Zhang (CCS 2021), multinomial logistic regression ([`LogisticRegression`]), weighted nearest neighbours, and
//! the MLP head `mlp-512-256`.

mod head;
mod knn;
mod logistic;
mod networks;
mod ridge;
mod standardise;

use crate::gpu::Gpu;
use crate::metrics::attribute::{AttributeMetrics, AttributeResult};
use crate::metrics::{Proportion, REPLICATES};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

pub use head::LinearHead;
pub use knn::{KnnSettings, Neighbours};
pub use logistic::{Fitted, LogisticRegression, LogisticSettings, Validated};
pub use networks::{Checkpoint, LinearSettings, MlpSettings, linear_checkpoints, linear_probe, mlp_probe};
pub use ridge::{RidgeMap, RidgeSettings};
pub use standardise::Standardisation;

/// Feature rows with a class each.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[n, width]`, row-major.
    pub features: &'a [f32],
    /// `[n]`, below `classes`.
    pub labels: &'a [u32],
    pub width: usize,
    pub classes: usize,
}

impl<'a> Rows<'a> {
    /// Checked rows.
    ///
    /// # Errors
    /// No rows, fewer than two classes, lengths that do not agree, labels out of range, features that are not finite.
    pub fn new(features: &'a [f32], labels: &'a [u32], width: usize, classes: usize) -> Result<Rows<'a>> {
        if labels.is_empty() || width == 0 || classes < 2 || features.len() != labels.len() * width {
            return Err(Error::shape(format!(
                "rows: {} numbers do not make {} rows (at least 1) of {width} with one of {classes} classes (at least 2)",
                features.len(),
                labels.len()
            )));
        }
        crate::kernels::loss::check_labels(labels, classes)?;
        if let Some(at) = features.iter().position(|v| !v.is_finite()) {
            return Err(Error::shape(format!(
                "rows: row {} holds {} at place {}; expected finite numbers",
                at / width,
                features[at],
                at % width
            )));
        }
        Ok(Rows { features, labels, width, classes })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Whether `other` has rows of the same width and classes.
    ///
    /// # Errors
    /// Both widths and numbers of classes.
    pub fn check_alike(&self, other: &Rows) -> Result<()> {
        if (self.width, self.classes) == (other.width, other.classes) {
            return Ok(());
        }
        Err(Error::shape(format!(
            "rows: training rows of {} numbers and {} classes do not fit test rows of {} and {}",
            self.width, self.classes, other.width, other.classes
        )))
    }
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// `cl-linear`, trained by Adam on the GPU.
    Linear,
    /// Logistic regression by L-BFGS, standardised features, L2 by cross-validation.
    Logistic,
    /// Weighted nearest neighbours.
    Knn,
    /// `mlp-512-256`.
    Mlp,
}

impl ProbeKind {
    pub const NAMES: [&'static str; 4] = ["linear", "logistic", "knn", "mlp"];
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ProbeKind::NAMES[*self as usize])
    }
}

impl FromStr for ProbeKind {
    type Err = Error;
    fn from_str(name: &str) -> Result<ProbeKind> {
        match name {
            "linear" => Ok(ProbeKind::Linear),
            "logistic" => Ok(ProbeKind::Logistic),
            "knn" => Ok(ProbeKind::Knn),
            "mlp" => Ok(ProbeKind::Mlp),
            _ => Err(Error::unknown("probe", name, &ProbeKind::NAMES)),
        }
    }
}

/// Settings of all probes, with the published or usual values as defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeSettings {
    pub linear: LinearSettings,
    pub logistic: LogisticSettings,
    pub knn: KnnSettings,
    pub mlp: MlpSettings,
}

/// Posteriors of training and test rows, f64 `[n, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Posteriors {
    pub train: Vec<f64>,
    pub test: Vec<f64>,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeFinding {
    pub kind: ProbeKind,
    pub train_samples: u64,
    /// Share of training rows that the probe decides rightly; for neighbours each row without itself.
    pub train_accuracy: f64,
    pub test_accuracy: Proportion,
    /// Training minus test accuracy.
    pub overfitting_gap: f64,
    pub metrics: AttributeMetrics,
    /// Chosen L2 of the logistic regression, in standardised features.
    pub l2: Option<f64>,
    /// Test accuracy at every kept epoch of the published linear probe.
    pub by_epoch: Vec<EpochAccuracy>,
    /// The linear map from raw features to logits, of linear and logistic probes.
    #[serde(skip)]
    pub head: Option<LinearHead>,
    #[serde(skip)]
    pub posteriors: Option<Posteriors>,
}

/// Accuracies after some epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochAccuracy {
    pub epoch: u64,
    pub train: f64,
    pub test: f64,
}

/// Trains a probe of `kind` on `train` and measures it on `test`.
///
/// # Errors
/// Rows that do not fit each other; [`Error::Diverged`] from training.
pub fn probe(
    gpu: &Gpu,
    kind: ProbeKind,
    settings: &ProbeSettings,
    train: &Rows,
    test: &Rows,
    seed: u64,
) -> Result<ProbeFinding> {
    train.check_alike(test)?;
    let (mut head, mut l2, mut by_epoch) = (None, None, Vec::new());
    let posteriors = match kind {
        ProbeKind::Linear => {
            let kept = linear_checkpoints(gpu, &settings.linear, train, seed)?;
            let of = |head: &LinearHead, rows: &Rows| head.posteriors(rows.features);
            for Checkpoint { epoch, head } in &kept {
                let (a, b) = (of(head, train)?, of(head, test)?);
                let (a, b) = (accuracy(&a, train)?, accuracy(&b, test)?);
                by_epoch.push(EpochAccuracy { epoch: *epoch, train: a.value, test: b.value });
            }
            let last = kept.into_iter().next_back().map(|checkpoint| checkpoint.head);
            let last = last.ok_or_else(|| Error::usage("linear probe: no epoch was kept"))?;
            let posteriors = Posteriors { train: of(&last, train)?, test: of(&last, test)? };
            head = Some(last);
            posteriors
        }
        ProbeKind::Logistic => {
            let fitted = LogisticRegression::new(settings.logistic.clone()).fit(train, seed)?;
            l2 = Some(fitted.l2);
            let of = |rows: &Rows| fitted.head.posteriors(rows.features);
            let posteriors = Posteriors { train: of(train)?, test: of(test)? };
            head = Some(fitted.head);
            posteriors
        }
        ProbeKind::Knn => {
            let neighbours = Neighbours::new(settings.knn, train)?;
            Posteriors { train: neighbours.leave_one_out(), test: neighbours.posteriors(test.features)? }
        }
        ProbeKind::Mlp => {
            let classifier = mlp_probe(gpu, &settings.mlp, train, seed)?;
            let of = |rows: &Rows| -> Result<Vec<f64>> {
                Ok(softmax(&classifier.logits(gpu, rows.features)?, rows.classes))
            };
            Posteriors { train: of(train)?, test: of(test)? }
        }
    };
    let train_accuracy = accuracy(&posteriors.train, train)?.value;
    let result = AttributeResult::from_scores(test.labels, &posteriors.test, test.classes)?;
    let test_accuracy = result.accuracy();
    Ok(ProbeFinding {
        kind,
        train_samples: train.len() as u64,
        train_accuracy,
        test_accuracy,
        overfitting_gap: train_accuracy - test_accuracy.value,
        metrics: AttributeMetrics::compute(&result, REPLICATES, seed),
        l2,
        by_epoch,
        head,
        posteriors: Some(posteriors),
    })
}

/// Share of rows whose likeliest class is their label.
pub(super) fn accuracy(posteriors: &[f64], rows: &Rows) -> Result<Proportion> {
    Ok(AttributeResult::from_scores(rows.labels, posteriors, rows.classes)?.accuracy())
}

/// Posteriors `[n, classes]` of logits of the same form.
pub fn softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let mut posteriors: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
    posteriors.chunks_mut(classes.max(1)).for_each(|row| {
        softmax_in_place(row);
    });
    posteriors
}

/// Turns logits into posteriors; gives the logarithm of the sum of their exponentials.
fn softmax_in_place(row: &mut [f64]) -> f64 {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - most).exp();
        sum += *value;
    }
    row.iter_mut().for_each(|value| *value /= sum);
    most + sum.ln()
}

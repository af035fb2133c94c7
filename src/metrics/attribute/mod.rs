//! Metrics of attribute inference: which of C classes, instead of member or not.
//!
//! [`AttributeResult`] holds labels, predictions and class scores, validated once; [`AttributeMetrics::compute`] makes
//! all that a table prints of one attacker; [`accuracy_difference`] compares two of them on the same samples.

mod area;
mod difference;
mod resampled;

use serde::{Deserialize, Serialize};

use super::Estimate;
use super::controls::Measured;
use super::interval::Proportion;
use crate::{Error, Result};

pub use difference::accuracy_difference;

/// Shares of the most confident predictions whose positive predictive value is reported.
pub const CONFIDENT_SHARES: [f64; 3] = [0.01, 0.05, 0.1];

/// A class that receives more than this share of the predictions makes [`AttributeMetrics::one_class`] true.
pub const ONE_CLASS_SHARE: f64 = 0.99;

/// Answers of an attacker for n samples.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeResult {
    labels: Vec<u32>,
    predictions: Vec<u32>,
    scores: Vec<f64>,
    classes: usize,
}

impl AttributeResult {
    /// `labels` and `predictions` `[n]`, below `classes`; `scores` `[n, classes]`, row-major, the larger the likelier.
    /// The largest score of a row is the confidence of its prediction, so posteriors serve better than logits.
    ///
    /// # Errors
    /// [`Error::Shape`] for no samples, fewer than two classes, lengths that do not agree, classes out of range, or scores
    /// that are not finite, naming the sample.
    pub fn new(
        labels: &[u32],
        predictions: &[u32],
        scores: &[f64],
        classes: usize,
    ) -> Result<AttributeResult> {
        let n = labels.len();
        if n == 0 || classes < 2 || predictions.len() != n || scores.len() != n * classes {
            return Err(Error::shape(format!(
                "attribute result: expected one prediction and {classes} (at least 2) scores for each of {n} (at least 1) labels, found {} predictions and {} scores",
                predictions.len(),
                scores.len()
            )));
        }
        for (what, list) in [("label", labels), ("prediction", predictions)] {
            if let Some(at) = list.iter().position(|&c| c as usize >= classes) {
                return Err(Error::shape(format!(
                    "attribute result: sample {at}: expected a {what} below {classes}, found {}",
                    list[at]
                )));
            }
        }
        if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
            return Err(Error::shape(format!(
                "attribute result: sample {}: expected finite scores, found {} for class {}",
                at / classes,
                scores[at],
                at % classes
            )));
        }
        let (labels, predictions, scores) = (labels.to_vec(), predictions.to_vec(), scores.to_vec());
        Ok(AttributeResult { labels, predictions, scores, classes })
    }

    /// Predicts the class with the largest score, the first of equals.
    ///
    /// # Errors
    /// See [`AttributeResult::new`].
    pub fn from_scores(labels: &[u32], scores: &[f64], classes: usize) -> Result<AttributeResult> {
        let predictions: Vec<u32> = scores.chunks(classes.max(1)).map(largest).collect();
        AttributeResult::new(labels, &predictions, scores, classes)
    }

    pub fn labels(&self) -> &[u32] {
        &self.labels
    }
    pub fn predictions(&self) -> &[u32] {
        &self.predictions
    }
    /// `[n, classes]`.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }
    pub fn classes(&self) -> usize {
        self.classes
    }
    /// Number of samples, n.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Share of samples whose prediction is their label.
    pub fn accuracy(&self) -> Proportion {
        let right = self.labels.iter().zip(&self.predictions).filter(|(l, p)| l == p).count();
        proportion(right, self.count())
    }

    /// The samples `indices` alone.
    ///
    /// # Errors
    /// No index, or one that is out of range.
    pub fn subset(&self, indices: &[usize]) -> Result<AttributeResult> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.count()) {
            return Err(Error::shape(format!(
                "attribute result: expected samples below {}, found {index}",
                self.count()
            )));
        }
        let scores: Vec<f64> = indices
            .iter()
            .flat_map(|&i| &self.scores[i * self.classes..(i + 1) * self.classes])
            .copied()
            .collect();
        let of = |list: &[u32]| -> Vec<u32> { indices.iter().map(|&i| list[i]).collect() };
        AttributeResult::new(&of(&self.labels), &of(&self.predictions), &scores, self.classes)
    }

    /// Accuracy within each group of samples, e.g. each task class; `groups` `[n]`.
    ///
    /// # Errors
    /// Not one group a sample.
    pub fn by_group(&self, groups: &[u32]) -> Result<Vec<GroupAccuracy>> {
        if groups.len() != self.count() {
            return Err(Error::shape(format!(
                "attribute result: expected a group for each of {} samples, found {}",
                self.count(),
                groups.len()
            )));
        }
        let last = groups.iter().max().copied().unwrap_or(0);
        let within = |group: u32| {
            let indices: Vec<usize> = (0..self.count()).filter(|&i| groups[i] == group).collect();
            if indices.is_empty() {
                return Ok(None);
            }
            let part = self.subset(&indices)?;
            let confusion = Confusion::new(&part);
            Ok(Some(GroupAccuracy {
                group,
                accuracy: part.accuracy(),
                balanced_accuracy: confusion.balanced_accuracy(),
                majority_share: confusion.majority_share(),
            }))
        };
        (0..=last).filter_map(|group| within(group).transpose()).collect()
    }
}

/// The first of the largest elements.
fn largest(row: &[f64]) -> u32 {
    let mut best = 0;
    for (class, &score) in row.iter().enumerate() {
        if score > row[best] {
            best = class;
        }
    }
    best as u32
}

/// Counts by true class and prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Row = true class, column = prediction, `[C][C]`.
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Counts a result.
    pub fn new(result: &AttributeResult) -> Confusion {
        let mut counts = vec![vec![0; result.classes]; result.classes];
        for (&label, &prediction) in result.labels.iter().zip(&result.predictions) {
            counts[label as usize][prediction as usize] += 1;
        }
        Confusion { counts }
    }

    /// Samples of a class.
    pub fn support(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }
    /// Predictions of a class.
    pub fn predicted(&self, class: usize) -> u64 {
        self.counts.iter().map(|row| row[class]).sum()
    }
    fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Mean recall of the classes that occur; `None` without samples.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean((0..self.counts.len()).filter_map(|c| {
            let support = self.support(c);
            (support > 0).then(|| self.counts[c][c] as f64 / support as f64)
        }))
    }

    /// F1 = 2TP/(2TP + FP + FN) of a class; `None` where it neither occurs nor is predicted.
    pub fn f1(&self, class: usize) -> Option<f64> {
        let denominator = self.support(class) + self.predicted(class);
        (denominator > 0).then(|| 2.0 * self.counts[class][class] as f64 / denominator as f64)
    }

    /// Mean of [`Confusion::f1`] over the classes that have one.
    pub fn macro_f1(&self) -> Option<f64> {
        mean((0..self.counts.len()).filter_map(|c| self.f1(c)))
    }

    /// Share of the largest class.
    pub fn majority_share(&self) -> f64 {
        let most = (0..self.counts.len()).map(|c| self.support(c)).max().unwrap_or(0);
        most as f64 / self.total().max(1) as f64
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Never called with no trials.
fn proportion(successes: usize, trials: usize) -> Proportion {
    let (successes, trials) = (successes as u64, trials.max(1) as u64);
    Proportion {
        value: successes as f64 / trials as f64,
        interval: super::clopper_pearson(successes, trials, super::LEVEL),
        successes,
        trials,
    }
}

/// What is known of one class, one against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    pub class: u32,
    /// Samples of the class.
    pub support: u64,
    /// Predictions of the class.
    pub predicted: u64,
    /// `None` where the class is never predicted.
    pub precision: Option<Proportion>,
    /// `None` where the class does not occur.
    pub recall: Option<Proportion>,
    pub f1: Option<f64>,
    /// Area under the ROC curve of the class's score; `None` where all samples or none are of the class.
    pub auc: Option<f64>,
}

/// Share of right answers among the most confident ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidentValue {
    /// Share asked for, e.g. 0.01: ⌈share·n⌉ predictions, and those that tie with the last of them.
    pub share: f64,
    pub value: Proportion,
}

/// Accuracy within one group of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupAccuracy {
    pub group: u32,
    pub accuracy: Proportion,
    pub balanced_accuracy: Option<f64>,
    /// Share of the group's largest class.
    pub majority_share: f64,
}

/// All that is reported of one attacker. Undefined numbers are `None`, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttributeMetrics {
    pub classes: u64,
    pub samples: u64,
    /// 1/C.
    pub chance: f64,
    /// Share of the largest class among these samples.
    pub majority_share: f64,
    /// With a Clopper–Pearson interval.
    pub accuracy: Proportion,
    /// Mean recall of the classes that occur, with a bootstrap interval (each class resampled to its own size).
    pub balanced_accuracy: Estimate,
    /// Mean F1 of the classes that occur or are predicted, with a bootstrap interval.
    pub macro_f1: Estimate,
    /// Mean one-vs-rest AUC, with an interval after DeLong et al. 1988; `None` where only one class occurs.
    pub auc: Option<Measured>,
    pub by_class: Vec<ClassMetrics>,
    pub confusion: Confusion,
    /// One for each of [`CONFIDENT_SHARES`].
    pub confident: Vec<ConfidentValue>,
    /// Share of the predictions that the most frequent prediction has.
    pub largest_prediction_share: f64,
    /// Whether one class receives more than 99 % of the predictions: the attacker is dead or constant.
    pub one_class: bool,
}

impl AttributeMetrics {
    /// Everything about `result`; `replicates` of the bootstrap ([`super::REPLICATES`] is usual), keyed by `seed`.
    pub fn compute(result: &AttributeResult, replicates: usize, seed: u64) -> AttributeMetrics {
        let confusion = Confusion::new(result);
        let (classes, n) = (result.classes, result.count());
        let areas = area::one_vs_rest(result);
        let by_class = (0..classes)
            .map(|c| {
                let (support, predicted) = (confusion.support(c), confusion.predicted(c));
                let hits = confusion.counts[c][c];
                ClassMetrics {
                    class: c as u32,
                    support,
                    predicted,
                    precision: Proportion::new(hits, predicted),
                    recall: Proportion::new(hits, support),
                    f1: confusion.f1(c),
                    auc: areas.by_class[c],
                }
            })
            .collect();
        let most = (0..classes).map(|c| confusion.predicted(c)).max().unwrap_or(0);
        let largest_prediction_share = most as f64 / n as f64;
        let accuracy = result.accuracy();
        let [balanced_accuracy, macro_f1] = resampled::estimates(&confusion, &accuracy, replicates, seed);
        AttributeMetrics {
            classes: classes as u64,
            samples: n as u64,
            chance: 1.0 / classes as f64,
            majority_share: confusion.majority_share(),
            accuracy,
            balanced_accuracy,
            macro_f1,
            auc: areas.macro_average,
            by_class,
            confident: CONFIDENT_SHARES.map(|share| confident(result, share)).to_vec(),
            confusion,
            largest_prediction_share,
            one_class: largest_prediction_share > ONE_CLASS_SHARE,
        }
    }
}

fn confident(result: &AttributeResult, share: f64) -> ConfidentValue {
    let confidence: Vec<f64> = result
        .scores
        .chunks(result.classes)
        .map(|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        .collect();
    let mut sorted = confidence.clone();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    // The small slack undoes the rounding of products like 0.01·1100.
    let count = ((share * sorted.len() as f64 - 1e-9).ceil() as usize).clamp(1, sorted.len());
    let last = sorted[count - 1];
    let chosen: Vec<usize> = (0..result.count()).filter(|&i| confidence[i] >= last).collect();
    let right = chosen.iter().filter(|&&i| result.labels[i] == result.predictions[i]).count();
    ConfidentValue { share, value: proportion(right, chosen.len()) }
}

//! Attacks by a threshold on one number of the posteriors (L. Song and P. Mittal, USENIX Security 2021, section 4).

use super::{Four, Inference, Outcome, Posteriors, accuracy};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The number that is compared with a threshold; larger says member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// 1 if the most probable class is the label, else 0; member iff 1, no threshold to fit.
    Correctness,
    /// p_y.
    Confidence,
    /// −H = Σ p ln p.
    Entropy,
    /// (1 − p_y) ln p_y + Σ_{i≠y} p_i ln(1 − p_i).
    ModifiedEntropy,
}

/// Logarithms are taken of at least this.
const SMALLEST: f64 = 1e-30;

/// ln p, from below at ln 1e-30.
fn ln(p: f64) -> f64 {
    p.max(SMALLEST).ln()
}

impl Measure {
    pub const ALL: [Measure; 4] =
        [Measure::Correctness, Measure::Confidence, Measure::Entropy, Measure::ModifiedEntropy];
    pub const NAMES: [&'static str; 4] = ["correctness", "confidence", "entropy", "modified-entropy"];

    /// As results name it.
    pub fn id(self) -> &'static str {
        ["metric-correctness", "metric-confidence", "metric-entropy", "metric-modified-entropy"]
            [self as usize]
    }

    /// For the heading of a table.
    pub fn title(self) -> &'static str {
        ["Prediction correctness", "Prediction confidence", "Prediction entropy", "Modified entropy"]
            [self as usize]
    }

    /// What the attack does, in a sentence for the report.
    pub fn explanation(self) -> &'static str {
        match self {
            Measure::Correctness => "Calls a sample a member when the classifier's prediction is right.",
            Measure::Confidence => {
                "Calls a sample a member when the probability of its true class reaches a threshold, one for each \
                 class, that was found on the shadow model."
            }
            Measure::Entropy => {
                "Calls a sample a member when the posteriors are concentrated enough (low entropy), whatever its \
                 label; one threshold for each class, from the shadow model."
            }
            Measure::ModifiedEntropy => {
                "Calls a sample a member when the posteriors are concentrated on its true class (low modified \
                 entropy); one threshold for each class, from the shadow model."
            }
        }
    }

    /// The value for posteriors `row` of a sample with this label (below the number of classes).
    pub fn value(self, row: &[f32], label: u32) -> f64 {
        let label = label as usize;
        let all = || row.iter().map(|&p| f64::from(p)).enumerate();
        let own = f64::from(row[label]);
        match self {
            Measure::Correctness => {
                // The first of equals is the prediction.
                let beaten = all().all(|(i, p)| if i < label { p < own } else { p <= own });
                f64::from(u8::from(beaten))
            }
            Measure::Confidence => own,
            Measure::Entropy => all().map(|(_, p)| p * ln(p)).sum(),
            Measure::ModifiedEntropy => {
                all().map(|(i, p)| if i == label { (1.0 - p) * ln(p) } else { p * ln(1.0 - p) }).sum()
            }
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Measure::NAMES[*self as usize])
    }
}

impl FromStr for Measure {
    type Err = Error;
    fn from_str(name: &str) -> Result<Measure> {
        let found = Measure::ALL.into_iter().zip(Measure::NAMES).find(|(_, known)| *known == name);
        found.map(|(measure, _)| measure).ok_or_else(|| Error::unknown("measure", name, &Measure::NAMES))
    }
}

/// Settings; the default sees all posteriors and keeps its scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricSettings {
    /// The attacker sees only the so many largest posteriors; the others are filled in evenly.
    pub top: Option<usize>,
    /// `compat: contrastive-leaks`, artefact 10: scores are the decisions 0 and 1, so that the AUC is nothing but the
    /// balanced accuracy.
    pub scores_are_decisions: bool,
}

impl MetricSettings {
    /// `compat: contrastive-leaks`.
    pub fn compat() -> MetricSettings {
        MetricSettings { scores_are_decisions: true, ..MetricSettings::default() }
    }
}

/// The threshold t for "member iff value ≥ t" that maximises ½(TPR + TNR): tried are the values of the members and
/// then of the non-members, in order, and the first maximum wins. `None` when either group is empty.
pub fn best_threshold(members: &[f64], non_members: &[f64]) -> Option<f64> {
    let sorted = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let (p, n) = (members.len() as u64, non_members.len() as u64);
    if p == 0 || n == 0 {
        return None;
    }
    let (low_members, low_others) = (sorted(members), sorted(non_members));
    let below = |sorted: &[f64], t: f64| sorted.partition_point(|&v| v < t) as u64;
    // ½(TPR + TNR)·2PN in whole numbers, so that equally good thresholds are equal.
    let merit = |t: f64| (p - below(&low_members, t)) * n + below(&low_others, t) * p;
    let mut best: Option<(u64, f64)> = None;
    for &t in members.iter().chain(non_members) {
        let merit = merit(t);
        if best.is_none_or(|(most, _)| merit > most) {
            best = Some((merit, t));
        }
    }
    best.map(|(_, t)| t)
}

/// Thresholds of a measure, fitted on a shadow model.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub measure: Measure,
    /// One for each class.
    pub by_class: Vec<f64>,
    /// Classes without shadow members or without shadow non-members; they use the threshold of all classes pooled.
    pub pooled: Vec<usize>,
}

impl Thresholds {
    /// Fits a threshold for each class on shadow members and non-members.
    ///
    /// # Errors
    /// An empty set, or classes that differ.
    pub fn fit(measure: Measure, members: &Posteriors, non_members: &Posteriors) -> Result<Thresholds> {
        let classes = members.classes();
        if classes != non_members.classes() {
            return Err(Error::shape(format!(
                "{measure} attack: {classes} classes for shadow members and {} for non-members",
                non_members.classes()
            )));
        }
        let (members, non_members) = (values(measure, members), values(measure, non_members));
        let all = |values: &[(f64, u32)]| -> Vec<f64> { values.iter().map(|v| v.0).collect() };
        let of = |values: &[(f64, u32)], class: usize| -> Vec<f64> {
            values.iter().filter(|v| v.1 as usize == class).map(|v| v.0).collect()
        };
        let Some(fallback) = best_threshold(&all(&members), &all(&non_members)) else {
            return Err(Error::shape(format!(
                "{measure} attack: needs shadow members and shadow non-members"
            )));
        };
        if measure == Measure::Correctness {
            return Ok(Thresholds { measure, by_class: vec![1.0; classes], pooled: Vec::new() });
        }
        let mut pooled = Vec::new();
        let by_class = (0..classes).map(|class| {
            best_threshold(&of(&members, class), &of(&non_members, class)).unwrap_or_else(|| {
                pooled.push(class);
                fallback
            })
        });
        Ok(Thresholds { measure, by_class: by_class.collect(), pooled })
    }

    /// Decision value ≥ θ_y with score value − θ_y: thresholds differ between classes, so values of two classes
    /// compare only by their distance from their own threshold. Then the rule is "score ≥ 0" for all, and the ROC
    /// curve moves all thresholds together through the attack's own operating point.
    fn infer(&self, posteriors: &Posteriors) -> Inference {
        let scores: Vec<f64> = values(self.measure, posteriors)
            .into_iter()
            .map(|(value, label)| value - self.by_class[label as usize])
            .collect();
        let decisions = scores.iter().map(|&s| s >= 0.0).collect();
        Inference { scores, decisions }
    }
}

/// Value and label of every sample.
fn values(measure: Measure, posteriors: &Posteriors) -> Vec<(f64, u32)> {
    posteriors.iter().map(|(row, label)| (measure.value(row, label), label)).collect()
}

/// Fits thresholds on the shadow model and decides about the target's samples.
///
/// # Errors
/// Empty sets, classes that differ, a `top` that does not fit the classes.
pub fn attack(
    posteriors: &Four<Posteriors>,
    measure: Measure,
    settings: &MetricSettings,
) -> Result<(Outcome, Thresholds)> {
    posteriors.classes()?;
    let seen;
    let posteriors = match settings.top {
        None => posteriors,
        Some(k) => {
            seen = posteriors.try_map(|set| set.only_top(k))?;
            &seen
        }
    };
    let thresholds = Thresholds::fit(measure, &posteriors.shadow_members, &posteriors.shadow_non_members)?;
    let mut all = posteriors.try_map(|set| Ok(thresholds.infer(set)))?;
    let right = accuracy(&all.shadow_members.decisions, &all.shadow_non_members.decisions);
    if settings.scores_are_decisions {
        for inference in [&mut all.target_members, &mut all.target_non_members] {
            inference.scores = inference.decisions.iter().map(|&d| f64::from(u8::from(d))).collect();
        }
    }
    let threshold = if settings.scores_are_decisions { 1.0 } else { 0.0 };
    let mut outcome = Outcome::new(all.target_members, all.target_non_members, Some(threshold), Some(right))?;
    if !thresholds.pooled.is_empty() {
        outcome.warnings.push(format!(
            "{} of {} classes have no shadow members or no shadow non-members; they use the threshold of all classes \
             together.",
            thresholds.pooled.len(),
            thresholds.by_class.len()
        ));
    }
    Ok((outcome, thresholds))
}

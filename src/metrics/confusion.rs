//! Metrics at the attack's own threshold.

use serde::{Deserialize, Serialize};

use super::MembershipResult;
use super::interval::Proportion;

/// Confusion counts; "positive" means "member".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub true_negatives: u64,
    pub false_negatives: u64,
}

impl Confusion {
    /// Counts decisions against the truth.
    pub fn new(result: &MembershipResult) -> Confusion {
        let mut counts = [0u64; 4];
        for (&member, &decision) in result.members().iter().zip(result.decisions()) {
            counts[usize::from(member) * 2 + usize::from(decision)] += 1;
        }
        Confusion {
            true_negatives: counts[0],
            false_positives: counts[1],
            false_negatives: counts[2],
            true_positives: counts[3],
        }
    }

    /// Members, P.
    pub fn positives(&self) -> u64 {
        self.true_positives + self.false_negatives
    }
    /// Non-members, N.
    pub fn negatives(&self) -> u64 {
        self.true_negatives + self.false_positives
    }
    /// (TP + TN)/(P + N).
    pub fn accuracy(&self) -> Option<Proportion> {
        Proportion::new(self.true_positives + self.true_negatives, self.positives() + self.negatives())
    }
    /// TP/(TP + FP); `None` when nobody was called a member.
    pub fn precision(&self) -> Option<Proportion> {
        Proportion::new(self.true_positives, self.true_positives + self.false_positives)
    }
    /// TPR = TP/P.
    pub fn recall(&self) -> Option<Proportion> {
        Proportion::new(self.true_positives, self.positives())
    }
    /// TNR = TN/N.
    pub fn true_negative_rate(&self) -> Option<Proportion> {
        Proportion::new(self.true_negatives, self.negatives())
    }
    /// FPR = FP/N.
    pub fn false_positive_rate(&self) -> Option<Proportion> {
        Proportion::new(self.false_positives, self.negatives())
    }
    /// FNR = FN/P.
    pub fn false_negative_rate(&self) -> Option<Proportion> {
        Proportion::new(self.false_negatives, self.positives())
    }
    /// ½(TPR + TNR).
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(0.5 * (self.recall()?.value + self.true_negative_rate()?.value))
    }
    /// F1 = 2TP/(2TP + FP + FN).
    pub fn f1(&self) -> Option<f64> {
        f1(self.true_positives as f64, self.false_positives as f64, self.false_negatives as f64)
    }
    /// Share of the larger class: the accuracy of a constant answer.
    pub fn majority_share(&self) -> f64 {
        let (p, n) = (self.positives() as f64, self.negatives() as f64);
        p.max(n) / (p + n)
    }
    /// Precision if a share `prior` of the audited population were members: π·TPR/(π·TPR + (1−π)·FPR);
    /// `None` when the attack never says "member".
    pub fn positive_predictive_value(&self, prior: f64) -> Option<f64> {
        let hit = prior * self.recall()?.value;
        let alarm = (1.0 - prior) * self.false_positive_rate()?.value;
        (hit + alarm > 0.0).then(|| hit / (hit + alarm))
    }
}

pub(super) fn f1(tp: f64, fp: f64, fn_: f64) -> Option<f64> {
    let denominator = 2.0 * tp + fp + fn_;
    (denominator > 0.0).then(|| 2.0 * tp / denominator)
}

//! ROC curve and the rates read from it.

use serde::{Deserialize, Serialize};

use super::MembershipResult;
use super::ranking::{Ranking, allowed, twice_mann_whitney};

/// A point of the ROC curve: the rule "member iff score ≥ threshold".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    pub fpr: f64,
    pub tpr: f64,
    /// `None` stands for +∞ (nobody is a member).
    pub threshold: Option<f64>,
}

/// ROC curve from (0, 0) to (1, 1) over all distinct scores; ties move together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roc {
    pub points: Vec<RocPoint>,
}

impl Roc {
    /// Curve of a result.
    pub fn new(result: &MembershipResult) -> Roc {
        Roc::from_ranking(&Ranking::new(result))
    }

    /// Curve of sorted scores.
    pub fn from_ranking(ranking: &Ranking) -> Roc {
        let (p, n) = (ranking.positive_count() as f64, ranking.negative_count() as f64);
        let mut points = vec![RocPoint { fpr: 0.0, tpr: 0.0, threshold: None }];
        for (&(tp, fp), &threshold) in ranking.cumulative().iter().zip(&ranking.thresholds) {
            points.push(RocPoint { fpr: fp as f64 / n, tpr: tp as f64 / p, threshold: Some(threshold) });
        }
        Roc { points }
    }

    /// Trapezoidal area; equals the Mann–Whitney estimate.
    pub fn area(&self) -> f64 {
        self.points.windows(2).map(|w| (w[1].fpr - w[0].fpr) * 0.5 * (w[0].tpr + w[1].tpr)).sum()
    }

    /// TPR at FPR `rate` of the randomised rule that mixes two neighbouring thresholds.
    pub fn interpolated_tpr(&self, rate: f64) -> f64 {
        let after = self.points.partition_point(|point| point.fpr <= rate);
        let Some(low) = after.checked_sub(1).map(|i| self.points[i]) else { return 0.0 };
        match self.points.get(after) {
            Some(high) => low.tpr + (rate - low.fpr) / (high.fpr - low.fpr) * (high.tpr - low.tpr),
            None => low.tpr,
        }
    }

    /// Error rate where FPR = FNR, on the interpolated curve.
    pub fn equal_error_rate(&self) -> f64 {
        for w in self.points.windows(2) {
            // FPR − FNR rises from −1 to 1 along the curve.
            let gap = |point: &RocPoint| point.fpr - (1.0 - point.tpr);
            let (a, b) = (gap(&w[0]), gap(&w[1]));
            if b >= 0.0 {
                let t = if b > a { -a / (b - a) } else { 0.0 };
                return w[0].fpr + t * (w[1].fpr - w[0].fpr);
            }
        }
        1.0
    }

    /// At most `limit` points (at least 4): both ends of every cell of a grid over log FPR, which keeps the
    /// low-FPR end exact, and both ends of a grid over TPR for steep curves.
    pub fn thinned(&self, limit: usize) -> Roc {
        if self.points.len() <= limit.max(4) {
            return self.clone();
        }
        // Two points per cell, two grids; the grids share the budget.
        let cells = (limit.max(4) / 4).max(1) as f64;
        let smallest = self.points.iter().map(|p| p.fpr).find(|&f| f > 0.0).unwrap_or(1.0);
        let span = -smallest.ln();
        let fpr_cell = |p: &RocPoint| {
            if p.fpr <= 0.0 || span <= 0.0 {
                0
            } else {
                // The last cell is reserved for FPR = 1, the first for FPR = 0.
                1 + ((1.0 + p.fpr.ln() / span) * (cells - 2.0)).max(0.0) as i64
            }
        };
        let tpr_cell = |p: &RocPoint| (p.tpr * (cells - 1.0)) as i64;
        let last = self.points.len() - 1;
        let changes = |i: usize, cell: &dyn Fn(&RocPoint) -> i64| {
            i == 0
                || i == last
                || cell(&self.points[i]) != cell(&self.points[i - 1])
                || cell(&self.points[i]) != cell(&self.points[i + 1])
        };
        let points = (0..=last)
            .filter(|&i| changes(i, &fpr_cell) || changes(i, &tpr_cell))
            .map(|i| self.points[i])
            .collect();
        Roc { points }
    }
}

/// Exact AUC = [#(s_member > s_non-member) + ½ #ties]/(PN), O(n log n).
pub fn auc(ranking: &Ranking) -> f64 {
    let pairs = ranking.positive_count() as f64 * ranking.negative_count() as f64;
    twice_mann_whitney(&ranking.positives, &ranking.negatives) as f64 / (2.0 * pairs)
}

/// The lowest threshold whose false-positive rate does not exceed a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoint {
    pub true_positives: u64,
    pub false_positives: u64,
    /// `None` stands for +∞.
    pub threshold: Option<f64>,
}

/// Largest TPR over thresholds with FPR ≤ `rate`, as counts.
pub fn operating_point(ranking: &Ranking, rate: f64) -> OperatingPoint {
    let limit = allowed(rate, ranking.negative_count());
    let cumulative = ranking.cumulative();
    match cumulative.partition_point(|&(_, fp)| fp <= limit).checked_sub(1) {
        Some(i) => OperatingPoint {
            true_positives: cumulative[i].0,
            false_positives: cumulative[i].1,
            threshold: Some(ranking.thresholds[i]),
        },
        None => OperatingPoint { true_positives: 0, false_positives: 0, threshold: None },
    }
}

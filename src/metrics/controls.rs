//! Controls: attacks that must find nothing. A positive result counts only beside them.

use serde::{Deserialize, Serialize};

use super::interval::{Interval, LEVEL, Trials};
use super::special::beta_regularized;
use super::{MembershipMetrics, Proportion};

/// A number with its interval, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub value: f64,
    pub interval: Option<Interval>,
}

impl From<Proportion> for Measured {
    fn from(p: Proportion) -> Measured {
        Measured { value: p.value, interval: Some(p.interval) }
    }
}

/// Result of a control, with the columns of the attack's own row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// `majority`, `untrained-encoder`, `shuffled-labels`, `foreign-encoder`, `blind`, ….
    pub id: String,
    pub title: String,
    /// What the control shows, in a sentence for the report.
    pub explanation: String,
    /// How many times it was run; with more than one, values are means with Student t intervals over the runs.
    pub runs: u64,
    pub accuracy: Measured,
    pub precision: Option<Measured>,
    pub recall: Option<Measured>,
    pub auc: Option<Measured>,
    pub tpr_at_1_percent_fpr: Option<Measured>,
    /// 99 % interval of the AUC, the one that decides.
    pub auc_99: Option<Interval>,
    /// Whether AUC ½ lies inside `auc_99`; `None` where there is nothing to decide (majority) or no interval.
    pub at_chance: Option<bool>,
    /// Two-sided p-value of AUC ½, to correct for the number of controls; `None` where only the interval decides.
    #[serde(default)]
    pub p_value: Option<f64>,
}

impl Control {
    /// The constant answer: share of the larger class.
    pub fn majority(members: u64, non_members: u64) -> Control {
        let total = (members + non_members).max(1) as f64;
        Control {
            id: "majority".into(),
            title: "Always the same answer".into(),
            explanation: "What a fixed answer for every image gets right: the share of the larger group."
                .into(),
            runs: 1,
            accuracy: Measured { value: members.max(non_members) as f64 / total, interval: None },
            precision: None,
            recall: None,
            auc: None,
            tpr_at_1_percent_fpr: None,
            auc_99: None,
            at_chance: None,
            p_value: None,
        }
    }

    /// The attack run once against something that cannot leak.
    pub fn single(id: &str, title: &str, explanation: &str, metrics: &MembershipMetrics) -> Control {
        Control {
            id: id.into(),
            title: title.into(),
            explanation: explanation.into(),
            runs: 1,
            accuracy: metrics.accuracy.into(),
            precision: metrics.precision.map(Measured::from),
            recall: Some(metrics.recall.into()),
            auc: Some(Measured { value: metrics.auc.value, interval: Some(metrics.auc.interval) }),
            tpr_at_1_percent_fpr: metrics
                .tpr_at(1e-2)
                .map(|rate| Measured { value: rate.rate.value, interval: Some(rate.rate.interval) }),
            auc_99: Some(metrics.auc_99),
            at_chance: Some(metrics.auc_99.contains(0.5)),
            p_value: Some((2.0 * metrics.auc_p_value.min(1.0 - metrics.auc_p_value)).min(1.0)),
        }
    }

    /// The attack run several times, as with shuffled shadow labels. `None` without runs.
    ///
    /// The interval is Student's over the runs, not over samples: a classifier trained on shuffled labels is a
    /// random function of the features, and one such function can order the samples well by accident, in either
    /// direction. Only the mean over runs is expected at ½.
    pub fn repeated(id: &str, title: &str, explanation: &str, runs: &[MembershipMetrics]) -> Option<Control> {
        let mean = |get: &dyn Fn(&MembershipMetrics) -> Option<f64>| {
            // A rate that is undefined in some run has no mean.
            let values: Option<Vec<f64>> = runs.iter().map(get).collect();
            Trials::new(&values?, LEVEL).map(|t| Measured { value: t.mean, interval: t.interval })
        };
        let aucs: Vec<f64> = runs.iter().map(|m| m.auc.value).collect();
        let auc_99 = Trials::new(&aucs, 0.99)?.interval;
        Some(Control {
            id: id.into(),
            title: title.into(),
            explanation: explanation.into(),
            runs: runs.len() as u64,
            accuracy: mean(&|m| Some(m.accuracy.value))?,
            precision: mean(&|m| m.precision.map(|p| p.value)),
            recall: mean(&|m| Some(m.recall.value)),
            auc: mean(&|m| Some(m.auc.value)),
            tpr_at_1_percent_fpr: mean(&|m| m.tpr_at(1e-2).map(|r| r.rate.value)),
            auc_99,
            at_chance: auc_99.map(|interval| interval.contains(0.5)),
            p_value: mean_p_value(&aucs, 0.5),
        })
    }
}

/// Two-sided p-value of Student's t test that the mean of `values` is `expected`; `None` for fewer than two.
pub fn mean_p_value(values: &[f64], expected: f64) -> Option<f64> {
    let n = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    if variance == 0.0 {
        return Some(f64::from(u8::from(mean == expected)));
    }
    let (t2, degrees) = ((mean - expected).powi(2) * n / variance, n - 1.0);
    Some(beta_regularized(degrees / (degrees + t2), degrees / 2.0, 0.5))
}

//! Confidence intervals for proportions and across trials.

use serde::{Deserialize, Serialize};

use super::special::{beta_quantile, student_t_critical};

/// Level of the intervals printed by default.
pub const LEVEL: f64 = 0.95;

/// Two-sided confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub lower: f64,
    pub upper: f64,
    /// Confidence level, e.g. 0.95.
    pub level: f64,
}

impl Interval {
    /// Whether `value` lies inside or on the border.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }
}

/// One-sided Clopper–Pearson lower bound for k successes in n trials: the true proportion lies below it with
/// probability at most `alpha`.
pub fn clopper_pearson_lower(k: u64, n: u64, alpha: f64) -> f64 {
    if k == 0 { 0.0 } else { beta_quantile(alpha, k as f64, (n - k.min(n)) as f64 + 1.0) }
}

/// One-sided Clopper–Pearson upper bound for k successes in n trials: the true proportion lies above it with
/// probability at most `alpha`.
pub fn clopper_pearson_upper(k: u64, n: u64, alpha: f64) -> f64 {
    // 1 − BetaInv(α; n−k, k+1) = BetaInv(1−α; k+1, n−k).
    if k >= n { 1.0 } else { 1.0 - beta_quantile(alpha, (n - k) as f64, k as f64 + 1.0) }
}

/// Clopper–Pearson interval for k successes in n trials (Clopper & Pearson 1934). With n = 0 it is [0, 1].
pub fn clopper_pearson(k: u64, n: u64, level: f64) -> Interval {
    let tail = 0.5 * (1.0 - level);
    Interval {
        lower: clopper_pearson_lower(k, n, tail),
        upper: if n == 0 { 1.0 } else { clopper_pearson_upper(k, n, tail) },
        level,
    }
}

/// An observed proportion with its 95 % Clopper–Pearson interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    pub value: f64,
    pub interval: Interval,
    pub successes: u64,
    pub trials: u64,
}

impl Proportion {
    /// `None` when there were no trials: an undefined rate is never reported as 0.
    pub fn new(successes: u64, trials: u64) -> Option<Proportion> {
        (trials > 0).then(|| Proportion {
            value: successes as f64 / trials as f64,
            interval: clopper_pearson(successes, trials, LEVEL),
            successes,
            trials,
        })
    }
}

/// Summary of one number over several trials (spec: mean, sample standard deviation, minimum, maximum, all
/// values), with Student's t interval of the mean. It describes variation between trials and is never mixed with
/// the within-trial intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trials {
    pub values: Vec<f64>,
    pub mean: f64,
    /// Divides by n − 1; `None` for a single trial.
    pub standard_deviation: Option<f64>,
    pub minimum: f64,
    pub maximum: f64,
    /// `None` for a single trial.
    pub interval: Option<Interval>,
}

impl Trials {
    /// `None` for an empty list.
    pub fn new(values: &[f64], level: f64) -> Option<Trials> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let standard_deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        let interval = standard_deviation.map(|sd| {
            let half = student_t_critical(1.0 - level, n - 1.0) * sd / n.sqrt();
            Interval { lower: mean - half, upper: mean + half, level }
        });
        Some(Trials {
            values: values.to_vec(),
            mean,
            standard_deviation,
            minimum: values.iter().copied().fold(f64::INFINITY, f64::min),
            maximum: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            interval,
        })
    }
}

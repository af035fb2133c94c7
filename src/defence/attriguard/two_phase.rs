//! The two-phase form: the smallest change for each class, then a random choice among them.

use super::{Defender, Guarded};
use crate::defence::{Rows, argmax, content_key};
use crate::rng::{Stream, uniform};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What a change costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// Number of changed features, as the original has it.
    L0,
    L2,
}

/// Phase I takes greedy steps of one feature to an end of its range; Phase II spends `epsilon` in expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwoPhaseSettings {
    /// ε: largest expected cost of a released embedding.
    pub epsilon: f64,
    pub cost: Cost,
    /// Greedy steps of Phase I.
    pub steps: usize,
    pub seed: u64,
}

impl Default for TwoPhaseSettings {
    fn default() -> TwoPhaseSettings {
        TwoPhaseSettings { epsilon: 10.0, cost: Cost::L0, steps: 100, seed: 0 }
    }
}

/// A change of one row that makes the defender's classifier say a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub features: Vec<f32>,
    pub cost: f64,
}

/// Phase I: for each class, a small change of `row` that reaches it, or `None` where `steps` greedy steps do not.
pub fn smallest_changes(
    defender: &Defender,
    row: &[f32],
    settings: &TwoPhaseSettings,
) -> Vec<Option<Change>> {
    (0..defender.classes()).map(|class| smallest_change(defender, row, class, settings)).collect()
}

fn smallest_change(
    defender: &Defender,
    row: &[f32],
    class: usize,
    settings: &TwoPhaseSettings,
) -> Option<Change> {
    let mut features = row.to_vec();
    for step in 0..=settings.steps {
        let wide: Vec<f64> = features.iter().map(|&v| f64::from(v)).collect();
        // The slope of the wanted class's log-probability.
        let (logits, gradient) = defender.network().input_gradient(&wide, |logits| {
            let normalizer = log_sum_exp(logits);
            let slope = |(j, x): (usize, &f64)| f64::from(u8::from(j == class)) - (x - normalizer).exp();
            logits.iter().enumerate().map(slope).collect()
        });
        if argmax(&logits) == class {
            let cost = cost(settings.cost, &features, row);
            return Some(Change { features, cost });
        }
        if step == settings.steps {
            break;
        }
        // Gain to first order of moving one feature to an end of its range; the first best wins.
        let mut best = (0.0, 0, 0.0);
        for (i, (range, slope)) in defender.range.iter().zip(&gradient).enumerate() {
            for &end in range {
                let gain = slope * (f64::from(end) - wide[i]);
                if gain > best.0 {
                    best = (gain, i, end);
                }
            }
        }
        if best.0 <= 0.0 {
            break;
        }
        features[best.1] = best.2;
    }
    None
}

fn log_sum_exp(row: &[f64]) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

fn cost(cost: Cost, a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
    match cost {
        Cost::L0 => differences.filter(|d| *d != 0.0).count() as f64,
        Cost::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
    }
}

/// Phase II: the distribution q that minimises KL(prior ‖ q) subject to Σ q·cost ≤ ε and Σ q = 1.
///
/// If Σ prior·cost ≤ ε it is the prior; otherwise q_j = prior_j / (1 + ν(cost_j − ε)) with the positive root ν of Σ q = 1, by
/// bisection: Σ q − 1 is 0 at ν = 0, convex and at first falling, and grows without bound towards ν = 1/(ε − smallest cost).
/// A class without prior or with infinite cost gets nothing.
///
/// # Errors
/// Prior and costs of different length, no class that can be had for ε, negative or NaN numbers.
pub fn class_distribution(prior: &[f64], costs: &[f64], epsilon: f64) -> Result<Vec<f64>> {
    let valid = |v: &f64| *v >= 0.0;
    if prior.len() != costs.len() || !prior.iter().chain(costs).all(valid) || !valid(&epsilon) {
        return Err(Error::shape(format!(
            "attriguard: expected a prior and a cost of at least 0 for each class, found {prior:?} and {costs:?}, \
             epsilon {epsilon}"
        )));
    }
    let possible = |j: usize| prior[j] > 0.0 && costs[j].is_finite();
    let total: f64 = (0..prior.len()).filter(|&j| possible(j)).map(|j| prior[j]).sum();
    let share = |j: usize| if possible(j) { prior[j] / total } else { 0.0 };
    let shares: Vec<f64> = (0..prior.len()).map(share).collect();
    let real = || (0..prior.len()).filter(|&j| possible(j));
    let least = real().map(|j| costs[j]).fold(f64::INFINITY, f64::min);
    if least > epsilon || least == f64::INFINITY {
        return Err(Error::usage(format!(
            "attriguard: no class can be had for epsilon = {epsilon}, the cheapest costs {least}"
        )));
    }
    if real().map(|j| shares[j] * costs[j]).sum::<f64>() <= epsilon {
        return Ok(shares);
    }
    if least == epsilon {
        // Only the cheapest classes fit the budget.
        let cheapest: f64 = real().filter(|&j| costs[j] == least).map(|j| shares[j]).sum();
        let q = |j: usize| if costs[j] == least { shares[j] / cheapest } else { 0.0 };
        return Ok((0..prior.len()).map(q).collect());
    }
    let q = |nu: f64| -> Vec<f64> {
        let of_class = |j: usize| {
            if possible(j) { shares[j] / (1.0 + nu * (costs[j] - epsilon)) } else { 0.0 }
        };
        (0..prior.len()).map(of_class).collect()
    };
    let (mut low, mut high) = (0.0, 1.0 / (epsilon - least));
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if q(middle).iter().sum::<f64>() < 1.0 { low = middle } else { high = middle }
    }
    let mut q = q(low);
    let sum: f64 = q.iter().sum();
    q.iter_mut().for_each(|q| *q /= sum);
    Ok(q)
}

/// Guarded embeddings: one Phase-I change of each row, drawn once for its content.
///
/// # Errors
/// Rows of another width than the defender's; an epsilon below 0.
pub fn guard_two_phase(settings: &TwoPhaseSettings, defender: &Defender, features: &Rows) -> Result<Guarded> {
    defender.check(features)?;
    let rows: Vec<Vec<f32>> = (0..features.count())
        .into_par_iter()
        .map(|index| {
            let row = features.row(index);
            let mut changes = smallest_changes(defender, row, settings);
            let costs: Vec<f64> =
                changes.iter().map(|change| change.as_ref().map_or(f64::INFINITY, |c| c.cost)).collect();
            // A class that the data lacks may be the one that costs nothing: it must stay possible.
            let floor = 1e-6;
            let prior: Vec<f64> = defender.prior.iter().map(|p| p.max(floor)).collect();
            let q = class_distribution(&prior, &costs, settings.epsilon)?;
            let key = content_key(settings.seed, row).stream(Stream::Defence, 0);
            let mut left = f64::from(uniform(key.draw(0, 0, 0)[0]));
            let mut drawn = argmax(&q);
            for (class, share) in q.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                if left < *share {
                    drawn = class;
                    break;
                }
                left -= share;
            }
            Ok(changes.swap_remove(drawn).map_or_else(|| row.to_vec(), |change| change.features))
        })
        .collect::<Result<_>>()?;
    Ok(Guarded::of(rows.concat(), features))
}

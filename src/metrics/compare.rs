//! Tests against chance, between two attacks, and over several of them.

use rayon::prelude::*;

use super::bootstrap::{Distribution, Estimate, resample};
use super::interval::LEVEL;
use super::jackknife::{self, Influence};
use super::ranking::{Ranking, twice_mann_whitney};
use super::special::{binomial_upper_tail, normal_cdf};
use super::{MembershipResult, roc};
use crate::rng::{Key, Stream};
use crate::{Error, Result};

/// One-sided exact binomial test that the accuracy exceeds `chance`: P[Bin(trials, chance) ≥ correct].
pub fn accuracy_p_value(correct: u64, trials: u64, chance: f64) -> f64 {
    binomial_upper_tail(correct, trials, chance)
}

/// One-sided Mann–Whitney test that members score higher than non-members: normal approximation with tie
/// correction and continuity correction. 1 when all scores are equal.
pub fn auc_p_value(ranking: &Ranking) -> f64 {
    let (p, n) = (ranking.positive_count() as f64, ranking.negative_count() as f64);
    let total = p + n;
    let ties: f64 = ranking
        .positives
        .iter()
        .zip(&ranking.negatives)
        .map(|(&a, &b)| f64::from(a) + f64::from(b))
        .map(|t| t * t * t - t)
        .sum();
    let variance = p * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let u = 0.5 * twice_mann_whitney(&ranking.positives, &ranking.negatives) as f64;
    normal_cdf(-(u - 0.5 * p * n - 0.5) / variance.sqrt())
}

fn check_paired(a: &MembershipResult, b: &MembershipResult) -> Result<()> {
    if a.ids() != b.ids() || a.members() != b.members() {
        let at = a.ids().iter().zip(b.ids()).position(|(x, y)| x != y);
        let detail = match at {
            Some(i) => format!("row {i} is sample '{}' in one and '{}' in the other", a.ids()[i], b.ids()[i]),
            None => format!("{} and {} samples, or other membership labels", a.count(), b.count()),
        };
        return Err(Error::shape(format!(
            "paired comparison: both attacks must be run on the same samples in the same order; {detail}"
        )));
    }
    Ok(())
}

/// Exact two-sided McNemar test on the decisions of two attacks on the same samples: with b and c the numbers of
/// samples that only one of them gets right, p = min(1, 2·P[Bin(b + c, ½) ≤ min(b, c)]).
///
/// # Errors
/// Different samples.
pub fn mcnemar(a: &MembershipResult, b: &MembershipResult) -> Result<f64> {
    check_paired(a, b)?;
    let (mut only_a, mut only_b) = (0u64, 0u64);
    for i in 0..a.count() {
        let truth = a.members()[i];
        match (a.decisions()[i] == truth, b.decisions()[i] == truth) {
            (true, false) => only_a += 1,
            (false, true) => only_b += 1,
            _ => {}
        }
    }
    let discordant = only_a + only_b;
    // P[X ≤ m] = P[X ≥ discordant − m] at probability ½.
    let tail = binomial_upper_tail(discordant - only_a.min(only_b), discordant, 0.5);
    Ok((2.0 * tail).min(1.0))
}

/// AUC(a) − AUC(b) on the same samples with a paired bootstrap interval (members and non-members resampled
/// separately, the same draw for both attacks).
///
/// # Errors
/// Different samples.
pub fn auc_difference(
    a: &MembershipResult,
    b: &MembershipResult,
    replicates: usize,
    seed: u64,
) -> Result<Estimate> {
    check_paired(a, b)?;
    let rankings = [Ranking::new(a), Ranking::new(b)];
    let class =
        |wanted: bool| -> Vec<usize> { (0..a.count()).filter(|&i| a.members()[i] == wanted).collect() };
    let classes = [class(true), class(false)];
    let pairs = classes[0].len() as f64 * classes[1].len() as f64;
    let key = Key::from_seed(seed);
    let values: Vec<f64> = (0..replicates as u32)
        .into_par_iter()
        .map(|replicate| {
            let key = key.stream(Stream::Bootstrap, replicate);
            let mut counts =
                rankings.each_ref().map(|r| [vec![0u32; r.thresholds.len()], vec![0u32; r.thresholds.len()]]);
            for (c, samples) in classes.iter().enumerate() {
                resample(key, c as u16, samples.len(), |drawn| {
                    for (count, ranking) in counts.iter_mut().zip(&rankings) {
                        count[c][ranking.group_of[samples[drawn]] as usize] += 1;
                    }
                });
            }
            let auc = |k: usize| twice_mann_whitney(&counts[k][0], &counts[k][1]) as f64 / (2.0 * pairs);
            auc(0) - auc(1)
        })
        .collect();
    // Influence of a difference, sample by sample.
    let mut influence = Influence::of_classes(2);
    let by_group = rankings.each_ref().map(|ranking| {
        let lists = jackknife::auc(ranking).classes;
        let expand = |counts: &[u32], list: &[(f64, u64)]| {
            let mut values = list.iter().map(|(v, _)| *v);
            counts
                .iter()
                .map(|&c| if c > 0 { values.next().unwrap_or(0.0) } else { 0.0 })
                .collect::<Vec<f64>>()
        };
        [expand(&ranking.positives, &lists[0]), expand(&ranking.negatives, &lists[1])]
    });
    for (c, samples) in classes.iter().enumerate().filter(|(_, samples)| samples.len() > 1) {
        influence.classes[c] = samples
            .iter()
            .map(|&i| {
                let value = |k: usize| by_group[k][c][rankings[k].group_of[i] as usize];
                (value(0) - value(1), 1)
            })
            .collect();
    }
    let estimate = roc::auc(&rankings[0]) - roc::auc(&rankings[1]);
    Ok(Distribution::new(estimate, values, &influence).summary(LEVEL))
}

/// Holm's step-down adjusted p-values, in the order given (Holm 1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut running = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        running = running.max((p_values.len() - rank) as f64 * p_values[i]).min(1.0);
        adjusted[i] = running;
    }
    adjusted
}

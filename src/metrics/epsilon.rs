//! Lower bounds on the ε of differential privacy from the success of a membership attack.
//!
//! A mechanism that is (ε, δ)-DP forces TPR ≤ e^ε·FPR + δ and TNR ≤ e^ε·FNR + δ on every attack, so an attack
//! that does better disproves that ε.

use serde::{Deserialize, Serialize};

use super::MembershipResult;
use super::interval::{clopper_pearson_lower, clopper_pearson_upper};
use super::ranking::Ranking;
use super::special::{binomial_upper_tail, normal_cdf, normal_quantile};
use crate::rng::{Key, Stream};
use crate::{Error, Result};

/// What a bound is computed for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpsilonSetting {
    /// Error probability of the bound.
    pub alpha: f64,
    pub delta: f64,
    /// Unit of privacy: "example", "pair", "group".
    pub unit: String,
    /// Whether membership of every sample was an independent fair coin flip. If not, the result is labelled an
    /// estimate.
    pub independent_inclusion: bool,
}

impl Default for EpsilonSetting {
    fn default() -> EpsilonSetting {
        EpsilonSetting { alpha: 0.05, delta: 1e-5, unit: "example".into(), independent_inclusion: false }
    }
}

impl EpsilonSetting {
    fn check(&self) -> Result<()> {
        let valid = self.alpha > 0.0 && self.alpha < 1.0 && (0.0..1.0).contains(&self.delta);
        if valid {
            return Ok(());
        }
        Err(Error::usage(format!(
            "epsilon bound: alpha must be in (0, 1) and delta in [0, 1), found {} and {}",
            self.alpha, self.delta
        )))
    }
}

/// Which thresholds a bound looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thresholds {
    /// Only the attack's own decisions, fixed before the audited samples were seen.
    Own,
    /// All distinct scores, Bonferroni-corrected.
    All,
    /// Chosen on one random half of the samples, bounded on the other.
    Split { seed: u64 },
    /// Median over random halves, each bounded at α/2.
    MedianOfSplits { splits: u32, seed: u64 },
}

/// A lower bound (or estimate) of ε with everything needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpsilonBound {
    pub estimator: String,
    pub epsilon: f64,
    /// `"bound"` if membership was decided by independent coin flips, else `"estimate"`.
    pub kind: String,
    /// True when the statement holds only for large samples.
    pub asymptotic: bool,
    pub alpha: f64,
    pub delta: f64,
    pub members: u64,
    pub non_members: u64,
    /// Number of thresholds (or guess counts) the error is shared among.
    pub thresholds: u64,
    pub unit: String,
}

/// Counts at the thresholds that a bound may look at.
struct Evaluation {
    /// (true positives, false positives).
    points: Vec<(u64, u64)>,
    p: u64,
    n: u64,
    /// Which direction to bound: chosen beforehand, or `None` for both.
    twin: Option<bool>,
    alpha: f64,
}

/// Katz log interval, lower end: ln(TPR/FPR) − z·√(FNR/TP + TNR/FP), FP = 0 replaced by ½ (Katz et al. 1978;
/// arXiv 2210.08643). −∞ without true positives.
pub fn katz_log_lower(tp: u64, p: u64, fp: u64, n: u64, z: f64) -> f64 {
    if tp == 0 || p == 0 || n == 0 {
        return f64::NEG_INFINITY;
    }
    let (tp, p, n) = (tp as f64, p as f64, n as f64);
    let fp = if fp == 0 { 0.5 } else { fp as f64 };
    let (tpr, fpr) = (tp / p, fp / n);
    (tpr / fpr).ln() - z * ((1.0 - tpr) / tp + (1.0 - fpr) / fp).sqrt()
}

/// One random half to choose (threshold, direction) by the Katz bound, counts on the other half.
fn split_once(result: &MembershipResult, key: Key, alpha: f64) -> Evaluation {
    let mut halves = [0u32; 2];
    // Each class is cut in halves on its own, by random order, so both halves hold both classes where they can.
    let mut chosen = vec![false; result.count()];
    for class in [true, false] {
        let mut order: Vec<([u32; 2], usize)> = (0..result.count())
            .filter(|&i| result.members()[i] == class)
            .map(|i| (key.draw(i as u32, 2, 0), i))
            .collect();
        order.sort_unstable();
        for &(_, i) in &order[..order.len() / 2] {
            chosen[i] = true;
        }
        halves[usize::from(class)] = (order.len() / 2) as u32;
    }
    let ranking = Ranking::new(result);
    // Per tie group: bounding non-members, bounding members, choosing non-members, choosing members.
    let mut counts = vec![[0u64; 4]; ranking.thresholds.len()];
    for (i, &group) in ranking.group_of.iter().enumerate() {
        counts[group as usize][usize::from(chosen[i]) * 2 + usize::from(result.members()[i])] += 1;
    }
    let (choose_p, choose_n) = (u64::from(halves[1]), u64::from(halves[0]));
    let z = normal_quantile(1.0 - alpha);
    let mut best = (f64::NEG_INFINITY, 0usize, false);
    let (mut tp, mut fp) = (0u64, 0u64);
    for (g, group) in counts.iter().enumerate() {
        tp += group[3];
        fp += group[2];
        for twin in [false, true] {
            let value = if twin {
                katz_log_lower(choose_n - fp, choose_n, choose_p - tp, choose_p, z)
            } else {
                katz_log_lower(tp, choose_p, fp, choose_n, z)
            };
            if value > best.0 {
                best = (value, g, twin);
            }
        }
    }
    let sum = |k: usize| counts[..=best.1].iter().map(|group| group[k]).sum::<u64>();
    Evaluation {
        points: vec![(sum(1), sum(0))],
        p: result.member_count() as u64 - choose_p,
        n: result.non_member_count() as u64 - choose_n,
        twin: Some(best.2),
        alpha,
    }
}

fn evaluations(result: &MembershipResult, alpha: f64, thresholds: Thresholds) -> Vec<Evaluation> {
    let (p, n) = (result.member_count() as u64, result.non_member_count() as u64);
    match thresholds {
        Thresholds::Own => {
            let confusion = super::Confusion::new(result);
            let points = vec![(confusion.true_positives, confusion.false_positives)];
            vec![Evaluation { points, p, n, twin: None, alpha }]
        }
        Thresholds::All => {
            vec![Evaluation { points: Ranking::new(result).cumulative(), p, n, twin: None, alpha }]
        }
        Thresholds::Split { seed } => {
            vec![split_once(result, Key::from_seed(seed).stream(Stream::Bootstrap, 0), alpha)]
        }
        Thresholds::MedianOfSplits { splits, seed } => {
            let key = Key::from_seed(seed);
            (0..splits.max(1))
                .map(|split| split_once(result, key.stream(Stream::Bootstrap, split), 0.5 * alpha))
                .collect()
        }
    }
}

/// Lower median: with an even count the smaller of the two middle values, the cautious choice.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

fn bound(
    estimator: String,
    epsilon: f64,
    asymptotic: bool,
    result: &MembershipResult,
    setting: &EpsilonSetting,
    thresholds: usize,
) -> EpsilonBound {
    EpsilonBound {
        estimator,
        epsilon: epsilon.max(0.0),
        kind: if setting.independent_inclusion { "bound" } else { "estimate" }.into(),
        asymptotic,
        alpha: setting.alpha,
        delta: setting.delta,
        members: result.member_count() as u64,
        non_members: result.non_member_count() as u64,
        thresholds: thresholds as u64,
        unit: setting.unit.clone(),
    }
}

fn describe(thresholds: Thresholds) -> String {
    match thresholds {
        Thresholds::Own => "at the attack's own threshold".into(),
        Thresholds::All => "all thresholds, Bonferroni".into(),
        Thresholds::Split { .. } => "threshold chosen on one half".into(),
        Thresholds::MedianOfSplits { splits, .. } => format!("median over {splits} random halves"),
    }
}

/// (a) Clopper–Pearson: max over thresholds and both directions of ln((TPR_lo − δ)/FPR_hi), each one-sided
/// bound at α/(2T), halved again where both directions are tried.
///
/// # Errors
/// α or δ out of range.
pub fn clopper_pearson_epsilon(
    result: &MembershipResult,
    setting: &EpsilonSetting,
    thresholds: Thresholds,
) -> Result<EpsilonBound> {
    setting.check()?;
    let all = evaluations(result, setting.alpha, thresholds);
    let tried = all.iter().map(|e| e.points.len()).max().unwrap_or(0);
    let one = |e: &Evaluation| {
        let directions = if e.twin.is_none() { 2.0 } else { 1.0 };
        let each = e.alpha / (2.0 * e.points.len() as f64 * directions);
        let log_ratio = |hits: u64, of: u64, alarms: u64, among: u64| {
            let hit = clopper_pearson_lower(hits, of, each) - setting.delta;
            if hit <= 0.0 { 0.0 } else { (hit / clopper_pearson_upper(alarms, among, each)).ln() }
        };
        let mut best = 0.0f64;
        for &(tp, fp) in &e.points {
            if e.twin != Some(true) {
                best = best.max(log_ratio(tp, e.p, fp, e.n));
            }
            if e.twin != Some(false) {
                best = best.max(log_ratio(e.n - fp, e.n, e.p - tp, e.p));
            }
        }
        best
    };
    let epsilon = median(all.iter().map(one).collect());
    let name = format!("Clopper–Pearson, {}", describe(thresholds));
    Ok(bound(name, epsilon, false, result, setting, tried))
}

/// (b) Katz log interval at the attack's own threshold (fixed beforehand, T = 1), both directions, each at α/2.
/// Asymptotic; it bounds ε for δ = 0.
///
/// # Errors
/// α or δ out of range.
pub fn katz_epsilon(result: &MembershipResult, setting: &EpsilonSetting) -> Result<EpsilonBound> {
    setting.check()?;
    let c = super::Confusion::new(result);
    let z = normal_quantile(1.0 - 0.5 * setting.alpha);
    let forward = katz_log_lower(c.true_positives, c.positives(), c.false_positives, c.negatives(), z);
    let twin = katz_log_lower(c.true_negatives, c.negatives(), c.false_negatives, c.positives(), z);
    let setting = EpsilonSetting { delta: 0.0, ..setting.clone() };
    let name = "Katz log, at the attack's own threshold".into();
    Ok(bound(name, forward.max(twin), true, result, &setting, 1))
}

/// (e) Gaussian DP: μ̂ = max_t Φ⁻¹(1 − FPR_hi) − Φ⁻¹(FNR_hi), each bound at α/(2T), then the ε at which
/// μ̂-GDP has the given δ (Dong, Roth, Su 2022, Corollary 2.13).
///
/// # Errors
/// α out of range, or δ outside (0, 1).
pub fn gaussian_dp_epsilon(
    result: &MembershipResult,
    setting: &EpsilonSetting,
    thresholds: Thresholds,
) -> Result<EpsilonBound> {
    setting.check()?;
    if setting.delta <= 0.0 {
        return Err(Error::usage(
            "Gaussian DP bound: delta must be above 0, since Gaussian noise has no finite epsilon at 0",
        ));
    }
    let all = evaluations(result, setting.alpha, thresholds);
    let tried = all.iter().map(|e| e.points.len()).max().unwrap_or(0);
    let one = |e: &Evaluation| {
        let each = e.alpha / (2.0 * e.points.len() as f64);
        let mu = e.points.iter().fold(0.0f64, |best, &(tp, fp)| {
            let fpr = clopper_pearson_upper(fp, e.n, each);
            let fnr = clopper_pearson_upper(e.p - tp, e.p, each);
            let mu = normal_quantile(1.0 - fpr) - normal_quantile(fnr);
            // −∞ − ∞ and friends: a bound of 1 on either error says nothing.
            if mu.is_finite() { best.max(mu) } else { best }
        });
        gaussian_epsilon(mu, setting.delta)
    };
    let epsilon = median(all.iter().map(one).collect());
    let name = format!("Gaussian DP, {}", describe(thresholds));
    Ok(bound(name, epsilon, false, result, setting, tried))
}

/// δ(ε) of μ-Gaussian DP: Φ(−ε/μ + μ/2) − e^ε Φ(−ε/μ − μ/2).
pub fn gaussian_delta(mu: f64, epsilon: f64) -> f64 {
    if mu <= 0.0 {
        return 0.0;
    }
    let second = normal_cdf(-epsilon / mu - 0.5 * mu);
    // Past exp's range the product is below the first term, which has underflowed too.
    let product = if second > 0.0 && epsilon < 700.0 { epsilon.exp() * second } else { 0.0 };
    (normal_cdf(-epsilon / mu + 0.5 * mu) - product).max(0.0)
}

/// The ε at which μ-Gaussian DP has δ(ε) = `delta`; 0 when δ(0) ≤ `delta`.
pub fn gaussian_epsilon(mu: f64, delta: f64) -> f64 {
    if gaussian_delta(mu, 0.0) <= delta {
        return 0.0;
    }
    largest(|epsilon| gaussian_delta(mu, epsilon) > delta)
}

/// Largest ε for which `holds`, given that it holds at 0: bracket by doubling, bisection to 1e-6 and better.
fn largest(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while holds(high) {
        low = high;
        high *= 2.0;
        if high > 1e6 {
            return low;
        }
    }
    while high - low > 1e-10 * high.max(1.0) {
        let middle = 0.5 * (low + high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// (c) p-value of "the training was (ε, δ)-DP" in one run: `correct` of `guesses` guesses about `canaries`
/// canaries, each included by a fair coin (Steinke, Nasr, Jagielski, NeurIPS'23, arXiv 2305.08846).
/// p(ε) = min(1, β + 2mδ·max_{1≤i≤v} (P[Bin(r,q) ≥ v−i] − β)/i), β = P[Bin(r,q) ≥ v], q = e^ε/(1 + e^ε).
pub fn one_run_p_value(correct: u64, guesses: u64, canaries: u64, epsilon: f64, delta: f64) -> f64 {
    let q = 1.0 / (1.0 + (-epsilon).exp());
    let beta = binomial_upper_tail(correct, guesses, q);
    let mut excess = 0.0f64;
    if delta > 0.0 {
        for i in 1..=correct {
            let tail = binomial_upper_tail(correct - i, guesses, q);
            excess = excess.max((tail - beta) / i as f64);
            // Tails do not exceed 1, so later terms are below (1 − β)/i.
            if excess >= (1.0 - beta) / (i + 1) as f64 {
                break;
            }
        }
    }
    (beta + 2.0 * canaries as f64 * delta * excess).min(1.0)
}

/// (c) Largest ε that one run rejects at level `alpha`.
///
/// # Errors
/// More correct guesses than guesses, or more guesses than canaries.
pub fn one_run(correct: u64, guesses: u64, canaries: u64, alpha: f64, delta: f64) -> Result<f64> {
    if correct > guesses || guesses > canaries {
        return Err(Error::usage(format!(
            "one-run bound: expected correct ≤ guesses ≤ canaries, found {correct}, {guesses}, {canaries}"
        )));
    }
    let rejected = |epsilon: f64| one_run_p_value(correct, guesses, canaries, epsilon, delta) <= alpha;
    Ok(if rejected(0.0) { largest(rejected) } else { 0.0 })
}

/// (c) on scores: for every share in `shares` guess IN for that share of the highest and OUT for that share of
/// the lowest scores, Bonferroni over the shares. Ties at the border are broken by a keyed hash of the sample's
/// position, never by its membership.
///
/// # Errors
/// α or δ out of range, no shares, or a share outside (0, 0.5].
pub fn one_run_epsilon(
    result: &MembershipResult,
    setting: &EpsilonSetting,
    shares: &[f64],
    seed: u64,
) -> Result<EpsilonBound> {
    setting.check()?;
    if shares.is_empty() || shares.iter().any(|s| !(*s > 0.0 && *s <= 0.5)) {
        return Err(Error::usage(format!("one-run bound: shares must be in (0, 0.5], found {shares:?}")));
    }
    let canaries = result.count();
    let key = Key::from_seed(seed).stream(Stream::Bootstrap, u32::MAX);
    let mut order: Vec<usize> = (0..canaries).collect();
    order.sort_by_cached_key(|&i| key.draw(i as u32, 3, 0));
    // Stable sort: equal scores keep the random order.
    order.sort_by(|&i, &j| result.scores()[j].total_cmp(&result.scores()[i]));
    let alpha = setting.alpha / shares.len() as f64;
    let mut best = 0.0f64;
    for share in shares {
        let k = ((share * canaries as f64 + 1e-9) as usize).clamp(1, (canaries / 2).max(1));
        let hits = order[..k].iter().filter(|&&i| result.members()[i]).count();
        let passes = order[canaries - k..].iter().filter(|&&i| !result.members()[i]).count();
        let (correct, guesses) = ((hits + passes) as u64, 2 * k as u64);
        best = best.max(one_run(correct, guesses, canaries as u64, alpha, setting.delta)?);
    }
    let name = "one run (Steinke, Nasr, Jagielski)".into();
    Ok(bound(name, best, false, result, setting, shares.len()))
}

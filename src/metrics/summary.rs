//! Every number about one attack on one set of samples.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, MembershipBootstrap, REPLICATES, membership_bootstrap};
use super::compare::{accuracy_p_value, auc_p_value};
use super::interval::{Interval, LEVEL, Proportion, clopper_pearson};
use super::ranking::{Ranking, advantage};
use super::roc::{Roc, auc, operating_point};
use super::{Confusion, FPR_GRID, MembershipResult, PRIORS};

/// A true rate at a limit on the opposite error rate: TPR @ FPR, or TNR @ FNR.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateAtLimit {
    /// Largest error rate allowed.
    pub limit: f64,
    /// Conservative (headline): the largest rate over thresholds whose empirical error rate is ≤ `limit`.
    pub rate: Estimate,
    /// Randomised rule that mixes two neighbouring thresholds to use the limit exactly.
    pub interpolated: f64,
    /// `None` stands for the threshold that calls nothing positive. For TNR @ FNR the rule is
    /// "non-member iff score ≤ threshold".
    pub threshold: Option<f64>,
    /// Correct samples at that threshold.
    pub true_count: u64,
    /// Wrong samples at that threshold: how many errors the number rests on.
    pub error_count: u64,
    /// limit·(samples of the opposite class) < 1 with a limit above 0: the set is too small to resolve it.
    pub unresolved: bool,
}

/// Precision in a population with a share `prior` of members.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositivePredictiveValue {
    pub prior: f64,
    /// `None` when the attack never says "member".
    pub value: Option<f64>,
}

/// Metrics of one membership attack, with 95 % intervals. Proportions at the attack's own threshold have
/// Clopper–Pearson intervals; the others have bootstrap intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MembershipMetrics {
    pub members: u64,
    pub non_members: u64,
    pub balanced: bool,
    /// Accuracy of the better constant answer, max(P, N)/(P + N).
    pub majority_share: f64,
    pub confusion: Confusion,
    pub accuracy: Proportion,
    pub balanced_accuracy: f64,
    pub precision: Option<Proportion>,
    /// TPR at the attack's own threshold.
    pub recall: Proportion,
    pub true_negative_rate: Proportion,
    pub false_positive_rate: Proportion,
    pub false_negative_rate: Proportion,
    pub f1: Estimate,
    pub positive_predictive_value: Vec<PositivePredictiveValue>,
    pub auc: Estimate,
    /// 99 % interval of the AUC, used to judge controls.
    pub auc_99: Interval,
    pub tpr_at_fpr: Vec<RateAtLimit>,
    pub tnr_at_fnr: Vec<RateAtLimit>,
    /// max_t (TPR − FPR).
    pub advantage: Estimate,
    pub equal_error_rate: f64,
    /// 1/N, the smallest non-zero false-positive rate that this set can show.
    pub smallest_fpr: f64,
    /// One-sided exact binomial test of accuracy > majority share.
    pub accuracy_p_value: f64,
    /// One-sided Mann–Whitney test of AUC > ½.
    pub auc_p_value: f64,
    pub bootstrap_replicates: u64,
    pub bootstrap_seed: u64,
}

impl MembershipMetrics {
    /// Computes everything; bootstrap with 2,000 replicates drawn from `seed`. O(n log n + 2000·n).
    pub fn compute(result: &MembershipResult, seed: u64) -> MembershipMetrics {
        MembershipMetrics::compute_with(result, REPLICATES, seed)
    }

    /// As [`MembershipMetrics::compute`] with another number of replicates (at least 1).
    pub fn compute_with(result: &MembershipResult, replicates: usize, seed: u64) -> MembershipMetrics {
        let replicates = replicates.max(1);
        let ranking = Ranking::new(result);
        let confusion = Confusion::new(result);
        let bootstrap = membership_bootstrap(result, &ranking, replicates, seed);
        let roc = Roc::from_ranking(&ranking);
        let (p, n) = (ranking.positive_count(), ranking.negative_count());
        let (correct, total) = (confusion.true_positives + confusion.true_negatives, p + n);

        // Under perfect separation every resample is perfect too. Pairing each member with another non-member
        // gives min(P, N) independent trials of "member scores higher", whose exact interval stands in.
        let pairs = p.min(n);
        let won = (auc(&ranking) * pairs as f64).round() as u64;
        let exact_auc = |level| clopper_pearson(won, pairs, level);
        let auc_estimate = bootstrap.auc.summary(LEVEL).with_fallback(exact_auc(LEVEL));
        let auc_99 = bootstrap.auc.summary(0.99).with_fallback(exact_auc(0.99)).interval;
        let recall_at_best = best_advantage_interval(&ranking);

        MembershipMetrics {
            members: p,
            non_members: n,
            balanced: p == n,
            majority_share: confusion.majority_share(),
            confusion,
            accuracy: proportion(correct, total),
            balanced_accuracy: 0.5
                * (confusion.true_positives as f64 / p as f64 + confusion.true_negatives as f64 / n as f64),
            precision: confusion.precision(),
            recall: proportion(confusion.true_positives, p),
            true_negative_rate: proportion(confusion.true_negatives, n),
            false_positive_rate: proportion(confusion.false_positives, n),
            false_negative_rate: proportion(confusion.false_negatives, p),
            f1: bootstrap.f1.summary(LEVEL),
            positive_predictive_value: PRIORS
                .iter()
                .map(|&prior| PositivePredictiveValue {
                    prior,
                    value: confusion.positive_predictive_value(prior),
                })
                .collect(),
            auc: auc_estimate,
            auc_99,
            tpr_at_fpr: rates(&ranking, &roc, &bootstrap, Side::Members),
            tnr_at_fnr: rates(&ranking, &roc, &bootstrap, Side::NonMembers),
            advantage: bootstrap.advantage.summary(LEVEL).with_fallback(recall_at_best),
            equal_error_rate: roc.equal_error_rate(),
            smallest_fpr: 1.0 / n as f64,
            accuracy_p_value: accuracy_p_value(correct, total, confusion.majority_share()),
            auc_p_value: auc_p_value(&ranking),
            bootstrap_replicates: replicates as u64,
            bootstrap_seed: seed,
        }
    }

    /// The entry of `tpr_at_fpr` for a false-positive rate of the grid.
    pub fn tpr_at(&self, fpr: f64) -> Option<&RateAtLimit> {
        self.tpr_at_fpr.iter().find(|rate| rate.limit == fpr)
    }
}

/// Both classes are non-empty in a [`MembershipResult`], so `trials` > 0 wherever this is called.
fn proportion(successes: u64, trials: u64) -> Proportion {
    Proportion {
        value: successes as f64 / trials as f64,
        interval: clopper_pearson(successes, trials, LEVEL),
        successes,
        trials,
    }
}

/// Conservative interval for the advantage when the bootstrap says nothing: difference of the Clopper–Pearson
/// intervals of TPR and FPR at the best threshold, each at half the error.
fn best_advantage_interval(ranking: &Ranking) -> Interval {
    let (p, n) = (ranking.positive_count(), ranking.negative_count());
    let best = advantage(&ranking.positives, &ranking.negatives, p as f64, n as f64);
    let (tp, fp) = ranking
        .cumulative()
        .into_iter()
        .find(|&(tp, fp)| tp as f64 / p as f64 - fp as f64 / n as f64 >= best)
        .unwrap_or((0, 0));
    let each = 1.0 - 0.5 * (1.0 - LEVEL);
    let (tpr, fpr) = (clopper_pearson(tp, p, each), clopper_pearson(fp, n, each));
    Interval { lower: (tpr.lower - fpr.upper).max(0.0), upper: tpr.upper - fpr.lower, level: LEVEL }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Members,
    NonMembers,
}

fn rates(ranking: &Ranking, roc: &Roc, bootstrap: &MembershipBootstrap, side: Side) -> Vec<RateAtLimit> {
    let mirrored;
    let mirrored_roc;
    let (ranking, roc, distributions, sign) = match side {
        Side::Members => (ranking, roc, &bootstrap.tpr_at_fpr, 1.0),
        Side::NonMembers => {
            mirrored = ranking.mirrored();
            mirrored_roc = Roc::from_ranking(&mirrored);
            (&mirrored, &mirrored_roc, &bootstrap.tnr_at_fnr, -1.0)
        }
    };
    let (positives, negatives) = (ranking.positive_count(), ranking.negative_count());
    FPR_GRID
        .iter()
        .zip(distributions)
        .map(|(&limit, distribution)| {
            let point = operating_point(ranking, limit);
            let exact = clopper_pearson(point.true_positives, positives, LEVEL);
            RateAtLimit {
                limit,
                rate: distribution.summary(LEVEL).with_fallback(exact),
                interpolated: roc.interpolated_tpr(limit),
                threshold: point.threshold.map(|t| sign * t),
                true_count: point.true_positives,
                error_count: point.false_positives,
                unresolved: limit > 0.0 && limit * (negatives as f64) < 1.0 - 1e-9,
            }
        })
        .collect()
}

//! Leave-one-out values in closed form, for the acceleration of BCa intervals.
//!
//! Leaving out one sample changes a metric in a way that depends only on its class and tie group, so each metric
//! needs O(G) work for all samples together instead of O(G) per sample.

use super::ranking::{Ranking, allowed, twice_mann_whitney};

/// Leave-one-out values of each class as (value, multiplicity). A class with a single sample is left empty:
/// without it the metric does not exist.
#[derive(Clone, Debug, Default)]
pub struct Influence {
    pub classes: Vec<Vec<(f64, u64)>>,
}

impl Influence {
    /// Nothing yet of `classes` classes.
    pub fn of_classes(classes: usize) -> Influence {
        Influence { classes: vec![Vec::new(); classes] }
    }

    /// Acceleration of a statistic of several samples: with l_ki = (n_k − 1)(mean − value_ki),
    /// a = Σ_k n_k⁻³ Σ_i l³ / (6 (Σ_k n_k⁻² Σ_i l²)^{3/2}); 0 when the metric does not vary.
    pub fn acceleration(&self) -> f64 {
        let (mut cubes, mut squares) = (0.0, 0.0);
        for class in &self.classes {
            let n: f64 = class.iter().map(|&(_, count)| count as f64).sum();
            if n < 2.0 {
                continue;
            }
            let mean = class.iter().map(|&(v, count)| v * count as f64).sum::<f64>() / n;
            for &(value, count) in class {
                let l = (n - 1.0) * (mean - value);
                cubes += count as f64 * l * l * l / (n * n * n);
                squares += count as f64 * l * l / (n * n);
            }
        }
        if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
    }
}

/// Builds the influence from per-group values of removing one member and one non-member.
fn per_group(
    ranking: &Ranking,
    without_member: impl Fn(usize) -> f64,
    without_non_member: impl Fn(usize) -> f64,
) -> Influence {
    let list = |counts: &[u32], total: u64, value: &dyn Fn(usize) -> f64| {
        if total < 2 {
            return Vec::new();
        }
        let present = counts.iter().enumerate().filter(|(_, c)| **c > 0);
        present.map(|(group, &count)| (value(group), u64::from(count))).collect()
    };
    Influence {
        classes: vec![
            list(&ranking.positives, ranking.positive_count(), &without_member),
            list(&ranking.negatives, ranking.negative_count(), &without_non_member),
        ],
    }
}

/// Area under the ROC curve.
pub fn auc(ranking: &Ranking) -> Influence {
    let (p, n) = (ranking.positive_count() as f64, ranking.negative_count() as f64);
    let twice = twice_mann_whitney(&ranking.positives, &ranking.negatives) as f64;
    let cumulative = ranking.cumulative();
    let half = |count: u32| f64::from(count);
    per_group(
        ranking,
        |g| {
            // Twice the non-members below this member, plus ties.
            let own = 2.0 * (n - cumulative[g].1 as f64) + half(ranking.negatives[g]);
            (twice - own) / (2.0 * (p - 1.0) * n)
        },
        |g| {
            let above = cumulative[g].0 as f64 - half(ranking.positives[g]);
            (twice - 2.0 * above - half(ranking.positives[g])) / (2.0 * p * (n - 1.0))
        },
    )
}

/// max_t (TPR − FPR). Thresholds above the removed sample keep its count, thresholds at or below it lose one;
/// prefix and suffix maxima give both parts.
pub fn advantage(ranking: &Ranking) -> Influence {
    let (p, n) = (ranking.positive_count() as f64, ranking.negative_count() as f64);
    let cumulative = ranking.cumulative();
    let leave_one_out = |tp_scale: f64, fp_scale: f64, tp_less: f64, fp_less: f64| -> Vec<f64> {
        let groups = cumulative.len();
        let mut best = vec![0.0f64; groups];
        let mut prefix = 0.0f64;
        for g in 0..groups {
            best[g] = prefix;
            prefix = prefix.max(cumulative[g].0 as f64 / tp_scale - cumulative[g].1 as f64 / fp_scale);
        }
        let mut suffix = 0.0f64;
        for g in (0..groups).rev() {
            let (tp, fp) = (cumulative[g].0 as f64 - tp_less, cumulative[g].1 as f64 - fp_less);
            suffix = suffix.max(tp / tp_scale - fp / fp_scale);
            best[g] = best[g].max(suffix);
        }
        best
    };
    let without_member = leave_one_out(p - 1.0, n, 1.0, 0.0);
    let without_non_member = leave_one_out(p, n - 1.0, 0.0, 1.0);
    per_group(ranking, |g| without_member[g], |g| without_non_member[g])
}

/// Largest TPR with FPR ≤ `rate`.
pub fn tpr_at_fpr(ranking: &Ranking, rate: f64) -> Influence {
    let (p, n) = (ranking.positive_count(), ranking.negative_count());
    let cumulative = ranking.cumulative();
    // Number of thresholds (from the top) with at most `limit` false positives, and the true positives there.
    let within = |limit: u64| cumulative.partition_point(|&(_, fp)| fp <= limit);
    let found = |count: usize| if count == 0 { 0.0 } else { cumulative[count - 1].0 as f64 };
    let all = within(allowed(rate, n));
    // One non-member fewer: thresholds that include it may have one false positive more than the others.
    let limit = allowed(rate, n.saturating_sub(1));
    let (excluding, including) = (within(limit), within(limit + 1));
    per_group(
        ranking,
        |g| (found(all) - if g < all { 1.0 } else { 0.0 }) / (p as f64 - 1.0),
        |g| found(if g < including { including } else { excluding }) / p as f64,
    )
}

/// F1 at the attack's own decisions.
pub fn f1(tp: u64, fp: u64, p: u64, n: u64) -> Influence {
    let (fn_, tn) = (p - tp, n - fp);
    let value = |tp: u64, fp: u64, fn_: u64| {
        // Never `None` here: a class with one sample is left out, so TP + FN ≥ 1.
        super::confusion::f1(tp as f64, fp as f64, fn_ as f64).unwrap_or(0.0)
    };
    let mut influence = Influence::of_classes(2);
    let mut add = |class: usize, count: u64, total: u64, leave: &dyn Fn() -> f64| {
        if count > 0 && total > 1 {
            influence.classes[class].push((leave(), count));
        }
    };
    add(0, tp, p, &|| value(tp - 1, fp, fn_));
    add(0, fn_, p, &|| value(tp, fp, fn_ - 1));
    add(1, fp, n, &|| value(tp, fp - 1, fn_));
    add(1, tn, n, &|| value(tp, fp, fn_));
    influence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{FPR_GRID, MembershipResult, operating_point};
    use crate::rng::{Key, Stream};

    fn sample(members: usize, non_members: usize, seed: u64) -> MembershipResult {
        let key = Key::from_seed(seed).stream(Stream::Shuffle, 0);
        let n = members + non_members;
        // Few distinct values, so that there are ties within and across classes.
        let scores =
            (0..n).map(|i| f64::from(key.draw(i as u32, 0, 0)[0] % 12) + f64::from(i < members)).collect();
        let truth = (0..n).map(|i| i < members).collect();
        MembershipResult::with_threshold(scores, truth, 6.0, (0..n).map(|i| i.to_string()).collect()).unwrap()
    }

    fn without(result: &MembershipResult, left_out: usize) -> MembershipResult {
        let keep = |i: &usize| *i != left_out;
        let pick = || (0..result.count()).filter(keep);
        MembershipResult::new(
            pick().map(|i| result.scores()[i]).collect(),
            pick().map(|i| result.members()[i]).collect(),
            pick().map(|i| result.decisions()[i]).collect(),
            pick().map(|i| result.ids()[i].clone()).collect(),
        )
        .unwrap()
    }

    fn acceleration_by_hand(result: &MembershipResult, metric: &dyn Fn(&MembershipResult) -> f64) -> f64 {
        let mut influence = Influence::of_classes(2);
        for i in 0..result.count() {
            let class = usize::from(!result.members()[i]);
            influence.classes[class].push((metric(&without(result, i)), 1));
        }
        influence.acceleration()
    }

    #[test]
    fn closed_forms_equal_leaving_out_one_sample_at_a_time() {
        for (seed, (p, n)) in [(31, 23), (12, 40), (25, 25)].into_iter().enumerate() {
            let result = sample(p, n, seed as u64);
            let ranking = Ranking::new(&result);
            let close = |a: f64, b: f64, what: &str| assert!((a - b).abs() < 1e-10, "{what}: {a} and {b}");
            let by_hand = acceleration_by_hand(&result, &|r| super::super::auc(&Ranking::new(r)));
            close(auc(&ranking).acceleration(), by_hand, "AUC");
            let by_hand = acceleration_by_hand(&result, &|r| {
                let ranking = Ranking::new(r);
                let (p, n) = (ranking.positive_count() as f64, ranking.negative_count() as f64);
                super::super::ranking::advantage(&ranking.positives, &ranking.negatives, p, n)
            });
            close(advantage(&ranking).acceleration(), by_hand, "advantage");
            for rate in FPR_GRID.into_iter().chain([0.25]) {
                let by_hand = acceleration_by_hand(&result, &|r| {
                    let ranking = Ranking::new(r);
                    operating_point(&ranking, rate).true_positives as f64 / ranking.positive_count() as f64
                });
                close(tpr_at_fpr(&ranking, rate).acceleration(), by_hand, "TPR at FPR");
            }
            let confusion = crate::metrics::Confusion::new(&result);
            let by_hand = acceleration_by_hand(&result, &|r| crate::metrics::Confusion::new(r).f1().unwrap());
            let closed = f1(confusion.true_positives, confusion.false_positives, p as u64, n as u64);
            close(closed.acceleration(), by_hand, "F1");
        }
    }
}

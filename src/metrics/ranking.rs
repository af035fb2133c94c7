//! Samples sorted by score with ties grouped: what ROC, AUC and every threshold-free rate are computed from.

use super::MembershipResult;

/// Tie groups in descending order of score. Threshold i is "member iff score ≥ `thresholds[i]`"; the threshold
/// +∞ (nobody is a member) comes before all of them and is not stored.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// Distinct scores, descending, `[G]`.
    pub thresholds: Vec<f64>,
    /// Members in each group, `[G]`.
    pub positives: Vec<u32>,
    /// Non-members in each group, `[G]`.
    pub negatives: Vec<u32>,
    /// Group of every sample, in the order of the result, `[n]`.
    pub group_of: Vec<u32>,
}

impl Ranking {
    /// Sorts once, O(n log n).
    pub fn new(result: &MembershipResult) -> Ranking {
        let scores = result.scores();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_unstable_by(|&i, &j| scores[j].total_cmp(&scores[i]).then(i.cmp(&j)));
        let mut ranking = Ranking {
            thresholds: Vec::new(),
            positives: Vec::new(),
            negatives: Vec::new(),
            group_of: vec![0; scores.len()],
        };
        for &i in &order {
            // `==` on floats on purpose: −0 and +0 are the same score.
            if ranking.thresholds.last().is_none_or(|&t| t != scores[i]) {
                ranking.thresholds.push(scores[i]);
                ranking.positives.push(0);
                ranking.negatives.push(0);
            }
            let group = ranking.thresholds.len() - 1;
            ranking.group_of[i] = group as u32;
            if result.members()[i] {
                ranking.positives[group] += 1;
            } else {
                ranking.negatives[group] += 1;
            }
        }
        ranking
    }

    /// The same samples asked the opposite question (non-member instead of member): order and classes swapped.
    pub fn mirrored(&self) -> Ranking {
        let groups = self.thresholds.len() as u32;
        Ranking {
            thresholds: self.thresholds.iter().rev().map(|t| -t).collect(),
            positives: self.negatives.iter().rev().copied().collect(),
            negatives: self.positives.iter().rev().copied().collect(),
            group_of: self.group_of.iter().map(|g| groups - 1 - g).collect(),
        }
    }

    /// Number of members, P.
    pub fn positive_count(&self) -> u64 {
        self.positives.iter().map(|&c| u64::from(c)).sum()
    }
    /// Number of non-members, N.
    pub fn negative_count(&self) -> u64 {
        self.negatives.iter().map(|&c| u64::from(c)).sum()
    }

    /// (true positives, false positives) at every threshold, `[G]`; the last entry is (P, N).
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        self.positives
            .iter()
            .zip(&self.negatives)
            .scan((0, 0), |sum, (&p, &n)| {
                sum.0 += u64::from(p);
                sum.1 += u64::from(n);
                Some(*sum)
            })
            .collect()
    }
}

/// Twice the Mann–Whitney count: 2·#(member > non-member) + #ties, exact in integers. Groups descend.
pub fn twice_mann_whitney(positives: &[u32], negatives: &[u32]) -> u64 {
    let mut above = 0u64;
    let mut twice = 0u64;
    for (&p, &n) in positives.iter().zip(negatives) {
        twice += u64::from(n) * (2 * above + u64::from(p));
        above += u64::from(p);
    }
    twice
}

/// max_t (TPR − FPR) over all thresholds, +∞ included (so never below 0).
pub fn advantage(positives: &[u32], negatives: &[u32], p: f64, n: f64) -> f64 {
    let (mut tp, mut fp, mut best) = (0u64, 0u64, 0.0f64);
    for (&a, &b) in positives.iter().zip(negatives) {
        tp += u64::from(a);
        fp += u64::from(b);
        best = best.max(tp as f64 / p - fp as f64 / n);
    }
    best
}

/// True positives at the lowest threshold with at most `limits[k]` false positives, for every k; `limits`
/// ascend. `groups` yields (positives, negatives) in descending order of score.
pub fn true_positives_within(groups: impl Iterator<Item = (u32, u32)>, limits: &[u64], found: &mut [u64]) {
    found.fill(0);
    let (mut tp, mut fp, mut first) = (0u64, 0u64, 0usize);
    for (p, n) in groups {
        tp += u64::from(p);
        fp += u64::from(n);
        while first < limits.len() && fp > limits[first] {
            first += 1;
        }
        if first == limits.len() {
            return;
        }
        // Limits ascend, so a threshold within limits[first] is within all later ones.
        for slot in &mut found[first..] {
            *slot = tp;
        }
    }
}

/// Largest whole number of false positives allowed at rate `rate` among `n`. The small slack undoes the
/// rounding of products like 0.29·100 = 28.999….
pub fn allowed(rate: f64, n: u64) -> u64 {
    (rate * n as f64 + 1e-9).floor() as u64
}

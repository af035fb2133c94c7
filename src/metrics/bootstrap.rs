//! Bootstrap intervals of the threshold-free metrics: percentile and BCa.
//!
//! Scores are sorted once. A replicate only draws how often each tie group occurs among resampled members and
//! non-members (each class resampled to its own size) and sweeps the groups once, so 2,000 replicates of 20,000
//! samples cost about a second. Replicate b uses random numbers keyed by (seed, b): the result does not depend
//! on threads.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::jackknife::{self, Influence};
use super::ranking::{Ranking, advantage, allowed, true_positives_within, twice_mann_whitney};
use super::special::{normal_cdf, normal_quantile};
use super::{FPR_GRID, MembershipResult};
use crate::rng::{Key, Stream};

/// Number of replicates unless said otherwise.
pub const REPLICATES: usize = 2_000;

const GRID: usize = FPR_GRID.len();
/// AUC, advantage, F1, TPR at each FPR, TNR at each FNR.
const STATISTICS: usize = 3 + 2 * GRID;

/// An estimate with its bootstrap intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    /// The interval to print: BCa, or an exact one where all replicates agree (a resample of a perfect separation
    /// is again perfect, which says nothing about uncertainty).
    pub interval: Interval,
    /// `"bca"` or `"clopper-pearson"`.
    pub method: IntervalMethod,
    pub percentile: Interval,
    pub bca: Interval,
}

/// How the interval to print was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntervalMethod {
    Bca,
    ClopperPearson,
}

impl Estimate {
    /// Uses `exact` for printing when the replicates carry no information.
    pub(super) fn with_fallback(mut self, exact: Interval) -> Estimate {
        if self.percentile.lower == self.percentile.upper {
            self.interval = exact;
            self.method = IntervalMethod::ClopperPearson;
        }
        self
    }
}

/// Value of one statistic on every replicate, with what BCa needs besides.
#[derive(Clone, Debug)]
pub struct Distribution {
    estimate: f64,
    /// Ascending.
    replicates: Vec<f64>,
    acceleration: f64,
}

impl Distribution {
    /// `influence` holds leave-one-out values per class (see [`jackknife`]).
    pub fn new(estimate: f64, mut replicates: Vec<f64>, influence: &Influence) -> Distribution {
        replicates.sort_unstable_by(f64::total_cmp);
        Distribution { estimate, replicates, acceleration: influence.acceleration() }
    }

    /// Linear interpolation between order statistics.
    fn quantile(&self, p: f64) -> f64 {
        let Some(last) = self.replicates.len().checked_sub(1) else { return self.estimate };
        let position = p.clamp(0.0, 1.0) * last as f64;
        let below = position.floor() as usize;
        let (a, b) = (self.replicates[below], self.replicates[(below + 1).min(last)]);
        a + (position - below as f64) * (b - a)
    }

    /// Percentile interval (Efron 1979).
    pub fn percentile(&self, level: f64) -> Interval {
        let tail = 0.5 * (1.0 - level);
        Interval { lower: self.quantile(tail), upper: self.quantile(1.0 - tail), level }
    }

    /// Bias-corrected and accelerated interval (Efron 1987). The bias z₀ counts ties as half below, with +1/+2
    /// smoothing; the acceleration is the several-sample form of Davison & Hinkley 1997, §5.4.
    pub fn bca(&self, level: f64) -> Interval {
        let below = self.replicates.partition_point(|&r| r < self.estimate) as f64;
        let not_above = self.replicates.partition_point(|&r| r <= self.estimate) as f64;
        let share = (0.5 * (below + not_above) + 1.0) / (self.replicates.len() as f64 + 2.0);
        let bias = normal_quantile(share);
        let adjusted = |p: f64| {
            let z = bias + normal_quantile(p);
            let denominator = 1.0 - self.acceleration * z;
            // Past the pole the interval ends at the extreme replicate.
            if denominator <= 0.0 {
                if z < 0.0 { 0.0 } else { 1.0 }
            } else {
                normal_cdf(bias + z / denominator)
            }
        };
        let tail = 0.5 * (1.0 - level);
        Interval { lower: self.quantile(adjusted(tail)), upper: self.quantile(adjusted(1.0 - tail)), level }
    }

    /// Estimate with both intervals at `level`.
    pub fn summary(&self, level: f64) -> Estimate {
        let bca = self.bca(level);
        Estimate {
            value: self.estimate,
            interval: bca,
            method: IntervalMethod::Bca,
            percentile: self.percentile(level),
            bca,
        }
    }
}

/// Bootstrap distributions of every threshold-free metric.
pub struct MembershipBootstrap {
    pub auc: Distribution,
    pub advantage: Distribution,
    pub f1: Distribution,
    /// One per entry of [`FPR_GRID`].
    pub tpr_at_fpr: Vec<Distribution>,
    /// One per entry of [`FPR_GRID`], read as FNR.
    pub tnr_at_fnr: Vec<Distribution>,
}

/// Uniform index below `n` from 32 random bits. The bias of the multiply-shift, n/2³², is far below the
/// bootstrap's own noise.
pub(super) fn index_below(bits: u32, n: usize) -> usize {
    ((u64::from(bits) * n as u64) >> 32) as usize
}

/// Calls `visit` with `n` indices drawn with replacement from 0..n; `class` separates the streams.
pub(super) fn resample(key: Key, class: u16, n: usize, mut visit: impl FnMut(usize)) {
    for pair in 0..n.div_ceil(2) {
        let bits = key.draw(pair as u32, class, 0);
        visit(index_below(bits[0], n));
        if 2 * pair + 1 < n {
            visit(index_below(bits[1], n));
        }
    }
}

struct Statistics {
    p: u64,
    n: u64,
    false_positive_limits: [u64; GRID],
    false_negative_limits: [u64; GRID],
}

impl Statistics {
    fn new(p: u64, n: u64) -> Statistics {
        Statistics {
            p,
            n,
            false_positive_limits: FPR_GRID.map(|rate| allowed(rate, n)),
            false_negative_limits: FPR_GRID.map(|rate| allowed(rate, p)),
        }
    }

    fn compute(&self, positives: &[u32], negatives: &[u32], tp: u64, fp: u64) -> [f64; STATISTICS] {
        let (p, n) = (self.p as f64, self.n as f64);
        let mut out = [0.0; STATISTICS];
        out[0] = twice_mann_whitney(positives, negatives) as f64 / (2.0 * p * n);
        out[1] = advantage(positives, negatives, p, n);
        // P > 0, so the denominator 2TP + FP + FN ≥ P is not zero.
        out[2] = super::confusion::f1(tp as f64, fp as f64, p - tp as f64).unwrap_or(0.0);
        let mut found = [0u64; GRID];
        let groups = || positives.iter().copied().zip(negatives.iter().copied());
        true_positives_within(groups(), &self.false_positive_limits, &mut found);
        for (slot, &count) in out[3..].iter_mut().zip(&found) {
            *slot = count as f64 / p;
        }
        let mirrored = groups().rev().map(|(a, b)| (b, a));
        true_positives_within(mirrored, &self.false_negative_limits, &mut found);
        for (slot, &count) in out[3 + GRID..].iter_mut().zip(&found) {
            *slot = count as f64 / n;
        }
        out
    }
}

/// Draws `replicates` bootstrap replicates of all metrics of `result`.
pub fn membership_bootstrap(
    result: &MembershipResult,
    ranking: &Ranking,
    replicates: usize,
    seed: u64,
) -> MembershipBootstrap {
    // (group, decision) per sample and class: all that a replicate has to look up.
    let class = |wanted: bool| -> Vec<(u32, bool)> {
        (0..result.count())
            .filter(|&i| result.members()[i] == wanted)
            .map(|i| (ranking.group_of[i], result.decisions()[i]))
            .collect()
    };
    let (members, non_members) = (class(true), class(false));
    let statistics = Statistics::new(members.len() as u64, non_members.len() as u64);
    let groups = ranking.thresholds.len();
    let key = Key::from_seed(seed);

    let rows: Vec<[f64; STATISTICS]> = (0..replicates as u32)
        .into_par_iter()
        .map_init(
            || (vec![0u32; groups], vec![0u32; groups]),
            |(positives, negatives), replicate| {
                let key = key.stream(Stream::Bootstrap, replicate);
                let draw = |class: u16, samples: &[(u32, bool)], counts: &mut [u32]| {
                    counts.fill(0);
                    let mut decided = 0u64;
                    resample(key, class, samples.len(), |i| {
                        let (group, decision) = samples[i];
                        counts[group as usize] += 1;
                        decided += u64::from(decision);
                    });
                    decided
                };
                let tp = draw(0, &members, positives);
                let fp = draw(1, &non_members, negatives);
                statistics.compute(positives, negatives, tp, fp)
            },
        )
        .collect();

    let count = |samples: &[(u32, bool)]| samples.iter().filter(|(_, d)| *d).count() as u64;
    let (tp, fp) = (count(&members), count(&non_members));
    let observed = statistics.compute(&ranking.positives, &ranking.negatives, tp, fp);
    let column = |k: usize, influence: Influence| {
        Distribution::new(observed[k], rows.iter().map(|row| row[k]).collect(), &influence)
    };
    let mirrored = ranking.mirrored();
    MembershipBootstrap {
        auc: column(0, jackknife::auc(ranking)),
        advantage: column(1, jackknife::advantage(ranking)),
        f1: column(2, jackknife::f1(tp, fp, members.len() as u64, non_members.len() as u64)),
        tpr_at_fpr: (0..GRID).map(|k| column(3 + k, jackknife::tpr_at_fpr(ranking, FPR_GRID[k]))).collect(),
        tnr_at_fnr: (0..GRID)
            .map(|k| column(3 + GRID + k, jackknife::tpr_at_fpr(&mirrored, FPR_GRID[k])))
            .collect(),
    }
}

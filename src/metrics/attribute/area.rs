//! One-vs-rest areas under the ROC curve and the interval of their mean.
//!
//! Source: E. DeLong, D. DeLong, D. Clarke-Pearson, "Comparing the areas under two or more correlated receiver
//! operating characteristic curves", Biometrics 44, 1988: placement values as influence of each sample. A
//! sample is a positive of its own class's curve and a negative of the others, so its influences are added before
//! they are squared.

use super::super::controls::Measured;
use super::super::interval::{Interval, LEVEL};
use super::super::special::normal_quantile;
use super::AttributeResult;
use rayon::prelude::*;

/// Areas by class and their mean over the classes that have one.
pub struct Areas {
    pub by_class: Vec<Option<f64>>,
    pub macro_average: Option<Measured>,
}

/// O(C n log n).
pub fn one_vs_rest(result: &AttributeResult) -> Areas {
    let curves: Vec<Option<(f64, Vec<f64>)>> =
        (0..result.classes()).into_par_iter().map(|class| curve(result, class)).collect();
    let by_class: Vec<Option<f64>> = curves.iter().map(|c| c.as_ref().map(|(area, _)| *area)).collect();
    let found: Vec<&(f64, Vec<f64>)> = curves.iter().flatten().collect();
    let count = found.len() as f64;
    let macro_average = (!found.is_empty()).then(|| {
        let value = found.iter().map(|(area, _)| area).sum::<f64>() / count;
        let variance: f64 = (0..result.count())
            .map(|i| (found.iter().map(|(_, influence)| influence[i]).sum::<f64>() / count).powi(2))
            .sum();
        let half = normal_quantile(0.5 + 0.5 * LEVEL) * variance.sqrt();
        // A perfect ranking has no variance, which says nothing about uncertainty.
        let interval = (variance > 0.0).then(|| Interval {
            lower: (value - half).max(0.0),
            upper: (value + half).min(1.0),
            level: LEVEL,
        });
        Measured { value, interval }
    });
    Areas { by_class, macro_average }
}

/// Area of one class against the rest with the influence of each sample: (placement − area) over the size of the
/// sample's side. `None` where a side is empty.
fn curve(result: &AttributeResult, class: usize) -> Option<(f64, Vec<f64>)> {
    let n = result.count();
    let positive: Vec<bool> = result.labels().iter().map(|&l| l as usize == class).collect();
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = n - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let score = |i: usize| result.scores()[i * result.classes() + class];
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|&a, &b| score(a).total_cmp(&score(b)).then(a.cmp(&b)));
    let (p, q) = (positives as f64, negatives as f64);
    let mut placement = vec![0.0; n];
    let (mut below_p, mut below_n) = (0usize, 0usize);
    for tied in order.chunk_by(|&a, &b| score(a) == score(b)) {
        let here_p = tied.iter().filter(|&&i| positive[i]).count();
        let here_n = tied.len() - here_p;
        for &i in tied {
            placement[i] = if positive[i] {
                (below_n as f64 + 0.5 * here_n as f64) / q
            } else {
                ((positives - below_p - here_p) as f64 + 0.5 * here_p as f64) / p
            };
        }
        below_p += here_p;
        below_n += here_n;
    }
    let area = (0..n).filter(|&i| positive[i]).map(|i| placement[i]).sum::<f64>() / p;
    let influence = (0..n).map(|i| (placement[i] - area) / if positive[i] { p } else { q }).collect();
    Some((area, influence))
}

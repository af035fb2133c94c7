//! Two attackers on the same samples.

use super::super::bootstrap::{Distribution, Estimate, resample};
use super::super::interval::{Interval, LEVEL, clopper_pearson_lower, clopper_pearson_upper};
use super::super::jackknife::Influence;
use super::AttributeResult;
use crate::rng::{Key, Stream};
use crate::{Error, Result};
use rayon::prelude::*;

/// accuracy(a) − accuracy(b) with a paired bootstrap interval: samples are drawn with replacement, each with both
/// answers. Where all replicates agree, the interval to print is that of the two Clopper–Pearson bounds of "only a is
/// right" and "only b is right", each at half the error.
///
/// Attack minus imputation is the advantage of Jayaraman and Evans, CCS 2022.
///
/// # Errors
/// Different samples.
pub fn accuracy_difference(
    a: &AttributeResult,
    b: &AttributeResult,
    replicates: usize,
    seed: u64,
) -> Result<Estimate> {
    if a.labels() != b.labels() {
        return Err(Error::shape(format!(
            "accuracy difference: expected the same samples, found {} and {} with other labels",
            a.count(),
            b.count()
        )));
    }
    let n = a.count();
    let gain: Vec<i64> = (0..n)
        .map(|i| {
            let right = |r: &AttributeResult| i64::from(r.predictions()[i] == r.labels()[i]);
            right(a) - right(b)
        })
        .collect();
    let total: i64 = gain.iter().sum();
    let estimate = total as f64 / n as f64;
    let key = Key::from_seed(seed);
    let values: Vec<f64> = (0..replicates as u32)
        .into_par_iter()
        .map(|replicate| {
            let mut sum = 0;
            resample(key.stream(Stream::Bootstrap, replicate), 0, n, |i| sum += gain[i]);
            sum as f64 / n as f64
        })
        .collect();
    let count = |wanted: i64| gain.iter().filter(|g| **g == wanted).count() as u64;
    let mut influence = Influence::default();
    if n > 1 {
        let without = |g: i64| (total - g) as f64 / (n - 1) as f64;
        influence.classes.push([-1, 0, 1].map(|g| (without(g), count(g))).to_vec());
    }
    let tail = 0.25 * (1.0 - LEVEL);
    let (only_a, only_b, n) = (count(1), count(-1), n as u64);
    let exact = Interval {
        lower: clopper_pearson_lower(only_a, n, tail) - clopper_pearson_upper(only_b, n, tail),
        upper: clopper_pearson_upper(only_a, n, tail) - clopper_pearson_lower(only_b, n, tail),
        level: LEVEL,
    };
    Ok(Distribution::new(estimate, values, &influence).summary(LEVEL).with_fallback(exact))
}

//! Bootstrap intervals of balanced accuracy and macro-F1. Both depend on the confusion counts alone, so a replicate
//! only draws how often each cell of a true class occurs.

use super::super::bootstrap::{Distribution, Estimate, resample};
use super::super::interval::{LEVEL, Proportion};
use super::super::jackknife::Influence;
use super::Confusion;
use crate::rng::{Key, Stream};
use rayon::prelude::*;

/// Balanced accuracy and macro-F1. Where all replicates agree the accuracy's own interval stands in.
pub fn estimates(
    confusion: &Confusion,
    accuracy: &Proportion,
    replicates: usize,
    seed: u64,
) -> [Estimate; 2] {
    let classes = confusion.counts.len();
    // The prediction of every sample of each class, in the order of the cells.
    let samples: Vec<Vec<u32>> = confusion
        .counts
        .iter()
        .map(|row| (0u32..).zip(row).flat_map(|(p, &n)| std::iter::repeat_n(p, n as usize)).collect())
        .collect();
    let key = Key::from_seed(seed);
    let rows: Vec<[f64; 2]> = (0..replicates as u32)
        .into_par_iter()
        .map(|replicate| {
            let key = key.stream(Stream::Bootstrap, replicate);
            let mut drawn = Confusion { counts: vec![vec![0; classes]; classes] };
            for (class, predictions) in samples.iter().enumerate() {
                resample(key, class as u16, predictions.len(), |i| {
                    drawn.counts[class][predictions[i] as usize] += 1;
                });
            }
            statistics(&drawn)
        })
        .collect();
    let observed = statistics(confusion);
    let influence = influence(confusion);
    [0, 1].map(|k| {
        let replicates = rows.iter().map(|row| row[k]).collect();
        Distribution::new(observed[k], replicates, &influence[k])
            .summary(LEVEL)
            .with_fallback(accuracy.interval)
    })
}

/// There are samples, so both exist.
fn statistics(confusion: &Confusion) -> [f64; 2] {
    [confusion.balanced_accuracy().unwrap_or(0.0), confusion.macro_f1().unwrap_or(0.0)]
}

/// Leave-one-out values by true class, a cell at a time.
fn influence(confusion: &Confusion) -> [Influence; 2] {
    let mut influence = [Influence::default(), Influence::default()];
    let mut without = confusion.clone();
    for (class, row) in confusion.counts.iter().enumerate() {
        let mut lists = [Vec::new(), Vec::new()];
        if row.iter().sum::<u64>() > 1 {
            for (prediction, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                without.counts[class][prediction] -= 1;
                for (list, value) in lists.iter_mut().zip(statistics(&without)) {
                    list.push((value, count));
                }
                without.counts[class][prediction] += 1;
            }
        }
        for (influence, list) in influence.iter_mut().zip(lists) {
            influence.classes.push(list);
        }
    }
    influence
}

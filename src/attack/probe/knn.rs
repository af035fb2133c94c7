//! Weighted nearest neighbours (Wu et al., "Unsupervised feature learning via non-parametric instance
//! discrimination", CVPR 2018, section 3.4): cosine similarity, votes weigh exp(similarity / T).

use super::Rows;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Constants of the vote.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnnSettings {
    /// Most neighbours: k = min(this, training rows).
    pub neighbours: usize,
    /// T.
    pub temperature: f64,
}

impl Default for KnnSettings {
    fn default() -> KnnSettings {
        KnnSettings { neighbours: 200, temperature: 0.1 }
    }
}

/// Training rows on the unit sphere with their labels.
pub struct Neighbours {
    settings: KnnSettings,
    rows: Vec<f32>,
    labels: Vec<u32>,
    width: usize,
    classes: usize,
}

impl Neighbours {
    /// Normalises the training rows.
    ///
    /// # Errors
    /// No neighbours, or a temperature that is not above 0.
    pub fn new(settings: KnnSettings, train: &Rows) -> Result<Neighbours> {
        if settings.neighbours == 0 || settings.temperature.is_nan() || settings.temperature <= 0.0 {
            return Err(Error::usage(format!(
                "knn: expected at least 1 neighbour and a temperature above 0, found {} and {}",
                settings.neighbours, settings.temperature
            )));
        }
        Ok(Neighbours {
            settings,
            rows: normalised(train.features, train.width),
            labels: train.labels.to_vec(),
            width: train.width,
            classes: train.classes,
        })
    }

    /// Shares of the votes `[n, classes]` for rows `[n, width]`.
    ///
    /// # Errors
    /// Numbers that do not make whole rows.
    pub fn posteriors(&self, features: &[f32]) -> Result<Vec<f64>> {
        if !features.len().is_multiple_of(self.width) {
            return Err(Error::shape(format!(
                "knn: {} numbers do not make rows of {}",
                features.len(),
                self.width
            )));
        }
        Ok(self.votes(&normalised(features, self.width), false))
    }

    /// The same for the training rows, each without its own vote.
    pub fn leave_one_out(&self) -> Vec<f64> {
        self.votes(&self.rows, true)
    }

    /// Ties between neighbours go to the earlier training row.
    fn votes(&self, queries: &[f32], leave_out: bool) -> Vec<f64> {
        let vote = |(index, query): (usize, &[f32])| -> Vec<f64> {
            let mut near: Vec<(f32, u32)> = (0u32..)
                .zip(self.rows.chunks(self.width))
                .filter(|&(i, _)| !(leave_out && i as usize == index))
                .map(|(i, row)| (dot(query, row), i))
                .collect();
            let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            let k = self.settings.neighbours.min(near.len());
            if k < near.len() {
                near.select_nth_unstable_by(k, order);
                near.truncate(k);
            }
            // In a fixed order, so that the sums are the same on every machine.
            near.sort_unstable_by(order);
            let most = near.first().map_or(0.0, |n| f64::from(n.0));
            let mut votes = vec![0.0; self.classes];
            for (similarity, i) in near {
                // Shares do not change when all votes are divided by the largest one.
                let weight = ((f64::from(similarity) - most) / self.settings.temperature).exp();
                votes[self.labels[i as usize] as usize] += weight;
            }
            let sum: f64 = votes.iter().sum();
            if sum > 0.0 {
                votes.iter_mut().for_each(|v| *v /= sum);
            }
            votes
        };
        let parts: Vec<Vec<f64>> = queries.par_chunks(self.width).enumerate().map(vote).collect();
        parts.concat()
    }
}

/// Rows divided by max(‖x‖₂, 1e-12).
fn normalised(features: &[f32], width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(features.len());
    for row in features.chunks(width) {
        let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(1e-12);
        out.extend(row.iter().map(|&x| (f64::from(x) / norm) as f32));
    }
    out
}

/// Sixteen partial sums, which compilers keep in vector registers.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a_parts, a_rest) = a.as_chunks::<16>();
    let (b_parts, b_rest) = b.as_chunks::<16>();
    for (x, y) in a_parts.iter().zip(b_parts) {
        for lane in 0..16 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

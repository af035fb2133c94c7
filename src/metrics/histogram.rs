//! Histograms of two groups over shared bins.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Counts of members and non-members over the same bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistogramPair {
    /// Bin borders, ascending, `[bins + 1]`. A bin holds its left border; the last also its right.
    pub edges: Vec<f64>,
    pub members: Vec<u64>,
    pub non_members: Vec<u64>,
}

impl HistogramPair {
    /// Bins of equal width from the smallest to the largest value of both groups. A range of zero width is
    /// widened, so constant data still make a picture.
    ///
    /// # Errors
    /// No bins, both groups empty, or a value that is NaN or infinite.
    pub fn new(members: &[f64], non_members: &[f64], bins: usize) -> Result<HistogramPair> {
        if bins == 0 || members.len() + non_members.len() == 0 {
            return Err(Error::shape("histogram: at least one bin and one value are needed"));
        }
        let all = || members.iter().chain(non_members).copied();
        if let Some(bad) = all().find(|v| !v.is_finite()) {
            return Err(Error::data("histogram", format!("expected finite values, found {bad}")));
        }
        let mut low = all().fold(f64::INFINITY, f64::min);
        let mut high = all().fold(f64::NEG_INFINITY, f64::max);
        if high - low <= 1e-12 * high.abs().max(low.abs()) {
            let margin = 0.01 * high.abs().max(1e-3);
            low -= margin;
            high += margin;
        }
        let width = (high - low) / bins as f64;
        let count = |values: &[f64]| {
            let mut counts = vec![0u64; bins];
            for &v in values {
                // The largest value falls on the last border and belongs to the last bin.
                counts[(((v - low) / width) as usize).min(bins - 1)] += 1;
            }
            counts
        };
        Ok(HistogramPair {
            edges: (0..=bins).map(|i| if i == bins { high } else { low + width * i as f64 }).collect(),
            members: count(members),
            non_members: count(non_members),
        })
    }
}

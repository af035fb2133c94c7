//! What attacks read: posteriors with labels, and plain rows of numbers.

use crate::kernels::loss::check_labels;
use crate::{Error, Result};

/// A classifier's posteriors for a set of samples, with the true labels.
///
/// At least two classes; every number is in [0, 1] and every row sums to 1 (within 0.001).
#[derive(Clone, Debug, PartialEq)]
pub struct Posteriors {
    classes: usize,
    rows: Vec<f32>,
    labels: Vec<u32>,
}

/// How far from 1 the sum of a row may be: f32 rounding of a softmax over many classes, with room.
const SUM_TOLERANCE: f64 = 1e-3;

impl Posteriors {
    /// `rows` `[n, classes]`, one label below `classes` for each.
    ///
    /// # Errors
    /// Numbers that do not make n rows, fewer than two classes, a label out of range, or a row that is no
    /// distribution.
    pub fn new(classes: usize, rows: Vec<f32>, labels: Vec<u32>) -> Result<Posteriors> {
        if classes < 2 || labels.len().checked_mul(classes) != Some(rows.len()) {
            return Err(Error::shape(format!(
                "posteriors: expected {} rows of {classes} classes (at least 2), found {} numbers",
                labels.len(),
                rows.len()
            )));
        }
        check_labels(&labels, classes)?;
        for (i, row) in rows.chunks(classes).enumerate() {
            let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
            let outside = row.iter().find(|p| !(0.0..=1.0 + SUM_TOLERANCE as f32).contains(*p));
            // Not `> tolerance`: a sum that is NaN must not pass.
            let sums_to_one = (sum - 1.0).abs() <= SUM_TOLERANCE;
            if let Some(p) = outside {
                return Err(Error::shape(format!(
                    "posteriors: row {i}: expected numbers in [0, 1], found {p}"
                )));
            }
            if !sums_to_one {
                return Err(Error::shape(format!(
                    "posteriors: row {i}: expected a sum of 1, found {sum}; logits need Posteriors::from_logits"
                )));
            }
        }
        Ok(Posteriors { classes, rows, labels })
    }

    /// Softmax of `logits` `[n, classes]`, in f64 and rounded once.
    ///
    /// # Errors
    /// As [`Posteriors::new`]; logits that are not finite.
    pub fn from_logits(classes: usize, logits: &[f32], labels: Vec<u32>) -> Result<Posteriors> {
        if let Some(at) = logits.iter().position(|v| !v.is_finite()) {
            return Err(Error::shape(format!(
                "posteriors: row {}: the logit of class {} is {}; expected finite numbers",
                at / classes.max(1),
                at % classes.max(1),
                logits[at]
            )));
        }
        let mut rows = Vec::with_capacity(logits.len());
        for row in logits.chunks(classes.max(1)) {
            let largest = row.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
            let powers: Vec<f64> = row.iter().map(|&v| (f64::from(v) - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            rows.extend(powers.iter().map(|p| (p / sum) as f32));
        }
        Posteriors::new(classes, rows, labels)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// True labels, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The posteriors of each sample, with its label.
    pub fn iter(&self) -> impl Iterator<Item = (&[f32], u32)> {
        self.rows.chunks(self.classes).zip(self.labels.iter().copied())
    }

    /// Whether each sample's most probable class is its label.
    pub fn correct(&self) -> Vec<bool> {
        self.iter().map(|(row, label)| argmax(row) == label as usize).collect()
    }

    /// Each row's `k` largest posteriors, descending: `[n, k]`.
    ///
    /// # Errors
    /// [`Error::Usage`] unless 1 ≤ k ≤ classes.
    pub fn top(&self, k: usize) -> Result<Rows> {
        self.check_top(k)?;
        Rows::new(k, self.iter().flat_map(|(row, _)| descending(row).into_iter().take(k)).collect())
    }

    /// What an attacker who sees only the `k` largest posteriors has: each of the others is taken to be
    /// (1 − Σ of the k largest)/(classes − k).
    ///
    /// # Errors
    /// [`Error::Usage`] unless 1 ≤ k ≤ classes.
    pub fn only_top(&self, k: usize) -> Result<Posteriors> {
        self.check_top(k)?;
        let mut rows = self.rows.clone();
        for row in rows.chunks_mut(self.classes) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            let (known, unknown) = order.split_at(k);
            let left = 1.0 - known.iter().map(|&i| f64::from(row[i])).sum::<f64>();
            for &i in unknown {
                row[i] = (left.max(0.0) / unknown.len() as f64) as f32;
            }
        }
        Ok(Posteriors { rows, ..self.clone() })
    }

    fn check_top(&self, k: usize) -> Result<()> {
        if k == 0 || k > self.classes {
            return Err(Error::usage(format!(
                "top posteriors: expected a number from 1 to the {} classes, found {k}",
                self.classes
            )));
        }
        Ok(())
    }
}

/// Index of the largest number, the first of equals.
fn argmax(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// The numbers of a row, largest first.
pub(crate) fn descending(row: &[f32]) -> Vec<f32> {
    let mut sorted = row.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted
}

/// Rows of `width` finite numbers, row-major: one row for each sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    /// `values` `[n, width]`.
    ///
    /// # Errors
    /// Width 0, numbers that do not make whole rows, or a number that is not finite.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Rows> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(Error::shape(format!("rows: {} numbers do not make rows of {width}", values.len())));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::shape(format!(
                "rows: row {} holds {} at place {}; expected finite numbers",
                at / width,
                values[at],
                at % width
            )));
        }
        Ok(Rows { width, values })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// `[n, width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.width)
    }
}

//! Ridge regression from one feature space into another, in f64: W = (XᵀX + λnI)⁻¹XᵀY on standardised X and centred
//! Y, by a Cholesky factorisation; λ is the value with the least squared error on a fifth of the rows left out.

use super::Standardisation;
use super::knn::dot;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Values of λ to choose from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RidgeSettings {
    pub l2: Vec<f64>,
}

impl Default for RidgeSettings {
    fn default() -> RidgeSettings {
        RidgeSettings { l2: vec![1e-4, 1e-3, 1e-2, 1e-1, 1.0] }
    }
}

/// A fitted map.
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeMap {
    standardisation: Standardisation,
    /// `[outputs, width]`.
    weight: Vec<f32>,
    /// Mean of the outputs.
    bias: Vec<f64>,
    pub l2: f64,
    /// Share of the outputs' variance that the map explains on the rows left out while λ was chosen.
    pub explained: f64,
}

impl RidgeMap {
    /// Fits `from` `[n, width]` to `to` `[n, outputs]`.
    ///
    /// # Errors
    /// Sizes that do not agree, fewer than five rows, or strengths that are not above 0.
    pub fn fit(
        settings: &RidgeSettings,
        from: &[f32],
        width: usize,
        to: &[f32],
        outputs: usize,
        seed: u64,
    ) -> Result<RidgeMap> {
        let n = from.len() / width.max(1);
        if n < 5 || outputs == 0 || from.len() != n * width || to.len() != n * outputs {
            return Err(Error::shape(format!(
                "ridge regression: {} numbers by {width} and {} by {outputs} do not make the same rows (at least 5)",
                from.len(),
                to.len()
            )));
        }
        if settings.l2.is_empty() || settings.l2.iter().any(|l2| !l2.is_finite() || *l2 <= 0.0) {
            return Err(Error::usage(format!(
                "ridge regression: expected L2 strengths above 0, found {:?}",
                settings.l2
            )));
        }
        let standardisation = Standardisation::of(from, width);
        let x = standardisation.apply(from);
        let mut bias = vec![0.0; outputs];
        for row in to.chunks(outputs) {
            bias.iter_mut().zip(row).for_each(|(b, &v)| *b += f64::from(v) / n as f64);
        }
        let centred: Vec<f32> = to
            .chunks(outputs)
            .flat_map(|row| row.iter().zip(&bias).map(|(&v, b)| (f64::from(v) - b) as f32))
            .collect();
        let order = permutation(Key::from_seed(seed).stream(Stream::Split, 1), n);
        let (left_out, fitted) = order.split_at(n / 5);
        let moments = Moments::of(&x, width, &centred, outputs, fitted);
        let mut best: Option<(f64, f64)> = None;
        for &l2 in &settings.l2 {
            let weight = moments.solve(l2)?;
            let (mut error, mut total) = (0.0, 0.0);
            for &i in left_out {
                let row = &x[i * width..(i + 1) * width];
                for (w, &y) in weight.chunks(width).zip(&centred[i * outputs..(i + 1) * outputs]) {
                    error += f64::from(dot(row, w) - y).powi(2);
                    total += f64::from(y).powi(2);
                }
            }
            let explained = if total > 0.0 { 1.0 - error / total } else { 0.0 };
            if best.is_none_or(|(_, most)| explained > most) {
                best = Some((l2, explained));
            }
        }
        // There is at least one strength; errors that are not finite leave the first.
        let (l2, explained) = best.unwrap_or((settings.l2[0], 0.0));
        let weight = Moments::of(&x, width, &centred, outputs, &order).solve(l2)?;
        Ok(RidgeMap { standardisation, weight, bias, l2, explained })
    }

    /// Maps rows `[n, width]` to `[n, outputs]`.
    ///
    /// # Errors
    /// Numbers that do not make whole rows.
    pub fn apply(&self, from: &[f32]) -> Result<Vec<f32>> {
        let width = self.standardisation.mean.len();
        if !from.len().is_multiple_of(width) {
            return Err(Error::shape(format!(
                "ridge regression: {} numbers do not make rows of {width}",
                from.len()
            )));
        }
        let x = self.standardisation.apply(from);
        let of_row = |row: &[f32]| -> Vec<f32> {
            let outputs = self.weight.chunks(width).zip(&self.bias);
            outputs.map(|(w, b)| (f64::from(dot(row, w)) + b) as f32).collect()
        };
        Ok(x.par_chunks(width).map(of_row).collect::<Vec<_>>().concat())
    }
}

/// XᵀX `[width, width]` (lower triangle) and XᵀY `[width, outputs]` of some rows.
struct Moments {
    squares: Vec<Vec<f64>>,
    products: Vec<Vec<f64>>,
    rows: usize,
    outputs: usize,
}

/// Rows of XᵀX that are summed together, so that each row of X is read once for all of them.
const BAND: usize = 16;

impl Moments {
    fn of(x: &[f32], width: usize, y: &[f32], outputs: usize, rows: &[usize]) -> Moments {
        let band = |first: usize| -> Vec<(Vec<f64>, Vec<f64>)> {
            let mut sums: Vec<_> = (first..(first + BAND).min(width))
                .map(|i| (vec![0.0f64; i + 1], vec![0.0f64; outputs]))
                .collect();
            for &row in rows {
                let (x, y) = (&x[row * width..(row + 1) * width], &y[row * outputs..(row + 1) * outputs]);
                for (offset, (squares, products)) in sums.iter_mut().enumerate() {
                    let factor = f64::from(x[first + offset]);
                    squares.iter_mut().zip(x).for_each(|(s, &x)| *s += factor * f64::from(x));
                    products.iter_mut().zip(y).for_each(|(s, &y)| *s += factor * f64::from(y));
                }
            }
            sums
        };
        let firsts: Vec<usize> = (0..width).step_by(BAND).collect();
        let bands: Vec<_> = firsts.into_par_iter().map(band).collect();
        let (squares, products) = bands.into_iter().flatten().unzip();
        Moments { squares, products, rows: rows.len(), outputs }
    }

    /// W `[outputs, width]` for one strength.
    fn solve(&self, l2: f64) -> Result<Vec<f32>> {
        let width = self.squares.len();
        let mut factor = self.squares.clone();
        for (i, row) in factor.iter_mut().enumerate() {
            row[i] += l2 * self.rows as f64;
        }
        for i in 0..width {
            let (above, below) = factor.split_at_mut(i);
            let row = &mut below[0];
            for j in 0..i {
                let sum: f64 = row[..j].iter().zip(&above[j][..j]).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - sum) / above[j][j];
            }
            let rest = row[i] - row[..i].iter().map(|v| v * v).sum::<f64>();
            if rest.is_nan() || rest <= 0.0 {
                return Err(Error::Diverged(format!(
                    "ridge regression: features are not finite or λ = {l2} is too small for them"
                )));
            }
            row[i] = rest.sqrt();
        }
        let column = |output: usize| -> Vec<f32> {
            let mut z: Vec<f64> = self.products.iter().map(|row| row[output]).collect();
            for i in 0..width {
                let sum: f64 = factor[i][..i].iter().zip(&z).map(|(l, z)| l * z).sum();
                z[i] = (z[i] - sum) / factor[i][i];
            }
            for i in (0..width).rev() {
                z[i] /= factor[i][i];
                let value = z[i];
                z[..i].iter_mut().zip(&factor[i]).for_each(|(z, l)| *z -= l * value);
            }
            z.into_iter().map(|v| v as f32).collect()
        };
        Ok((0..self.outputs).into_par_iter().map(column).collect::<Vec<_>>().concat())
    }
}

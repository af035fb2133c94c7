//! Standardised features.

use super::LinearHead;

/// Mean and standard deviation of each feature over the training rows (population form); a feature that is constant
/// there gets deviation 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    pub mean: Vec<f64>,
    pub deviation: Vec<f64>,
}

impl Standardisation {
    /// Of rows `[n, width]`, two passes in f64.
    pub fn of(features: &[f32], width: usize) -> Standardisation {
        let n = (features.len() / width.max(1)).max(1) as f64;
        let mut mean = vec![0.0; width];
        for row in features.chunks(width) {
            mean.iter_mut().zip(row).for_each(|(m, &x)| *m += f64::from(x));
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let mut deviation = vec![0.0; width];
        for row in features.chunks(width) {
            for ((d, &x), m) in deviation.iter_mut().zip(row).zip(&mean) {
                *d += (f64::from(x) - m).powi(2);
            }
        }
        for (d, m) in deviation.iter_mut().zip(&mean) {
            *d = (*d / n).sqrt();
            // Rounding leaves a constant feature with a tiny deviation.
            if *d <= 1e-7 * m.abs() || *d == 0.0 {
                *d = 1.0;
            }
        }
        Standardisation { mean, deviation }
    }

    /// `(x − mean)/deviation`, of rows of the same width.
    pub fn apply(&self, features: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(features.len());
        for row in features.chunks(self.mean.len()) {
            let scaled = row.iter().zip(&self.mean).zip(&self.deviation);
            out.extend(scaled.map(|((&x, m), d)| ((f64::from(x) - m) / d) as f32));
        }
        out
    }

    /// The head on raw features that equals `weight` `[classes, width]` and `bias` on standardised ones.
    pub fn fold(&self, weight: &[f64], bias: &[f64]) -> LinearHead {
        let width = self.mean.len();
        let mut raw = Vec::with_capacity(weight.len());
        let mut shifted = Vec::with_capacity(bias.len());
        for (row, b) in weight.chunks(width).zip(bias) {
            raw.extend(row.iter().zip(&self.deviation).map(|(w, d)| (w / d) as f32));
            let shift: f64 =
                row.iter().zip(&self.deviation).zip(&self.mean).map(|((w, d), m)| w / d * m).sum();
            shifted.push((b - shift) as f32);
        }
        LinearHead { weight: raw, bias: shifted, width, classes: bias.len() }
    }
}

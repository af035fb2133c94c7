//! A linear map from features to logits.

use super::softmax;
use crate::{Error, Result};

/// `logits = features · weightᵀ + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearHead {
    /// `[classes, width]`, row-major: `head.weight` of a task classifier's file.
    pub weight: Vec<f32>,
    /// `[classes]`: `head.bias`.
    pub bias: Vec<f32>,
    pub width: usize,
    pub classes: usize,
}

impl LinearHead {
    /// Checked.
    ///
    /// # Errors
    /// Sizes that do not agree.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, width: usize) -> Result<LinearHead> {
        let classes = bias.len();
        if width == 0 || weight.len() != classes * width {
            return Err(Error::shape(format!(
                "linear head: expected weights of {classes} classes by {width} features, found {}",
                weight.len()
            )));
        }
        Ok(LinearHead { weight, bias, width, classes })
    }

    /// Logits `[n, classes]` of features `[n, width]`, summed in f64.
    ///
    /// # Errors
    /// Numbers that do not make whole rows.
    pub fn logits(&self, features: &[f32]) -> Result<Vec<f32>> {
        if !features.len().is_multiple_of(self.width) {
            return Err(Error::shape(format!(
                "linear head: {} numbers do not make rows of {}",
                features.len(),
                self.width
            )));
        }
        let logit = |row: &[f32], class: usize| {
            let weights = &self.weight[class * self.width..(class + 1) * self.width];
            let sum: f64 = row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            (sum + f64::from(self.bias[class])) as f32
        };
        let of_row = |row: &[f32]| (0..self.classes).map(|class| logit(row, class)).collect::<Vec<f32>>();
        Ok(features.chunks(self.width).flat_map(of_row).collect())
    }

    /// Softmax of [`LinearHead::logits`].
    ///
    /// # Errors
    /// See there.
    pub fn posteriors(&self, features: &[f32]) -> Result<Vec<f64>> {
        Ok(softmax(&self.logits(features)?, self.classes))
    }
}

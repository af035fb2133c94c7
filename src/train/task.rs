//! A frozen encoder with its task classifier: the model that membership inference against classifiers queries.

use super::encode::{Encoder, Views};
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::gpu::Gpu;
use crate::{Error, Result};

/// Answers with posteriors. The encoder must have been loaded with [`Output::Logits`](super::Output::Logits).
pub struct TaskModel<'a> {
    pub encoder: &'a Encoder,
    /// How images become inputs: size and normalisation; without randomness.
    pub recipe: &'a Recipe,
}

impl TaskModel<'_> {
    pub fn classes(&self) -> usize {
        self.encoder.feature_dim()
    }

    /// Softmax posteriors `[images, classes]` of all images of `set`. `progress` hears how many images come next
    /// and says whether to stop.
    ///
    /// # Errors
    /// As [`Encoder::features`].
    pub fn posteriors(
        &self,
        gpu: &Gpu,
        set: &ImageSet,
        progress: impl FnMut(usize) -> bool,
    ) -> Result<Vec<f32>> {
        self.view_posteriors(gpu, set, &Views::plain(self.recipe.clone()), progress)
    }

    /// Softmax posteriors `[images, views, classes]`.
    ///
    /// # Errors
    /// As [`Encoder::features`].
    pub fn view_posteriors(
        &self,
        gpu: &Gpu,
        set: &ImageSet,
        views: &Views,
        progress: impl FnMut(usize) -> bool,
    ) -> Result<Vec<f32>> {
        let all: Vec<usize> = (0..set.len()).collect();
        softmax_rows(&self.encoder.features(gpu, set, &all, views, progress)?, self.classes())
    }
}

/// Softmax of each row of `classes` logits, in f64.
///
/// # Errors
/// Numbers that do not make whole rows.
pub fn softmax_rows(logits: &[f32], classes: usize) -> Result<Vec<f32>> {
    if classes == 0 || !logits.len().is_multiple_of(classes) {
        return Err(Error::shape(format!("softmax: {} numbers do not make rows of {classes}", logits.len())));
    }
    let mut posteriors = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(classes) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f64> = row.iter().map(|&v| f64::from(v - most).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        posteriors.extend(exponentials.iter().map(|e| (e / sum) as f32));
    }
    Ok(posteriors)
}

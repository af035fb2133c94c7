//! Random views of images: recipes by name, and their way onto the GPU.
//!
//! A view is a function of (run seed, epoch, sample, view number) and the recipe, of nothing else: not of
//! the batch it is in, nor of the device ([`crate::kernels::augment`] says how parameters are drawn).

mod recipe;

pub use recipe::{
    CIFAR10, CLIP, Constants, IMAGENET, NO_NORMALISATION, RandomCrop, Recipe, STL10, normalization_named,
};

use crate::gpu::{Recording, Slice};
use crate::kernels::Tensor;
use crate::kernels::augment::{self as kernel, AugmentRecord, Batch, Images};
use crate::{Error, Result};

/// Draws and makes the views of a batch: `y` is [images·views, 3, size, size]. Returns the drawn
/// [`AugmentRecord`]s, a transient slice in the order of the rows.
///
/// `step` holds the [`StepState`](crate::kernels::StepState), whose `augment_key` is that of
/// [`Stream::Augment`](crate::rng) and the epoch.
///
/// # Errors
/// A recipe with a setting out of range; an output, image buffer or view number that does not fit.
pub fn augment(
    recording: &mut Recording,
    step: Slice,
    images: &Images,
    batch: &Batch,
    recipe: &Recipe,
    y: Tensor,
) -> Result<Slice> {
    if (y.shape.h, y.shape.w) != (recipe.size, recipe.size) {
        return Err(Error::shape(format!(
            "augmentation: the recipe makes views of {0}x{0}, the output is {1}",
            recipe.size, y.shape
        )));
    }
    let constants = recipe.draw_constants(images.height, images.width)?;
    let records =
        recording.transient("augmentation records", (batch.rows() * size_of::<AugmentRecord>()) as u64);
    kernel::draw(recording, step, batch, &constants, records)?;
    kernel::views(recording, images, batch, records, &recipe.view_settings(), y)?;
    Ok(records)
}

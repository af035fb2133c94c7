//! Features of whole image sets, and the labels that go with them.

use super::load::Loaded;
use crate::augment::Recipe;
use crate::data::{ImageSet, Images, Labels, resized};
use crate::gpu::Gpu;
use crate::train::Views;
use crate::{Error, Result};

/// Hears what is being done, and says whether to stop.
pub type Tell<'a> = dyn FnMut(&str) -> bool + 'a;

/// Which label of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The task's.
    Target,
    /// The sensitive attribute.
    Attribute,
}

impl Label {
    /// The labels of `set`.
    ///
    /// # Errors
    /// A set without them.
    pub fn of(self, set: &dyn Images) -> Result<&Labels> {
        let (labels, name) = match self {
            Label::Target => (set.target(), "target"),
            Label::Attribute => (set.attribute(), "attribute"),
        };
        labels.ok_or_else(|| {
            Error::usage(format!(
                "{}: has no {name} labels; see contraleak data info for what it has",
                set.name()
            ))
        })
    }

    /// The labels of two sets, which must be of the same classes.
    ///
    /// # Errors
    /// A set without them; classes of other names.
    pub fn of_both<'a>(self, a: &'a dyn Images, b: &'a dyn Images) -> Result<(&'a Labels, &'a Labels)> {
        let (x, y) = (self.of(a)?, self.of(b)?);
        if x.names == y.names {
            return Ok((x, y));
        }
        Err(Error::usage(format!(
            "{} and {} have other classes: {} and {}",
            a.name(),
            b.name(),
            x.names.join(", "),
            y.names.join(", ")
        )))
    }
}

/// Embeddings `[images, views, d]` of every image of `set`. Normalisation and size are the encoder's.
///
/// # Errors
/// See [`crate::train::Encoder::features`].
pub fn embeddings(
    gpu: &Gpu,
    loaded: &Loaded,
    set: &dyn Images,
    recipe: Recipe,
    (views, seed): (usize, u64),
    tell: &mut Tell,
) -> Result<Vec<f32>> {
    let recipe = recipe.sized(loaded.encoder.config().size).normalised(loaded.normalization);
    let all: Vec<usize> = (0..set.len()).collect();
    let mut done = 0;
    loaded.encoder.features(gpu, set, &all, &Views { recipe, count: views, seed }, |images| {
        done += images;
        tell(&format!("encoding {}: {done} of {} images", set.name(), set.len()))
    })
}

/// Embeddings `[images, d]` of the images as they are.
///
/// # Errors
/// See [`embeddings`].
pub fn plain(gpu: &Gpu, loaded: &Loaded, set: &dyn Images, tell: &mut Tell) -> Result<Vec<f32>> {
    embeddings(gpu, loaded, set, Recipe::plain(loaded.encoder.config().size), (1, 0), tell)
}

/// The same with every image mirrored with probability ½, but for those of an official test split (whose identifiers begin
/// with `test`): how the attack features of He and Zhang (CCS 2021) were extracted.
///
/// # Errors
/// See [`embeddings`].
pub fn flipped(gpu: &Gpu, loaded: &Loaded, set: &ImageSet, seed: u64, tell: &mut Tell) -> Result<Vec<f32>> {
    let size = loaded.encoder.config().size;
    let recipe = Recipe { horizontal_flip: 0.5, ..Recipe::plain(size) };
    let mut mirrored = embeddings(gpu, loaded, set, recipe, (1, seed), tell)?;
    if set.ids.iter().any(|id| id.starts_with("test")) {
        let straight = plain(gpu, loaded, set, tell)?;
        let width = loaded.encoder.feature_dim();
        let rows = mirrored.chunks_mut(width).zip(straight.chunks(width)).zip(&set.ids);
        for ((to, from), _) in rows.filter(|(_, id)| id.starts_with("test")) {
            to.copy_from_slice(from);
        }
    }
    Ok(mirrored)
}

/// Pixels of every image, resized to `side`x`side`, as numbers in [0, 1]: `[images, side·side·3]`.
pub fn pixels(set: &ImageSet, side: usize) -> Vec<f32> {
    let small =
        if (set.width, set.height) == (side, side) { set.clone() } else { resized(set.clone(), side) };
    small.pixels.iter().map(|&p| f32::from(p) / 255.0).collect()
}

//! Attribute inference in an audit: the attacker holds the non-members with their attribute and infers the members'.

use crate::Result;
use crate::attack::attribute::{
    AttributeAttack, AttributeFinding, AttributeSettings, Embeddings, Features, Labelled,
};
use crate::augment::Recipe;
use crate::data::resize::resize_bilinear;
use crate::data::{Chosen, Images};
use crate::experiment::features::Label;
use crate::experiment::kept_features::{Keep, Measured, embeddings};
use crate::experiment::load::Loaded;
use crate::experiment::tell::Tell;
use crate::gpu::Gpu;
use crate::train::Views;
use std::path::Path;

/// Images of each group, at most: their features are held in memory together.
const MOST: usize = 20_000;
/// Bytes of images in memory at a time, at most.
const CHUNK_BYTES: usize = 128 << 20;
/// Side of the small images that the baseline without the model sees.
const PIXEL_SIDE: usize = 16;

/// Runs every attacker of [`AttributeAttack`]. Tells the finding and how many queries it cost.
///
/// # Errors
/// Images without attribute labels; errors of encoding and of the attack.
pub(super) fn infer(
    gpu: &Gpu,
    loaded: &Loaded,
    chosen: &[Chosen],
    kept: &Path,
    seed: u64,
    tell: &mut dyn Tell,
) -> Result<(AttributeFinding, usize)> {
    let few = [Chosen::evenly(&chosen[1], MOST)?, Chosen::evenly(&chosen[0], MOST)?];
    let (aux, test) = Label::Attribute.of_both(&few[0], &few[1])?;
    let task = match (few[0].target(), few[1].target()) {
        (Some(a), Some(b)) if a.names == b.names => Some((a, b)),
        _ => None,
    };
    let recipe = Recipe::plain(loaded.encoder.config().size).normalised(loaded.normalization);
    let views = Views::plain(recipe);
    let mut embed = |images: &dyn Images, name: &str| {
        let keep = Some(Keep { folder: kept, name, encoder: loaded.sha256() });
        let work = Measured { gpu, encoder: &loaded.encoder, images, views: &views, keep };
        embeddings(&work, &mut |pace| tell.note(&format!("features of {name}: {pace}")))
    };
    let rows = [embed(&few[0], "plain-non-members")?, embed(&few[1], "plain-members")?];
    let small = [pixels(&few[0])?, pixels(&few[1])?];
    let given = Embeddings {
        pixels: Some(Features::plain(PIXEL_SIDE * PIXEL_SIDE * 3, &small[0], &small[1])),
        ..Embeddings::new(
            aux.classes(),
            task.map_or(0, |(labels, _)| labels.classes()),
            Labelled { attribute: &aux.values, task: task.map(|(labels, _)| &labels.values[..]) },
            Labelled { attribute: &test.values, task: task.map(|(_, labels)| &labels.values[..]) },
            Features::plain(loaded.encoder.feature_dim(), &rows[0], &rows[1]),
        )
    };
    let attack = AttributeAttack { settings: AttributeSettings::default(), seed };
    let finding = attack.run(gpu, "non-members", &given, &mut |what| tell.note(what))?;
    Ok((finding, few[0].len() + few[1].len()))
}

/// Every image made small, as numbers in [0, 1], a few images in memory at a time.
fn pixels(images: &dyn Images) -> Result<Vec<f32>> {
    let from = (images.width(), images.height());
    let mut found = Vec::with_capacity(images.len() * PIXEL_SIDE * PIXEL_SIDE * 3);
    let all: Vec<usize> = (0..images.len()).collect();
    for chunk in all.chunks((CHUNK_BYTES / images.image_bytes().max(1)).clamp(1, 256)) {
        let pixels = images.read(chunk)?;
        for image in pixels.chunks_exact(images.image_bytes()) {
            let small = resize_bilinear(image, from, (PIXEL_SIDE, PIXEL_SIDE));
            found.extend(small.iter().map(|&p| f32::from(p) / 255.0));
        }
    }
    Ok(found)
}

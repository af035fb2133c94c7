//! Baseline C: whether a downstream head is right on each of several views (Choquette-Choo et al., ICML 2021).

use super::{Baseline, BaselineSettings, by_threshold};
use crate::attack::membership::{Four, Posteriors, Rows, network};
use crate::gpu::Gpu;
use crate::{Error, Result};

/// Hidden width of the network that reads the bits.
const HIDDEN: usize = 64;

/// 1 where the head's prediction is the label, else 0: `[images, views]` from posteriors `[images · views, C]`, the
/// views of an image one after the other with its label repeated.
///
/// # Errors
/// No views; posteriors that are not of whole images.
pub fn correctness_bits(posteriors: &Posteriors, views: usize) -> Result<Rows> {
    if views == 0 || !posteriors.len().is_multiple_of(views) {
        return Err(Error::shape(format!(
            "label-only baseline: {} posteriors are not of images with {views} views each",
            posteriors.len()
        )));
    }
    Rows::new(views, posteriors.correct().into_iter().map(|right| f32::from(u8::from(right))).collect())
}

/// C: the bits of [`correctness_bits`] and a network n-64-2; and a threshold on how many are 1. In this order.
///
/// # Errors
/// Empty sets, numbers of views that differ, settings that make no sense.
pub fn label_only(
    gpu: &Gpu,
    bits: &Four<Rows>,
    settings: &BaselineSettings,
    seed: u64,
) -> Result<[Baseline; 2]> {
    let network = network::attack(gpu, bits, &settings.network(&[HIDDEN]), seed)?;
    let count = |set: &Rows| Ok(set.iter().map(|row| row.iter().map(|&b| f64::from(b)).sum()).collect());
    let counted = by_threshold(&bits.try_map(count)?)?;
    Ok([
        Baseline::new(
            "baseline-c-network",
            "Right answers over views, network",
            "A classification head was put on the encoder; a network judges membership by on which views of the image \
             the head is right.",
            network,
        ),
        Baseline::new(
            "baseline-c-count",
            "Right answers over views, count",
            "A classification head was put on the encoder; an image is called a member when the head is right on \
             enough of its views. The threshold comes from the shadow encoder.",
            counted,
        ),
    ])
}

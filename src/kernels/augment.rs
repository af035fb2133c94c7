//! Augmentation: random parameters for every (sample, view), then crop, flips, colour, blur, normalisation.
//!
//! Source images are packed, one pixel a word (`R | G << 8 | B << 16`): four bytes instead of three, but a
//! pixel is one aligned load on every adapter, where three bytes would straddle words. Views are tensors of
//! three channels, one texel a pixel.
//!
//! # Draw numbering
//! Words 0 and 1 of [`Key::draw`](crate::rng::Key::draw)`(sample, view, number)`; the key is that of
//! `Stream::Augment` and the epoch ([`StepState`](super::StepState)). Every draw has its number
//! whether the recipe uses it or not, so that recipes which differ in one operator agree in the others.
//!
//! | number | word 0 | word 1 |
//! | --- | --- | --- |
//! | 0..=9 ([`CROP_TRY`] + try) | area fraction | aspect ratio |
//! | 10 ([`CROP_CORNER`]) | top | left |
//! | 11 ([`FLIPS`]) | horizontal flip | vertical flip |
//! | 12 ([`JITTER`]) | jitter at all | order of its four operators |
//! | 13 ([`JITTER_LIGHT`]) | brightness | contrast |
//! | 14 ([`JITTER_COLOUR`]) | saturation | hue |
//! | 15 ([`GRAY_AND_BLUR`]) | gray | blur at all |
//! | 16 ([`BLUR_SIGMA`]) | sigma | – |
//!
//! The search for a crop works on 32-bit integers: a GPU may fuse a product with a sum, replace a division
//! by a reciprocal and approximate `exp`, `log` and `sqrt`; integer add, multiply, shift and compare give the
//! same bits everywhere. What needs floating point depends on recipe and image size only and is computed
//! once on the host ([`DrawConstants`]).

use super::{Shape, Tensor};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};

pub const CROP_TRY: u16 = 0;
/// Tries for a crop before the fallback.
pub const CROP_TRIES: u16 = 10;
pub const CROP_CORNER: u16 = 10;
pub const FLIPS: u16 = 11;
pub const JITTER: u16 = 12;
pub const JITTER_LIGHT: u16 = 13;
pub const JITTER_COLOUR: u16 = 14;
pub const GRAY_AND_BLUR: u16 = 15;
pub const BLUR_SIGMA: u16 = 16;

/// Fractional bits of area fractions.
pub const AREA_BITS: u32 = 30;
/// Fractional bits of ratios, their logarithms and exponentials; values stay below 8.
pub const RATIO_BITS: u32 = 29;
/// Fractional bits of drawn factors; factors stay below 16, so that they fit the 24 bits of an f32.
pub const FACTOR_BITS: u32 = 20;
/// Terms of the series of exp; its argument is at most ln 4.
pub const EXP_TERMS: u32 = 16;
/// Taps of the blur, at most.
pub const MOST_BLUR_TAPS: usize = 63;

/// Invocations for each view; the order of the gray sum depends on it, so it is the same on every adapter.
const VIEW_WORKGROUP: u32 = 128;
const DRAW_WORKGROUP: u32 = 64;
const BLUR_WORKGROUP: u32 = 64;
/// Pixels of a workgroup of the blur.
const BLUR_CHUNK: usize = 1024;

/// How a pixel of the source images is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// One u32, `R | G << 8 | B << 16`.
    Packed8,
    /// One texel of four f32 in 0..1, the fourth unused: a tensor of three channels.
    Float,
}

/// Images of one size, one after the other, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Images {
    pub slice: Slice,
    pub format: PixelFormat,
    /// Images in `slice`.
    pub count: usize,
    pub height: usize,
    pub width: usize,
}

/// One image of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BatchEntry {
    /// Index of the image in its data set; random numbers depend on it and not on the place in the batch.
    pub sample: u32,
    /// Place of the image in [`Images`]; equal to `sample` where the whole data set is resident.
    pub slot: u32,
}

/// Which row of the output view v of image i is, with N images and V views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewOrder {
    /// v·N + i: first all first views, then all second views (SimCLR, MoCo).
    ViewMajor,
    /// i·V + v: all views of an image together (EncoderMI queries).
    ImageMajor,
}

/// Which images, how many views of each, and where they go.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// [`BatchEntry`] × `images`, rewritten by the host each step.
    pub entries: Slice,
    pub images: usize,
    pub views: usize,
    /// Number of the first view in the random stream: the next call for more views goes on from there.
    pub first_view: usize,
    pub order: ViewOrder,
}

impl Batch {
    pub fn rows(&self) -> usize {
        self.images * self.views
    }
}

/// What a draw needs to know of a recipe and an image size, as the kernel's immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DrawConstants {
    pub height: u32,
    pub width: u32,
    /// 4·height·width·2^area_shift, at most 2³⁰.
    pub area: u32,
    pub area_shift: u32,
    /// Lower end and span of the area fraction, with [`AREA_BITS`].
    pub scale_low: u32,
    pub scale_span: u32,
    /// Lower end of the ratio, lower end of its inverse, span of its logarithm, with [`RATIO_BITS`].
    pub ratio_low: u32,
    pub inverse_ratio_low: u32,
    pub log_ratio_span: u32,
    /// The crop when all tries fail.
    pub fallback_top: u32,
    pub fallback_left: u32,
    pub fallback_height: u32,
    pub fallback_width: u32,
    /// Probabilities times 2²⁴.
    pub horizontal_flip: u32,
    pub vertical_flip: u32,
    pub jitter: u32,
    pub gray: u32,
    pub blur: u32,
    /// Lower ends and spans with [`FACTOR_BITS`]; the hue's lower end is minus `hue_bound`.
    pub brightness_low: u32,
    pub brightness_span: u32,
    pub contrast_low: u32,
    pub contrast_span: u32,
    pub saturation_low: u32,
    pub saturation_span: u32,
    pub hue_bound: u32,
    pub sigma_low: u32,
    pub sigma_span: u32,
    /// [`CROP_TRIES`], or 0 where the crop is always the fallback.
    pub tries: u32,
}

/// The drawn parameters of one view, as the kernel writes them.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct AugmentRecord {
    pub top: u32,
    pub left: u32,
    pub height: u32,
    pub width: u32,
    /// Crop tries that failed; [`DrawConstants::tries`] of them mean the fallback.
    pub failed_tries: u32,
    /// 0 or 1, like the other switches.
    pub horizontal_flip: u32,
    pub vertical_flip: u32,
    pub jitter: u32,
    /// Permutation 0..24, in lexicographic order, of 0 brightness, 1 contrast, 2 saturation, 3 hue.
    pub order: u32,
    pub brightness: f32,
    pub contrast: f32,
    pub saturation: f32,
    /// In turns.
    pub hue: f32,
    pub gray: u32,
    pub blur: u32,
    /// In pixels of the output.
    pub sigma: f32,
}

/// What [`views`] does to every view alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewSettings {
    /// The resize's filter widens when it shrinks.
    pub antialias: bool,
    /// Gray before the jitter instead of after it.
    pub gray_first: bool,
    /// Round to k/255 after each operator.
    pub pil8: bool,
    /// Odd, at most [`MOST_BLUR_TAPS`] and with its half smaller than the output; 0: no view is blurred.
    pub blur_taps: usize,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Draws the records of a batch into `records` ([`AugmentRecord`] × rows, in the order of the rows).
///
/// `step` holds the [`StepState`](super::StepState).
///
/// # Errors
/// View numbers beyond the 65,536 that the random stream has.
pub fn draw(
    recording: &mut Recording,
    step: Slice,
    batch: &Batch,
    constants: &DrawConstants,
    records: Slice,
) -> Result<()> {
    if batch.first_view + batch.views > 1 << 16 {
        return Err(Error::usage(format!(
            "augmentation: views {}..{} of an image were asked for; the random stream has 65536",
            batch.first_view,
            batch.first_view + batch.views
        )));
    }
    let rows = batch.rows() as u64;
    let mut immediates: Vec<u32> = bytemuck::cast_slice(std::slice::from_ref(constants)).to_vec();
    immediates.extend([batch.images, batch.views, batch.first_view].map(|v| v as u32));
    immediates.push(u32::from(batch.order == ViewOrder::ImageMajor));
    recording.dispatch(Dispatch {
        shader: "augment/draw",
        defines: Defines::new()
            .with("WORKGROUP", DRAW_WORKGROUP)
            .with("RATIO_BITS", RATIO_BITS)
            .with("EXP_TERMS", EXP_TERMS)
            .with("FACTOR_ONE", 1 << FACTOR_BITS)
            .with("CROP_TRY", CROP_TRY)
            .with("CROP_CORNER", CROP_CORNER)
            .with("FLIPS", FLIPS)
            .with("JITTER", JITTER)
            .with("JITTER_LIGHT", JITTER_LIGHT)
            .with("JITTER_COLOUR", JITTER_COLOUR)
            .with("GRAY_AND_BLUR", GRAY_AND_BLUR)
            .with("BLUR_SIGMA", BLUR_SIGMA),
        bindings: vec![Binding::Read(step), Binding::Read(batch.entries), Binding::Write(records)],
        immediates,
        grid: recording.grid(rows.div_ceil(u64::from(DRAW_WORKGROUP))),
        flops: 0,
        bytes: rows * (size_of::<AugmentRecord>() + size_of::<BatchEntry>()) as u64,
    });
    Ok(())
}

/// Makes the views that `records` describe: `y` is [rows, 3, S, S'] with any output size.
///
/// # Errors
/// [`Error::Shape`] when `y` or the images do not fit the batch or the blur.
pub fn views(
    recording: &mut Recording,
    images: &Images,
    batch: &Batch,
    records: Slice,
    settings: &ViewSettings,
    y: Tensor,
) -> Result<()> {
    check(images, batch, settings, y.shape)?;
    let flags = u32::from(batch.order == ViewOrder::ImageMajor)
        | u32::from(settings.gray_first) << 1
        | u32::from(settings.pil8) << 2
        | u32::from(settings.antialias) << 3;
    let blurs = settings.blur_taps > 0;
    let Shape { h, w, .. } = y.shape;
    let sizes = [images.height, images.width, images.count, h, w, batch.images, batch.views];
    let mut immediates = sizes.map(|v| v as u32).to_vec();
    immediates.push(flags);
    immediates.extend(normalisation(settings, !blurs));
    let pixels = (batch.rows() * y.shape.pixels()) as u64;
    recording.dispatch(Dispatch {
        shader: "augment/view",
        defines: Defines::new()
            .with("WORKGROUP", VIEW_WORKGROUP)
            .with("FLOATS", images.format == PixelFormat::Float),
        bindings: vec![
            Binding::Read(images.slice),
            Binding::Read(batch.entries),
            Binding::Read(records),
            Binding::Write(y.slice),
        ],
        immediates,
        grid: recording.grid(batch.rows() as u64),
        flops: pixels * 150,
        bytes: pixels * 48 + (batch.rows() * images.height * images.width * 4) as u64,
    });
    if blurs {
        let between = Tensor::transient(recording, "blurred rows of views", y.shape);
        blur(recording, records, settings, false, y, between);
        blur(recording, records, settings, true, between, y);
    }
    Ok(())
}

fn blur(
    recording: &mut Recording,
    records: Slice,
    settings: &ViewSettings,
    vertical: bool,
    x: Tensor,
    y: Tensor,
) {
    let Shape { n, h, w, .. } = y.shape;
    let chunks = y.shape.pixels().div_ceil(BLUR_CHUNK);
    let pil8 = vertical && settings.pil8;
    let mut immediates = [h, w, settings.blur_taps / 2].map(|v| v as u32).to_vec();
    immediates.extend([u32::from(vertical), u32::from(pil8), n as u32, chunks as u32, 0]);
    immediates.extend(normalisation(settings, vertical));
    let texels = y.shape.texels() as u64;
    recording.dispatch(Dispatch {
        shader: "augment/blur",
        defines: Defines::new().with("WORKGROUP", BLUR_WORKGROUP).with("CHUNK", BLUR_CHUNK),
        bindings: vec![Binding::Read(records), Binding::Read(x.slice), Binding::Write(y.slice)],
        immediates,
        grid: recording.grid((n * chunks) as u64),
        flops: texels * 6 * settings.blur_taps as u64,
        bytes: texels * 32,
    });
}

/// Mean and 1/std as two vectors with an empty lane, or those that change nothing.
fn normalisation(settings: &ViewSettings, now: bool) -> [u32; 8] {
    let (mean, std) = if now { (settings.mean, settings.std) } else { ([0.0; 3], [1.0; 3]) };
    let mut words = [0; 8];
    for c in 0..3 {
        words[c] = mean[c].to_bits();
        words[4 + c] = (1.0 / std[c]).to_bits();
    }
    words
}

fn check(images: &Images, batch: &Batch, settings: &ViewSettings, y: Shape) -> Result<()> {
    if y.n != batch.rows() || y.c != 3 || y.pixels() == 0 {
        return Err(Error::shape(format!(
            "augmentation: {} views of {} images do not fit an output of {y}; it must be [{}, 3, height, width]",
            batch.views,
            batch.images,
            batch.rows()
        )));
    }
    let pixel_bytes = if images.format == PixelFormat::Float { 16 } else { 4 };
    let needed = (images.count * images.height * images.width * pixel_bytes) as u64;
    if needed == 0 || images.slice.bytes < needed {
        return Err(Error::shape(format!(
            "augmentation: {} images of {}x{} need {needed} bytes, their buffer has {}",
            images.count, images.height, images.width, images.slice.bytes
        )));
    }
    let taps = settings.blur_taps;
    if taps > 0 && (taps.is_multiple_of(2) || taps > MOST_BLUR_TAPS || taps / 2 >= y.h.min(y.w)) {
        return Err(Error::shape(format!(
            "augmentation: a blur of {taps} taps on views of {}x{}; the number of taps must be odd, at most {MOST_BLUR_TAPS}, and its half smaller than the view",
            y.h, y.w
        )));
    }
    Ok(())
}

//! Random augmentation parameters of one view, drawn from the counter-based generator.
//!
//! The search is done in 32-bit integers, not in floats. A GPU may fuse a product with a sum, replace a
//! division by a reciprocal and approximate `exp`, `log` and `sqrt`; integer add, multiply, shift and
//! compare give the same bits everywhere, so the record that the kernel writes can be compared with
//! [`AugmentParams::draw`] by `==`. What needs logarithms or floating point (thresholds, ranges, the
//! fallback crop) depends on recipe and image size only and is computed once on the host, in
//! [`DrawConstants`].
//!
//! Against the real-valued definition (torchvision's `RandomResizedCrop.get_params`): the area fraction,
//! the ratio and the square root are accurate to about 1e-8 of their size, so a crop's side differs only
//! where √(A·r) lies that close to a half-integer; at one, the side is rounded up, not to even.
//! The corner of n positions is ⌊n·bits/2³²⌋, whose bias is below n/2³².
//!
//! # Draw numbering
//! Word 0 and word 1 of `key.draw(sample, view, number)`, the key being that of `Stream::Augment` and the
//! epoch. Every draw has its number whether the recipe uses it or not, so that recipes which differ in
//! one operator agree in the others.
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

use super::augment::{self, CropBox};
use crate::rng::Key;
use crate::{Error, Result};

pub const CROP_TRY: u16 = 0;
pub const CROP_TRIES: u16 = 10;
pub const CROP_CORNER: u16 = 10;
pub const FLIPS: u16 = 11;
pub const JITTER: u16 = 12;
pub const JITTER_LIGHT: u16 = 13;
pub const JITTER_COLOUR: u16 = 14;
pub const GRAY_AND_BLUR: u16 = 15;
pub const BLUR_SIGMA: u16 = 16;

/// A random augmentation: which operators, how often, how strong. Probabilities are in [0, 1]; an
/// operator that never happens has probability 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Range of the crop's share of the image's area, within (0, 1].
    pub crop_scale: (f64, f64),
    /// Range of the crop's width / height, log-uniform, within [1/2, 2].
    pub crop_ratio: (f64, f64),
    /// Side of the result.
    pub size: usize,
    pub horizontal_flip: f64,
    pub vertical_flip: f64,
    pub jitter: f64,
    /// Brightness, contrast and saturation are multiplied by U(max(0, 1−v), 1+v), v ≤ 2.
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    /// The hue turns by U(−v, v), v ≤ 0.5.
    pub hue: f64,
    pub gray: f64,
    /// Gray comes before the jitter (MoCo v1 on ImageNet) instead of after it.
    pub gray_first: bool,
    pub blur: f64,
    /// Odd.
    pub blur_taps: usize,
    /// Range of the blur's standard deviation, up to 8 pixels.
    pub blur_sigma: (f64, f64),
    /// Channel statistics of the final (x − mean)/std.
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

/// 1 in the fixed-point format of area fractions: 30 fractional bits.
const AREA_ONE: f64 = (1_u32 << 30) as f64;
/// 1 in the fixed-point format of ratios and their exponentials: 29 fractional bits, up to 8.
const RATIO_BITS: u32 = 29;
/// 1 in the fixed-point format of drawn factors: 20 fractional bits. Factors stay below 16, so that they
/// fit the 24 bits of an f32.
const FACTOR_ONE: f64 = (1_u32 << 20) as f64;
/// Terms of the series of exp; the argument is at most ln 4.
const EXP_TERMS: u32 = 16;

/// What a draw needs to know of a recipe and an image size. All fields are words that a kernel can take
/// as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct DrawConstants {
    pub height: u32,
    pub width: u32,
    /// 4·height·width·2^area_shift, at most 2³⁰.
    pub area: u32,
    pub area_shift: u32,
    /// Lower end and span of the area fraction, 30 fractional bits.
    pub scale_low: u32,
    pub scale_span: u32,
    /// Lower end of the ratio, lower end of its inverse, span of its logarithm: 29 fractional bits.
    pub ratio_low: u32,
    pub inverse_ratio_low: u32,
    pub log_ratio_span: u32,
    /// The crop when all tries fail.
    pub fallback_top: u32,
    pub fallback_left: u32,
    pub fallback_height: u32,
    pub fallback_width: u32,
    /// Probabilities times 2²⁴: horizontal flip, vertical flip, jitter, gray, blur.
    pub horizontal_flip: u32,
    pub vertical_flip: u32,
    pub jitter: u32,
    pub gray: u32,
    pub blur: u32,
    /// Lower end and span with 20 fractional bits; the hue's lower end is minus `hue_bound`.
    pub brightness_low: u32,
    pub brightness_span: u32,
    pub contrast_low: u32,
    pub contrast_span: u32,
    pub saturation_low: u32,
    pub saturation_span: u32,
    pub hue_bound: u32,
    pub sigma_low: u32,
    pub sigma_span: u32,
    /// Makes the size a multiple of 16 bytes, as uniform buffers want it.
    pub padding: u32,
}

/// The drawn parameters of one view: 16 words, the record that the kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct AugmentParams {
    pub top: u32,
    pub left: u32,
    pub height: u32,
    pub width: u32,
    /// Crop tries that failed; [`CROP_TRIES`] means the fallback.
    pub failed_tries: u32,
    /// 0 or 1, like the other switches.
    pub horizontal_flip: u32,
    pub vertical_flip: u32,
    pub jitter: u32,
    /// 0..24, see [`jitter_order`].
    pub order: u32,
    pub brightness: f32,
    pub contrast: f32,
    pub saturation: f32,
    pub hue: f32,
    pub gray: u32,
    pub blur: u32,
    pub sigma: f32,
}

/// ⌊a·b / 2^shift⌋ of the 64-bit product, shift 1..=32. In WGSL: four products of 16-bit halves.
fn multiply_shift(a: u32, b: u32, shift: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> shift) as u32
}

/// A whole number in 0..bound, from 32 random bits.
fn below(bound: u32, bits: u32) -> u32 {
    multiply_shift(bound, bits, 32)
}

/// exp(y) for y in 0..=ln 4, all with [`RATIO_BITS`]: 1 + y/1·(1 + y/2·(1 + y/3·(…))).
fn exp_fixed(y: u32) -> u32 {
    let one = 1 << RATIO_BITS;
    (1..=EXP_TERMS).rev().fold(one, |sum, k| one + multiply_shift(y, sum, RATIO_BITS) / k)
}

/// ⌊√x⌋, bit by bit.
fn integer_sqrt(x: u32) -> u32 {
    let mut root: u32 = 0;
    for bit in (0..16).rev() {
        let candidate = root | 1 << bit;
        if candidate * candidate <= x {
            root = candidate;
        }
    }
    root
}

/// The four jitter operators in the order they are applied, numbered 0 brightness, 1 contrast,
/// 2 saturation, 3 hue: permutation `order` (0..24) in lexicographic order.
pub fn jitter_order(order: u32) -> [usize; 4] {
    let mut left = vec![0, 1, 2, 3];
    [6, 2, 1, 1].map(|block| {
        let place = order as usize / block % left.len();
        left.remove(place)
    })
}

impl Recipe {
    /// The recipe's numbers for images of one size. An error names the setting that is out of range.
    pub fn constants(&self, height: usize, width: usize) -> Result<DrawConstants> {
        self.check(height, width)?;
        let mut area_shift = 0;
        while (4 * height * width) << (area_shift + 1) <= 1 << 30 {
            area_shift += 1;
        }
        let fixed = |x: f64, one: f64| (x * one).round() as u32;
        let range = |low: f64, high: f64, one: f64| {
            (fixed(low, one), fixed(high, one).saturating_sub(fixed(low, one)))
        };
        let factors = |v: f64| range((1.0 - v).max(0.0), 1.0 + v, FACTOR_ONE);
        let probability = |p: f64| fixed(p, f64::from(1 << 24));
        let ratio_one = f64::from(1 << RATIO_BITS);
        let (low_ratio, high_ratio) = self.crop_ratio;
        let (scale_low, scale_span) = range(self.crop_scale.0, self.crop_scale.1, AREA_ONE);
        let (brightness_low, brightness_span) = factors(self.brightness);
        let (contrast_low, contrast_span) = factors(self.contrast);
        let (saturation_low, saturation_span) = factors(self.saturation);
        let (sigma_low, sigma_span) = range(self.blur_sigma.0, self.blur_sigma.1, FACTOR_ONE);
        let fallback = fallback_crop(height, width, self.crop_ratio);
        Ok(DrawConstants {
            height: height as u32,
            width: width as u32,
            area: ((4 * height * width) << area_shift) as u32,
            area_shift,
            scale_low,
            scale_span,
            ratio_low: fixed(low_ratio, ratio_one),
            inverse_ratio_low: fixed(1.0 / high_ratio, ratio_one),
            log_ratio_span: fixed((high_ratio / low_ratio).ln(), ratio_one),
            fallback_top: fallback.top as u32,
            fallback_left: fallback.left as u32,
            fallback_height: fallback.height as u32,
            fallback_width: fallback.width as u32,
            horizontal_flip: probability(self.horizontal_flip),
            vertical_flip: probability(self.vertical_flip),
            jitter: probability(self.jitter),
            gray: probability(self.gray),
            blur: probability(self.blur),
            brightness_low,
            brightness_span,
            contrast_low,
            contrast_span,
            saturation_low,
            saturation_span,
            hue_bound: fixed(self.hue, FACTOR_ONE),
            sigma_low,
            sigma_span,
            padding: 0,
        })
    }

    fn check(&self, height: usize, width: usize) -> Result<()> {
        let within =
            |low: f64, range: (f64, f64), high: f64| low <= range.0 && range.0 <= range.1 && range.1 <= high;
        let both = |x: f64| (x, x);
        let probabilities = [self.horizontal_flip, self.vertical_flip, self.jitter, self.gray, self.blur];
        let checks = [
            (
                "image size, each side 1..=16384",
                (1..=16384).contains(&height) && (1..=16384).contains(&width),
            ),
            ("crop scale, a range within (0, 1]", within(f64::MIN_POSITIVE, self.crop_scale, 1.0)),
            ("crop ratio, a range within [0.5, 2]", within(0.5, self.crop_ratio, 2.0)),
            ("size of the result, at least 1", self.size > 0),
            ("probability, within [0, 1]", probabilities.iter().all(|&p| within(0.0, both(p), 1.0))),
            (
                "brightness, contrast and saturation, within [0, 2]",
                [self.brightness, self.contrast, self.saturation].iter().all(|&v| within(0.0, both(v), 2.0)),
            ),
            ("hue, within [0, 0.5]", within(0.0, both(self.hue), 0.5)),
            ("standard deviation of each channel, above 0", self.std.iter().all(|&s| s > 0.0)),
            (
                "blur: an odd number of taps whose half is smaller than the result, sigma a range within (0, 8]",
                self.blur == 0.0
                    || (self.blur_taps % 2 == 1
                        && self.blur_taps / 2 < self.size
                        && within(1e-3, self.blur_sigma, 8.0)),
            ),
        ];
        match checks.iter().find(|(_, fine)| !fine) {
            None => Ok(()),
            Some((what, _)) => Err(Error::usage(format!(
                "augmentation: {what} is required; the recipe for images of {height}x{width} says {self:?}"
            ))),
        }
    }
}

/// torchvision's fallback: the largest centred crop whose ratio lies in the range.
fn fallback_crop(height: usize, width: usize, (low, high): (f64, f64)) -> CropBox {
    let ratio = width as f64 / height as f64;
    let (crop_height, crop_width) = if ratio < low {
        ((width as f64 / low).round_ties_even() as usize, width)
    } else if ratio > high {
        (height, (height as f64 * high).round_ties_even() as usize)
    } else {
        (height, width)
    };
    let (crop_height, crop_width) = (crop_height.clamp(1, height), crop_width.clamp(1, width));
    CropBox {
        top: (height - crop_height) / 2,
        left: (width - crop_width) / 2,
        height: crop_height,
        width: crop_width,
    }
}

impl DrawConstants {
    /// Width and height of one crop try: √(A·r) and √(A/r), rounded.
    fn crop_size(&self, [area_bits, ratio_bits]: [u32; 2]) -> (u32, u32) {
        let fraction = self.scale_low + below(self.scale_span, area_bits);
        // Both factors doubled: 4·A with `area_shift` fractional bits out of the upper word.
        let area = multiply_shift(self.area << 1, fraction << 1, 32);
        let log_ratio = below(self.log_ratio_span, ratio_bits);
        let ratio = multiply_shift(self.ratio_low, exp_fixed(log_ratio), RATIO_BITS);
        let inverse =
            multiply_shift(self.inverse_ratio_low, exp_fixed(self.log_ratio_span - log_ratio), RATIO_BITS);
        // round(√x) = ⌈⌊√(4x)⌋/2⌉, and the fraction of 4x does not matter to its whole root.
        let side =
            |ratio: u32| integer_sqrt(multiply_shift(area, ratio, RATIO_BITS) >> self.area_shift).div_ceil(2);
        (side(ratio), side(inverse))
    }
}

impl AugmentParams {
    /// The parameters of one view of one sample; `key` is that of `Stream::Augment` and the epoch.
    pub fn draw(constants: &DrawConstants, key: Key, sample: u32, view: u16) -> AugmentParams {
        let c = constants;
        let draw = |number: u16| key.draw(sample, view, number);
        let happens = |threshold: u32, bits: u32| u32::from(bits >> 8 < threshold);
        let factor = |low: u32, span: u32, bits: u32| (low + below(span, bits)) as f32 / FACTOR_ONE as f32;

        let mut failed_tries = 0;
        let crop = loop {
            if failed_tries == CROP_TRIES {
                break [c.fallback_top, c.fallback_left, c.fallback_height, c.fallback_width];
            }
            let (width, height) = c.crop_size(draw(CROP_TRY + failed_tries));
            if (1..=c.width).contains(&width) && (1..=c.height).contains(&height) {
                let [top, left] = draw(CROP_CORNER);
                break [below(c.height - height + 1, top), below(c.width - width + 1, left), height, width];
            }
            failed_tries += 1;
        };
        let [horizontal, vertical] = draw(FLIPS);
        let [jitter, order] = draw(JITTER);
        let [brightness, contrast] = draw(JITTER_LIGHT);
        let [saturation, hue] = draw(JITTER_COLOUR);
        let [gray, blur] = draw(GRAY_AND_BLUR);
        let [sigma, _] = draw(BLUR_SIGMA);
        AugmentParams {
            top: crop[0],
            left: crop[1],
            height: crop[2],
            width: crop[3],
            failed_tries: u32::from(failed_tries),
            horizontal_flip: happens(c.horizontal_flip, horizontal),
            vertical_flip: happens(c.vertical_flip, vertical),
            jitter: happens(c.jitter, jitter),
            order: below(24, order),
            brightness: factor(c.brightness_low, c.brightness_span, brightness),
            contrast: factor(c.contrast_low, c.contrast_span, contrast),
            saturation: factor(c.saturation_low, c.saturation_span, saturation),
            hue: (below(2 * c.hue_bound, hue) as i32 - c.hue_bound as i32) as f32 / FACTOR_ONE as f32,
            gray: happens(c.gray, gray),
            blur: happens(c.blur, blur),
            sigma: factor(c.sigma_low, c.sigma_span, sigma),
        }
    }

    /// One view: `image` [3, height, width] in [0, 1] → [3, size, size], normalised. The antialiased crop,
    /// flips, jitter and gray (in the recipe's order), blur, normalisation.
    pub fn apply(&self, recipe: &Recipe, image: &[f64], height: usize, width: usize) -> Vec<f64> {
        let size = recipe.size;
        let crop = CropBox {
            top: self.top as usize,
            left: self.left as usize,
            height: self.height as usize,
            width: self.width as usize,
        };
        let mut view = augment::resized_crop_bilinear(image, height, width, crop, size, true);
        if self.horizontal_flip == 1 {
            view = augment::horizontal_flip(&view, size);
        }
        if self.vertical_flip == 1 {
            view = augment::vertical_flip(&view, size, size);
        }
        if self.gray == 1 && recipe.gray_first {
            view = augment::rgb_to_grayscale(&view);
        }
        if self.jitter == 1 {
            for operator in jitter_order(self.order) {
                view = match operator {
                    0 => augment::adjust_brightness(&view, f64::from(self.brightness)),
                    1 => augment::adjust_contrast(&view, f64::from(self.contrast)),
                    2 => augment::adjust_saturation(&view, f64::from(self.saturation)),
                    _ => augment::adjust_hue(&view, f64::from(self.hue)),
                };
            }
        }
        if self.gray == 1 && !recipe.gray_first {
            view = augment::rgb_to_grayscale(&view);
        }
        if self.blur == 1 {
            view = augment::gaussian_blur(&view, size, size, recipe.blur_taps, f64::from(self.sigma));
        }
        augment::normalize(&view, recipe.mean, recipe.std)
    }
}

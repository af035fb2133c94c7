//! Random augmentation parameters of one view, and the view that they describe.
//!
//! [`draw`] repeats the kernel's integers (draw numbers and fixed-point formats:
//! [`crate::kernels::augment`]), so the two are compared by `==`.
//!
//! Against the real-valued definition (torchvision's `RandomResizedCrop.get_params`): the area fraction,
//! the ratio and the square root are accurate to about 1e-8, so a crop's side differs only where √(A·r)
//! lies within about 3e-8·√(A·r) of a half-integer; exactly at one, the side is rounded up rather than to even.
//! The corner of n positions is ⌊n·bits/2³²⌋, whose bias is below n/2³².

use super::augment::{self, CropBox};
use crate::augment::Recipe;
use crate::kernels::augment::{
    AugmentRecord, BLUR_SIGMA, CROP_CORNER, CROP_TRY, DrawConstants, EXP_TERMS, FACTOR_BITS, FLIPS,
    GRAY_AND_BLUR, JITTER, JITTER_COLOUR, JITTER_LIGHT, RATIO_BITS,
};
use crate::rng::Key;

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

/// Width and height of one crop try: √(A·r) and √(A/r), rounded.
fn crop_size(c: &DrawConstants, [area_bits, ratio_bits]: [u32; 2]) -> (u32, u32) {
    let fraction = c.scale_low + below(c.scale_span, area_bits);
    // Both factors doubled: 4·A with `area_shift` fractional bits out of the upper word.
    let area = multiply_shift(c.area << 1, fraction << 1, 32);
    let log_ratio = below(c.log_ratio_span, ratio_bits);
    let ratio = multiply_shift(c.ratio_low, exp_fixed(log_ratio), RATIO_BITS);
    let inverse = multiply_shift(c.inverse_ratio_low, exp_fixed(c.log_ratio_span - log_ratio), RATIO_BITS);
    // round(√x) = ⌈⌊√(4x)⌋/2⌉, and the fraction of 4x does not matter to its whole root.
    let side = |ratio: u32| integer_sqrt(multiply_shift(area, ratio, RATIO_BITS) >> c.area_shift).div_ceil(2);
    (side(ratio), side(inverse))
}

/// The parameters of one view of one sample; `key` is that of `Stream::Augment` and the epoch.
pub fn draw(constants: &DrawConstants, key: Key, sample: u32, view: u16) -> AugmentRecord {
    let c = constants;
    let draw = |number: u16| key.draw(sample, view, number);
    let happens = |threshold: u32, bits: u32| u32::from(bits >> 8 < threshold);
    let factor =
        |low: u32, span: u32, bits: u32| (low + below(span, bits)) as f32 / (1 << FACTOR_BITS) as f32;

    let mut failed_tries = 0;
    let crop = loop {
        if u32::from(failed_tries) == c.tries {
            break [c.fallback_top, c.fallback_left, c.fallback_height, c.fallback_width];
        }
        let (width, height) = crop_size(c, draw(CROP_TRY + failed_tries));
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
    AugmentRecord {
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
        hue: (below(2 * c.hue_bound, hue) as i32 - c.hue_bound as i32) as f32 / (1 << FACTOR_BITS) as f32,
        gray: happens(c.gray, gray),
        blur: happens(c.blur, blur),
        sigma: factor(c.sigma_low, c.sigma_span, sigma),
    }
}

/// k/255 of 8-bit images.
pub fn quantise(image: &[f64]) -> Vec<f64> {
    image.iter().map(|x| (x * 255.0).round_ties_even() / 255.0).collect()
}

/// One view: `image` [3, height, width] in [0, 1] → [3, size, size], normalised. The antialiased crop,
/// flips, jitter and gray (in the recipe's order), blur, normalisation; with `pil8`, what each operator
/// makes is rounded.
pub fn apply(
    record: &AugmentRecord,
    recipe: &Recipe,
    image: &[f64],
    height: usize,
    width: usize,
) -> Vec<f64> {
    let size = recipe.size;
    let [top, left, crop_height, crop_width] =
        [record.top, record.left, record.height, record.width].map(|v| v as usize);
    let crop = CropBox { top, left, height: crop_height, width: crop_width };
    let held = |view: Vec<f64>| if recipe.pil8 { quantise(&view) } else { view };
    let mut view = held(augment::resized_crop_bilinear(image, height, width, crop, size, true));
    if record.horizontal_flip == 1 {
        view = augment::horizontal_flip(&view, size);
    }
    if record.vertical_flip == 1 {
        view = augment::vertical_flip(&view, size, size);
    }
    if record.gray == 1 && recipe.gray_first {
        view = held(augment::rgb_to_grayscale(&view));
    }
    if record.jitter == 1 {
        for operator in jitter_order(record.order) {
            view = held(match operator {
                0 => augment::adjust_brightness(&view, f64::from(record.brightness)),
                1 => augment::adjust_contrast(&view, f64::from(record.contrast)),
                2 => augment::adjust_saturation(&view, f64::from(record.saturation)),
                _ => augment::adjust_hue(&view, f64::from(record.hue)),
            });
        }
    }
    if record.gray == 1 && !recipe.gray_first {
        view = held(augment::rgb_to_grayscale(&view));
    }
    if record.blur == 1 {
        view = held(augment::gaussian_blur(&view, size, size, recipe.blur_taps, f64::from(record.sigma)));
    }
    augment::normalize(&view, recipe.mean, recipe.std)
}

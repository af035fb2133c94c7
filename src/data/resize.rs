//! Antialiased resizing of 8-bit images, with the arithmetic that Pillow documents for its `BILINEAR` and
//! `BICUBIC` filters: a filter whose support widens with the shrink factor, half-pixel centres, weights in fixed
//! point with 22 fractional bits, a horizontal pass rounded to 8 bits, then a vertical one. Bilinear equals plain
//! interpolation when enlarging. (Pillow 13 takes the vertical pass first for images more than twice as tall as
//! wide and for some other shapes; the horizontal one is first here always, as in the versions before.)
//!
//! [`Fit`] is how images come to one size: as they are, stretched to a square, or as ImageNet and CLIP models see
//! them (torchvision's `Resize(short)` and `CenterCrop(side)`).

use std::borrow::Cow;
use std::ops::Range;

/// Fractional bits of the weights: 32-bit sums of 8-bit pixels leave 22, with two bits of headroom.
const FRACTION_BITS: u32 = 22;

/// The kernel that weighs pixels by their distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// A triangle that reaches one pixel to either side.
    Bilinear,
    /// Keys' cubic convolution with a = -1/2 (IEEE TASSP 29, 1981), two pixels to either side.
    #[default]
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Filter::Bilinear => (1.0 - x).max(0.0),
            Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Filter::Bicubic => 0.0,
        }
    }
}

/// How the images of a data set come to one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// They have it.
    #[default]
    AsIs,
    /// Resized to a square of this side, bilinear, the aspect ratio not kept.
    Stretch(usize),
    /// The short side resized to `short`, then the square of `side` pixels in the middle; `side <= short`.
    Crop { side: usize, short: usize, filter: Filter },
}

impl Fit {
    /// Side of the result, where the images do not decide it.
    pub fn side(self) -> Option<usize> {
        match self {
            Fit::AsIs => None,
            Fit::Stretch(side) | Fit::Crop { side, .. } => Some(side),
        }
    }

    /// Width and height that an image of this width and height gets.
    pub fn extents(self, from: (usize, usize)) -> (usize, usize) {
        self.side().map_or(from, |side| (side, side))
    }

    /// Fits u8 `[height, width, 3]`; all extents are at least 1.
    pub fn apply<'a>(self, pixels: impl Into<Cow<'a, [u8]>>, from: (usize, usize)) -> Cow<'a, [u8]> {
        let pixels = pixels.into();
        match self {
            Fit::AsIs => pixels,
            Fit::Stretch(side) if from == (side, side) => pixels,
            Fit::Stretch(side) => resize_bilinear(&pixels, from, (side, side)).into(),
            Fit::Crop { side, short, .. } if from == (side, side) && short == side => pixels,
            Fit::Crop { side, short, filter } => crop(&pixels, from, side, short, filter).into(),
        }
    }
}

/// torchvision's `Resize(short, filter)` (the long side is rounded down) and `CenterCrop(side)` (an offset between
/// two pixels goes to the even one).
fn crop(
    pixels: &[u8],
    (width, height): (usize, usize),
    side: usize,
    short: usize,
    filter: Filter,
) -> Vec<u8> {
    let least = width.min(height);
    let resized = [width, height].map(|extent| short * extent / least);
    let first = resized.map(|extent| {
        let spare = extent - side;
        spare / 2 + usize::from(spare % 4 == 3)
    });
    let horizontal = windows(width, resized[0], first[0]..first[0] + side, filter);
    let vertical = windows(height, resized[1], first[1]..first[1] + side, filter);
    filtered(pixels, width, &horizontal, &vertical)
}

/// The input pixels that one output pixel reads, and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// The windows of some positions of `0..output`.
fn windows(input: usize, output: usize, positions: Range<usize>, filter: Filter) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let one = f64::from(1u32 << FRACTION_BITS);
    positions
        .map(|position| {
            if input == output {
                return Window { first: position, weights: vec![1 << FRACTION_BITS] };
            }
            let centre = (position as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let weights: Vec<f64> = (first..end)
                .map(|pixel| filter.weight((pixel as f64 - centre + 0.5) * (1.0 / stretch)))
                .collect();
            let total: f64 = weights.iter().sum();
            let fixed = |weight: f64| (weight / total * one + 0.5f64.copysign(weight)) as i32;
            Window { first, weights: weights.into_iter().map(fixed).collect() }
        })
        .collect()
}

fn weighted(window: &Window, pixel: impl Fn(usize) -> u8) -> u8 {
    let mut sum = 1i32 << (FRACTION_BITS - 1);
    for (offset, &weight) in window.weights.iter().enumerate() {
        sum += weight * i32::from(pixel(window.first + offset));
    }
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// Both passes over an image of `width` columns: `horizontal` has a window for each column of the result, `vertical`
/// for each row.
fn filtered(pixels: &[u8], width: usize, horizontal: &[Window], vertical: &[Window]) -> Vec<u8> {
    // Rows that no window reads are passed over.
    let reach = |window: &Window| window.first + window.weights.len();
    let above = vertical.iter().map(|window| window.first).min().unwrap_or(0);
    let below = vertical.iter().map(reach).max().unwrap_or(0);
    let stride = horizontal.len() * 3;
    let mut narrow = Vec::with_capacity((below - above) * stride);
    for row in pixels.chunks_exact(width * 3).take(below).skip(above) {
        for window in horizontal {
            narrow.extend((0..3).map(|channel| weighted(window, |x| row[x * 3 + channel])));
        }
    }
    let mut resized = Vec::with_capacity(vertical.len() * stride);
    for window in vertical {
        resized.extend((0..stride).map(|at| weighted(window, |y| narrow[(y - above) * stride + at])));
    }
    resized
}

/// Resizes u8 `[height, width, 3]` to `[new_height, new_width, 3]`; the aspect ratio is not kept. All
/// extents are at least 1 and `pixels.len() == height * width * 3`.
pub fn resize(
    pixels: &[u8],
    (width, height): (usize, usize),
    (new_width, new_height): (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    let horizontal = windows(width, new_width, 0..new_width, filter);
    let vertical = windows(height, new_height, 0..new_height, filter);
    filtered(pixels, width, &horizontal, &vertical)
}

/// [`resize`] with [`Filter::Bilinear`].
pub fn resize_bilinear(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    resize(pixels, from, to, Filter::Bilinear)
}

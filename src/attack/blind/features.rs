//! Numbers that describe an image by itself: the blind control's features.

use crate::Result;
use crate::attack::membership::Rows;
use crate::data::resize::resize_bilinear;
use crate::data::{FileFacts, FileFormat, ImageSet};
use rayon::prelude::*;

/// Side of the thumbnail.
const THUMBNAIL: usize = 8;
/// Bins of hue, of saturation and of value.
const COLOUR_BINS: usize = 8;
/// Bins of gradient directions over the full circle, in each quadrant of the image.
const DIRECTIONS: usize = 16;

/// Numbers of an image: 8×8×3 thumbnail; mean, deviation and skew of each channel; three 8-bin histograms; four
/// 16-bin histograms; share of high-frequency energy; of files, width, height, bytes and format.
pub const FEATURES: usize =
    THUMBNAIL * THUMBNAIL * 3 + 3 * 3 + 3 * COLOUR_BINS + 4 * DIRECTIONS + 1 + FILE_FEATURES;
/// Logarithms of width, height and bytes; one of four formats. Zeros where there is no file, which tell nothing.
const FILE_FEATURES: usize = 3 + 4;

/// Features of every image, `[images, FEATURES]`, from pixels as they are in the set, scaled to [0, 1].
///
/// # Errors
/// None for a checked set.
pub fn image_features(set: &ImageSet) -> Result<Rows> {
    let (width, height) = (set.width, set.height);
    let features: Vec<Vec<f32>> =
        (0..set.len()).into_par_iter().map(|i| describe_image(set.image(i), width, height, None)).collect();
    Rows::new(FEATURES, features.concat())
}

/// The [`FEATURES`] numbers of one image, u8 `[height, width, 3]`, and of the file that it came from.
pub fn describe_image(pixels: &[u8], width: usize, height: usize, file: Option<&FileFacts>) -> Vec<f32> {
    let mut found = Vec::with_capacity(FEATURES);
    let thumbnail = resize_bilinear(pixels, (width, height), (THUMBNAIL, THUMBNAIL));
    found.extend(thumbnail.iter().map(|&v| f64::from(v) / 255.0));
    let rgb: Vec<[f64; 3]> =
        pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(|v| f64::from(v) / 255.0)).collect();
    for channel in 0..3 {
        found.extend(moments(rgb.iter().map(|p| p[channel])));
    }
    found.extend(colour_histograms(&rgb));
    let grey: Vec<f64> = rgb.iter().map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect();
    let grey = Grey { values: &grey, width, height };
    found.extend(grey.directions());
    found.push(grey.high_frequency_share());
    found.extend(file.map_or([0.0; FILE_FEATURES], file_features));
    found.into_iter().map(|v| v as f32).collect()
}

fn file_features(file: &FileFacts) -> [f64; FILE_FEATURES] {
    let is = |format| f64::from(u8::from(file.format == format));
    [
        (file.width as f64).ln(),
        (file.height as f64).ln(),
        (file.bytes.max(1) as f64).ln(),
        is(FileFormat::Png),
        is(FileFormat::Jpeg),
        is(FileFormat::Bmp),
        is(FileFormat::WebP),
    ]
}

/// Mean, population standard deviation, skewness (0 for a constant channel).
fn moments(values: impl ExactSizeIterator<Item = f64> + Clone) -> [f64; 3] {
    let count = values.len() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let central = |power: i32| values.clone().map(|v| (v - mean).powi(power)).sum::<f64>() / count;
    let variance = central(2);
    // Below the square of a rounding error there is no variance.
    let skew = if variance > 1e-20 { central(3) / variance.powf(1.5) } else { 0.0 };
    [mean, variance.sqrt(), skew]
}

/// Shares of pixels in bins of hue, saturation and value. A grey pixel has hue 0.
fn colour_histograms(rgb: &[[f64; 3]]) -> Vec<f64> {
    let mut histogram = vec![0.0; 3 * COLOUR_BINS];
    for &[r, g, b] in rgb {
        let (high, low) = (r.max(g).max(b), r.min(g).min(b));
        let spread = high - low;
        let sixth = if spread == 0.0 {
            0.0
        } else if high == r {
            ((g - b) / spread).rem_euclid(6.0)
        } else if high == g {
            (b - r) / spread + 2.0
        } else {
            (r - g) / spread + 4.0
        };
        let saturation = if high > 0.0 { spread / high } else { 0.0 };
        for (kind, share) in [sixth / 6.0, saturation, high].into_iter().enumerate() {
            let bin = ((share * COLOUR_BINS as f64) as usize).min(COLOUR_BINS - 1);
            histogram[kind * COLOUR_BINS + bin] += 1.0 / rgb.len() as f64;
        }
    }
    histogram
}

struct Grey<'a> {
    values: &'a [f64],
    width: usize,
    height: usize,
}

impl Grey<'_> {
    /// The pixel at (x + dx, y + dy), or the nearest one inside.
    fn at(&self, x: usize, y: usize, dx: isize, dy: isize) -> f64 {
        let x = x.saturating_add_signed(dx).min(self.width - 1);
        let y = y.saturating_add_signed(dy).min(self.height - 1);
        self.values[y * self.width + x]
    }

    /// Mean gradient magnitude in each direction, for the quadrants top left, top right, bottom left, bottom right.
    fn directions(&self) -> Vec<f64> {
        let mut histogram = vec![0.0; 4 * DIRECTIONS];
        let quarter = self.values.len() as f64 / 4.0;
        for y in 0..self.height {
            for x in 0..self.width {
                let gx = self.at(x, y, 1, 0) - self.at(x, y, -1, 0);
                let gy = self.at(x, y, 0, 1) - self.at(x, y, 0, -1);
                let turn = gy.atan2(gx).rem_euclid(std::f64::consts::TAU) / std::f64::consts::TAU;
                let bin = ((turn * DIRECTIONS as f64) as usize).min(DIRECTIONS - 1);
                let quadrant = 2 * usize::from(2 * y >= self.height) + usize::from(2 * x >= self.width);
                histogram[quadrant * DIRECTIONS + bin] += gx.hypot(gy) / quarter;
            }
        }
        histogram
    }

    /// Energy of what a 3×3 mean removes, as a share of the energy around the image's mean.
    fn high_frequency_share(&self) -> f64 {
        let mean = self.values.iter().sum::<f64>() / self.values.len() as f64;
        let (mut removed, mut all) = (0.0, 0.0);
        for y in 0..self.height {
            for x in 0..self.width {
                let mut blurred = 0.0;
                for dy in -1..=1 {
                    for dx in -1..=1 {
                        blurred += self.at(x, y, dx, dy) / 9.0;
                    }
                }
                let value = self.values[y * self.width + x];
                removed += (value - blurred).powi(2);
                all += (value - mean).powi(2);
            }
        }
        if all > 1e-20 { removed / all } else { 0.0 }
    }
}

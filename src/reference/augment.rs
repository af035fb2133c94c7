//! Image operators on RGB in [0, 1]. An image is [3, height, width] (any number of channels where colour
//! does not matter). Definitions are torchvision's (`transforms.v2.functional`) on float images.

/// Weights of red, green and blue in a gray value.
pub const GRAY_WEIGHTS: [f64; 3] = [0.2989, 0.587, 0.114];

/// Part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// The two or more source positions and weights that make position `i` of `out` from `length` positions,
/// with half-pixel centres. With `antialias` the triangle widens with the shrink factor.
fn resize_taps(i: usize, length: usize, out: usize, antialias: bool) -> Vec<(usize, f64)> {
    let scale = length as f64 / out as f64;
    if antialias {
        let support = scale.max(1.0);
        let centre = scale * (i as f64 + 0.5);
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(length);
        let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0);
        let total: f64 = (first..end).map(weight).sum();
        (first..end).map(|j| (j, weight(j) / total)).collect()
    } else {
        let source = (scale * (i as f64 + 0.5) - 0.5).max(0.0);
        let first = source.floor() as usize;
        let fraction = source - first as f64;
        vec![(first, 1.0 - fraction), ((first + 1).min(length - 1), fraction)]
    }
}

/// The crop of `image` [C, height, width], resized to [C, size, size].
pub fn resized_crop_bilinear(
    image: &[f64],
    height: usize,
    width: usize,
    crop: CropBox,
    size: usize,
    antialias: bool,
) -> Vec<f64> {
    let mut out = Vec::new();
    for plane in image.chunks(height * width) {
        for y in 0..size {
            for x in 0..size {
                let mut value = 0.0;
                for (row, weight_y) in resize_taps(y, crop.height, size, antialias) {
                    for (column, weight_x) in resize_taps(x, crop.width, size, antialias) {
                        value += weight_y * weight_x * plane[(crop.top + row) * width + crop.left + column];
                    }
                }
                out.push(value);
            }
        }
    }
    out
}

/// Mirrors left and right.
pub fn horizontal_flip(image: &[f64], width: usize) -> Vec<f64> {
    image.chunks(width).flat_map(|row| row.iter().rev().copied()).collect()
}

/// Mirrors top and bottom.
pub fn vertical_flip(image: &[f64], height: usize, width: usize) -> Vec<f64> {
    image.chunks(height * width).flat_map(|plane| plane.chunks(width).rev().flatten().copied()).collect()
}

/// The gray value of each pixel: [3, pixels] → `[pixels]`.
fn gray(image: &[f64]) -> Vec<f64> {
    let pixels = image.len() / 3;
    (0..pixels).map(|i| (0..3).map(|c| GRAY_WEIGHTS[c] * image[c * pixels + i]).sum()).collect()
}

/// All three channels become the gray value.
pub fn rgb_to_grayscale(image: &[f64]) -> Vec<f64> {
    gray(image).repeat(3)
}

/// factor·x + (1 − factor)·other, clamped to [0, 1].
fn blend(x: f64, other: f64, factor: f64) -> f64 {
    (factor * x + (1.0 - factor) * other).clamp(0.0, 1.0)
}

/// Blends with black.
pub fn adjust_brightness(image: &[f64], factor: f64) -> Vec<f64> {
    image.iter().map(|&x| blend(x, 0.0, factor)).collect()
}

/// Blends with the mean gray value of the image.
pub fn adjust_contrast(image: &[f64], factor: f64) -> Vec<f64> {
    let gray = gray(image);
    let mean = gray.iter().sum::<f64>() / gray.len() as f64;
    image.iter().map(|&x| blend(x, mean, factor)).collect()
}

/// Blends each pixel with its own gray value.
pub fn adjust_saturation(image: &[f64], factor: f64) -> Vec<f64> {
    image.iter().zip(rgb_to_grayscale(image)).map(|(&x, gray)| blend(x, gray, factor)).collect()
}

/// Turns the hue by `shift` turns (−0.5..0.5) through HSV.
pub fn adjust_hue(image: &[f64], shift: f64) -> Vec<f64> {
    let pixels = image.len() / 3;
    let mut out = vec![0.0; image.len()];
    for i in 0..pixels {
        let [h, s, v] = rgb_to_hsv([image[i], image[pixels + i], image[2 * pixels + i]]);
        let rgb = hsv_to_rgb([(h + shift).rem_euclid(1.0), s, v]);
        for c in 0..3 {
            out[c * pixels + i] = rgb[c];
        }
    }
    out
}

/// Hue in turns, saturation, value. Gray pixels have hue and saturation 0.
fn rgb_to_hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    if chroma == 0.0 {
        return [0.0, 0.0, value];
    }
    let sixths = if value == r {
        (g - b) / chroma
    } else if value == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    [(sixths / 6.0).rem_euclid(1.0), chroma / value, value]
}

fn hsv_to_rgb([h, s, v]: [f64; 3]) -> [f64; 3] {
    let sector = (6.0 * h).floor();
    let fraction = 6.0 * h - sector;
    let p = (v * (1.0 - s)).clamp(0.0, 1.0);
    let q = (v * (1.0 - s * fraction)).clamp(0.0, 1.0);
    let t = (v * (1.0 - s * (1.0 - fraction))).clamp(0.0, 1.0);
    match sector as i64 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Normalised Gaussian weights at −(taps−1)/2, …, (taps−1)/2.
pub fn gaussian_weights(taps: usize, sigma: f64) -> Vec<f64> {
    let half = (taps as f64 - 1.0) / 2.0;
    let raw: Vec<f64> = (0..taps).map(|i| (-0.5 * ((i as f64 - half) / sigma).powi(2)).exp()).collect();
    let total: f64 = raw.iter().sum();
    raw.iter().map(|w| w / total).collect()
}

/// Position `i` of a line of `length`, mirrored at the outermost elements (they are not repeated).
fn reflect(i: isize, length: usize) -> usize {
    let last = length as isize - 1;
    let i = i.abs();
    (if i > last { 2 * last - i } else { i }) as usize
}

/// Gaussian blur with `taps` (odd) taps per direction and reflected borders; each side of the image is
/// longer than taps / 2.
pub fn gaussian_blur(image: &[f64], height: usize, width: usize, taps: usize, sigma: f64) -> Vec<f64> {
    let weights = gaussian_weights(taps, sigma);
    let half = (taps / 2) as isize;
    let mut out = Vec::with_capacity(image.len());
    for plane in image.chunks(height * width) {
        for y in 0..height {
            for x in 0..width {
                let mut value = 0.0;
                for (ky, weight_y) in weights.iter().enumerate() {
                    for (kx, weight_x) in weights.iter().enumerate() {
                        let row = reflect((y + ky) as isize - half, height);
                        let column = reflect((x + kx) as isize - half, width);
                        value += weight_y * weight_x * plane[row * width + column];
                    }
                }
                out.push(value);
            }
        }
    }
    out
}

/// (x − mean)/std per channel.
pub fn normalize(image: &[f64], mean: [f64; 3], std: [f64; 3]) -> Vec<f64> {
    let pixels = image.len() / 3;
    image.iter().enumerate().map(|(i, x)| (x - mean[i / pixels]) / std[i / pixels]).collect()
}

//! Antialiased bilinear resizing of 8-bit images, with the arithmetic that Pillow documents for its
//! `BILINEAR` filter: a triangle filter whose support widens with the shrink factor, half-pixel centres,
//! weights in fixed point with 22 fractional bits, a horizontal pass rounded to 8 bits, then a vertical one.
//! Equals plain bilinear interpolation when enlarging.

/// Fractional bits of the weights: 32-bit sums of 8-bit pixels leave 22, with two bits of headroom.
const FRACTION_BITS: u32 = 22;

/// The input pixels that one output pixel reads, and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

fn windows(input: usize, output: usize) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    (0..output)
        .map(|position| {
            let centre = (position as f64 + 0.5) * scale;
            let first = (centre - stretch + 0.5).max(0.0) as usize;
            let end = ((centre + stretch + 0.5) as usize).min(input);
            let triangle: Vec<f64> = (first..end)
                .map(|pixel| (1.0 - ((pixel as f64 - centre + 0.5) / stretch).abs()).max(0.0))
                .collect();
            let total: f64 = triangle.iter().sum();
            let one = f64::from(1u32 << FRACTION_BITS);
            let weights = triangle.iter().map(|weight| (weight / total * one + 0.5) as i32).collect();
            Window { first, weights }
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

/// Resizes u8 `[height, width, 3]` to `[new_height, new_width, 3]`; the aspect ratio is not kept. All
/// extents are at least 1 and `pixels.len() == height * width * 3`.
pub fn resize_bilinear(
    pixels: &[u8],
    (width, height): (usize, usize),
    (new_width, new_height): (usize, usize),
) -> Vec<u8> {
    let columns = windows(width, new_width);
    let mut narrow = Vec::with_capacity(height * new_width * 3);
    for row in pixels.chunks_exact(width * 3) {
        for window in &columns {
            narrow.extend((0..3).map(|channel| weighted(window, |x| row[x * 3 + channel])));
        }
    }
    let stride = new_width * 3;
    let mut resized = Vec::with_capacity(new_height * stride);
    for window in &windows(height, new_height) {
        resized.extend((0..stride).map(|at| weighted(window, |y| narrow[y * stride + at])));
    }
    resized
}

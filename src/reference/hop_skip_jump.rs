//! One image of HopSkipJump at a time: draws, segments, the gradient's direction, steps, distances. Images are
//! [C, H, W] without padding.

use crate::rng::{Key, threefry2x32_20, uniform};
use std::f64::consts::TAU;

/// Which random numbers: those of draw `number` of image `image` in the phase that `key` stands for.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub key: Key,
    pub image: u32,
    pub number: u32,
}

impl Draw {
    /// The two words that channels 2i and 2i + 1 of a pixel share, at counter (i·pixels + pixel, 0).
    fn words(&self, channel: usize, pixel: usize, pixels: usize) -> [u32; 2] {
        let row = threefry2x32_20(self.key.0, [self.image, self.number]);
        threefry2x32_20(row, [(channel / 2 * pixels + pixel) as u32, 0])
    }

    /// low + (high − low)·u for `channels`·`pixels` elements.
    pub fn uniform_image(&self, channels: usize, pixels: usize, [low, high]: [f64; 2]) -> Vec<f64> {
        (0..channels * pixels)
            .map(|i| {
                let words = self.words(i / pixels, i % pixels, pixels);
                low + (high - low) * f64::from(uniform(words[i / pixels % 2]))
            })
            .collect()
    }

    /// Standard normal numbers (Box–Muller): the cosine branch for even channels, the sine branch for odd ones.
    pub fn normals(&self, channels: usize, pixels: usize) -> Vec<f64> {
        (0..channels * pixels)
            .map(|i| {
                let words = self.words(i / pixels, i % pixels, pixels);
                let radius = (-2.0 * ((f64::from(words[0] >> 9) + 0.5) / 8_388_608.0).ln()).sqrt();
                let angle = TAU * (f64::from(uniform(words[1])) - 0.5);
                radius * if (i / pixels).is_multiple_of(2) { angle.cos() } else { angle.sin() }
            })
            .collect()
    }
}

/// (1 − a)·x + a·b.
pub fn interpolate(x: &[f64], b: &[f64], a: f64) -> Vec<f64> {
    x.iter().zip(b).map(|(x, b)| (1.0 - a) * x + a * b).collect()
}

/// clip(x + scale·v): a step, or a query where v is a unit direction.
pub fn step(x: &[f64], v: &[f64], scale: f64, [low, high]: [f64; 2]) -> Vec<f64> {
    x.iter().zip(v).map(|(x, v)| (x + scale * v).clamp(low, high)).collect()
}

/// v/‖v‖ and ‖v‖.
pub fn unit(v: &[f64]) -> (Vec<f64>, f64) {
    let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    (v.iter().map(|v| v / norm).collect(), norm)
}

/// Σ φ u and Σ u over queries with their signs φ, u = (query − x)/δ.
pub fn accumulate(x: &[f64], queries: &[Vec<f64>], signs: &[f64], delta: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut signed, mut plain) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for (query, sign) in queries.iter().zip(signs) {
        for i in 0..x.len() {
            let u = (query[i] - x[i]) / delta;
            signed[i] += sign * u;
            plain[i] += u;
        }
    }
    (signed, plain)
}

/// w/‖w‖ and ‖w‖ with w = signed − m·plain.
pub fn gradient_direction(signed: &[f64], plain: &[f64], m: f64) -> (Vec<f64>, f64) {
    let w: Vec<f64> = signed.iter().zip(plain).map(|(s, p)| s - m * p).collect();
    unit(&w)
}

/// ‖b − x‖₂.
pub fn distance(x: &[f64], b: &[f64]) -> f64 {
    x.iter().zip(b).map(|(x, b)| (b - x) * (b - x)).sum::<f64>().sqrt()
}

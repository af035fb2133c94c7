//! HopSkipJump on a linear classifier, whose boundary is known: images in lockstep against one at a time.

use super::text::{list, milliseconds, short};
use super::{Machine, Timing, cpu_seconds};
use crate::attack::membership::label_only::{
    DecisionModel, Found, GraphModel, Outcome, Settings, Targets, hop_skip_jump as attack,
};
use crate::gpu::Gpu;
use crate::kernels::Shape;
use crate::rng::{Key, normal, uniform};
use crate::{Error, Result};
use serde::Serialize;
use std::fmt;

/// How many images, and how many queries at once.
#[derive(Clone, Copy, Debug)]
pub struct HopSkipJumpOptions {
    pub images: usize,
    /// The first so many are attacked again, each by itself.
    pub alone: usize,
    /// Queries of a submit; when alone, as many as one image can use at most.
    pub rows: usize,
    /// Side of the images, which have three channels.
    pub size: usize,
    /// Multiple of the published gradient queries.
    pub budget: u32,
}

/// What the attack costs and how near it comes.
#[derive(Clone, Debug, Serialize)]
pub struct HopSkipJumpReport {
    #[serde(flatten)]
    pub machine: Machine,
    pub images: usize,
    pub alone: usize,
    pub rows: usize,
    /// Numbers of an image.
    pub dimension: usize,
    pub settings: Settings,
    /// Seconds an image, all in lockstep.
    pub together_s: f64,
    /// Seconds an image, one at a time.
    pub alone_s: f64,
    /// CPU seconds of this process an image, which a shared machine changes less than the clock; on a software adapter
    /// the device's work is in them.
    pub together_cpu_s: Option<f64>,
    pub alone_cpu_s: Option<f64>,
    pub together: Timing,
    pub alone_timing: Timing,
    pub times_faster: f64,
    /// Whether the images that were attacked both ways have the same distances, bit for bit.
    pub same_bits: bool,
    pub queries_an_image: f64,
    pub queries_per_s: f64,
    /// Distances over the analytic ones: 5th, 50th and 95th percentile.
    pub with_projection: [f64; 3],
    /// The same for the published form: no final projection.
    pub without_projection: [f64; 3],
}

/// Of every image to the hyperplane, relative to √dimension as in [.4, .6]⁴⁸ at distance .28.
const DISTANCE: f64 = 0.28 / 6.928_203_230_275_509;
const RUNS: usize = 3;

/// Times the attack.
///
/// # Errors
/// What the adapter reports; an image without a start.
pub fn hop_skip_jump(gpu: &Gpu, options: &HopSkipJumpOptions) -> Result<HopSkipJumpReport> {
    let machine = Machine::of(gpu);
    let image = Shape::new(1, 3, options.size, options.size);
    let dimension = image.elements();
    let distance = DISTANCE * (dimension as f64).sqrt();
    let plane = Hyperplane::new(image, options.images, distance);
    let settings = Settings { auxiliary: 0, ..Settings::default() }.with_budget(options.budget);
    let compat = Settings { final_projection: false, ..settings };
    let largest = (0..settings.max_iterations).map(|t| settings.evaluations(t)).max().unwrap_or(1);
    let together_model = plane.model(gpu, image, options.rows)?;
    let alone_model = plane.model(gpu, image, largest as usize)?;
    let alone_count = options.alone.min(options.images);
    // Both forms are timed from the images to the distances; the first runs also compile the kernels.
    let without = plane.run(gpu, &together_model, options.images, &compat)?;
    let mut found = Vec::new();
    plane.run(gpu, &together_model, options.images, &settings)?;
    let before = cpu_seconds();
    let together = Timing::repeat(0, RUNS, || {
        found = plane.run(gpu, &together_model, options.images, &settings)?;
        Ok(())
    })?;
    let together_cpu_s = cpu_since(before, RUNS * options.images);
    let one_at_a_time = Settings { images_at_once: 1, ..settings };
    plane.run(gpu, &alone_model, 1, &one_at_a_time)?;
    let mut alone = Vec::new();
    let before = cpu_seconds();
    let alone_timing = Timing::repeat(0, RUNS, || {
        alone = plane.run(gpu, &alone_model, alone_count, &one_at_a_time)?;
        Ok(())
    })?
    .each(alone_count);
    let alone_cpu_s = cpu_since(before, RUNS * alone_count);
    let together = together.each(options.images);
    let queries_an_image = found.iter().map(|f| f64::from(f.queries)).sum::<f64>() / options.images as f64;
    Ok(HopSkipJumpReport {
        machine,
        images: options.images,
        alone: alone_count,
        rows: options.rows,
        dimension,
        settings,
        together_s: together.median,
        alone_s: alone_timing.median,
        times_faster: alone_timing.median / together.median,
        together_cpu_s,
        alone_cpu_s,
        together,
        alone_timing,
        same_bits: alone.iter().zip(&found).all(|(a, b)| a.distance.to_bits() == b.distance.to_bits()),
        queries_an_image,
        queries_per_s: queries_an_image / together.median,
        with_projection: percentiles(&found, distance)?,
        without_projection: percentiles(&without, distance)?,
    })
}

/// CPU seconds since `before` for each of `count`.
fn cpu_since(before: Option<f64>, count: usize) -> Option<f64> {
    Some((cpu_seconds()? - before?) / count as f64)
}

/// Two classes on the sides of a hyperplane, and images of one class at one distance from it.
struct Hyperplane {
    weight: Vec<f32>,
    bias: f32,
    images: Vec<f32>,
}

impl Hyperplane {
    fn new(image: Shape, count: usize, distance: f64) -> Hyperplane {
        let (key, d) = (Key::from_seed(48), image.elements());
        let weight: Vec<f64> = (0..d as u32).map(|i| normal(key.draw(i, 0, 0))).collect();
        let norm = weight.iter().map(|w| w * w).sum::<f64>().sqrt();
        let weight: Vec<f32> = weight.iter().map(|w| (w / norm) as f32).collect();
        let side =
            |x: &[f64], bias: f64| x.iter().zip(&weight).map(|(x, w)| x * f64::from(*w)).sum::<f64>() + bias;
        let bias = (-side(&vec![0.5; d], 0.0) - distance) as f32;
        let images = (0..count as u32)
            .flat_map(|n| {
                let x: Vec<f64> = (0..d as u32)
                    .map(|i| 0.4 + 0.2 * f64::from(uniform(Key(key.draw(n, 1, 0)).draw(i, 0, 0)[0])))
                    .collect();
                let move_by = side(&x, f64::from(bias)) + distance;
                let moved = |(x, w): (&f64, &f32)| (x - move_by * f64::from(*w)) as f32;
                x.iter().zip(&weight).map(moved).collect::<Vec<f32>>()
            })
            .collect();
        Hyperplane { weight, bias, images }
    }

    fn model(&self, gpu: &Gpu, image: Shape, rows: usize) -> Result<GraphModel> {
        let weight = [vec![0.0; self.weight.len()], self.weight.clone()].concat();
        // A size for single queries of each of the images, so that a search does not pay for a gradient estimate.
        let sizes: Vec<usize> =
            std::iter::successors(Some(rows), |&n| (n > 1).then_some(n.div_ceil(8))).collect();
        GraphModel::linear(gpu, image, &sizes, &weight, &[0.0, self.bias])
    }

    fn run(
        &self,
        gpu: &Gpu,
        model: &dyn DecisionModel,
        count: usize,
        settings: &Settings,
    ) -> Result<Vec<Found>> {
        let numbers: Vec<u32> = (0..count as u32).collect();
        let images = &self.images[..count * self.weight.len()];
        let targets = Targets { images, labels: &vec![0; count], numbers: &numbers, auxiliary: &[] };
        attack(gpu, model, &targets, settings)
    }
}

fn percentiles(found: &[Found], distance: f64) -> Result<[f64; 3]> {
    if let Some(at) = found.iter().position(|f| f.outcome != Outcome::Found) {
        return Err(Error::Diverged(format!("image {at} of the benchmark: {:?}", found[at].outcome)));
    }
    let mut ratios: Vec<f64> = found.iter().map(|f| f64::from(f.distance) / distance).collect();
    ratios.sort_by(f64::total_cmp);
    let last = ratios.len().saturating_sub(1) as f64;
    Ok([0.05, 0.5, 0.95].map(|p| ratios.get((p * last).round() as usize).copied().unwrap_or(f64::NAN)))
}

impl fmt::Display for HopSkipJumpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "HopSkipJump, {} images of {} numbers, a linear classifier",
            self.images, self.dimension
        )?;
        let ratios =
            |p: [f64; 3]| format!("{:.4} ({:.4} to {:.4}, 5th to 95th percentile)", p[1], p[0], p[2]);
        f.write_str(&list(&[
            ("on", self.machine.to_string()),
            ("in lockstep", format!("{} an image", milliseconds(&self.together))),
            (
                "one at a time",
                format!("{} an image, {} images", milliseconds(&self.alone_timing), self.alone),
            ),
            (
                "CPU",
                match (self.together_cpu_s, self.alone_cpu_s) {
                    (Some(a), Some(b)) => {
                        format!(
                            "{} and {} ms an image ({} times)",
                            short(a * 1e3),
                            short(b * 1e3),
                            short(b / a)
                        )
                    }
                    _ => "unknown on this system".into(),
                },
            ),
            (
                "so",
                format!(
                    "{} times as fast; the same bits: {}",
                    short(self.times_faster),
                    if self.same_bits { "yes" } else { "no" }
                ),
            ),
            (
                "queries",
                format!(
                    "{} an image, {} a second, up to {} a submit",
                    short(self.queries_an_image),
                    short(self.queries_per_s),
                    self.rows
                ),
            ),
            ("distance", format!("{} times the analytic one", ratios(self.with_projection))),
            ("unprojected", format!("{} times", ratios(self.without_projection))),
        ]))
    }
}

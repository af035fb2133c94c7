//! Features of images in evaluation mode.

use super::profile::{Profile, profile};
use super::step::{check_batch, memory_text};
use super::text::{list, milliseconds, short};
use super::{Machine, Timing};
use crate::Result;
use crate::augment::Recipe;
use crate::data::faces::{FacesOptions, generate};
use crate::gpu::{Gpu, MemoryPlan};
use crate::train::{Encoder, EncoderConfig, Pass, Views};
use serde::Serialize;
use std::fmt;

/// Which encoder, and how often.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    pub encoder: EncoderConfig,
    /// Images of one submit, one plain view each.
    pub batch: usize,
    pub warm_up: usize,
    pub runs: usize,
    /// Also where the time goes by kernel.
    pub profile: bool,
}

/// What encoding costs, from bytes on the host to features on the host.
#[derive(Clone, Debug, Serialize)]
pub struct EncodeReport {
    #[serde(flatten)]
    pub machine: Machine,
    #[serde(flatten)]
    pub encoder: EncoderConfig,
    pub batch: usize,
    pub runs: usize,
    /// Images over the median batch.
    pub images_per_s: f64,
    /// The median.
    pub batch_ms: f64,
    pub batch_ms_min: f64,
    pub batch_ms_max: f64,
    pub launches: usize,
    pub gflop: f64,
    pub gflops_per_s: f64,
    pub memory: MemoryPlan,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// Times an encoder with its initial values on drawn faces.
///
/// # Errors
/// Settings out of range; tensors over the adapter's limits.
pub fn encode(gpu: &Gpu, options: &EncodeOptions) -> Result<EncodeReport> {
    let &EncodeOptions { encoder: config, batch, .. } = options;
    check_batch(batch)?;
    let machine = Machine::of(gpu);
    let set = generate(&FacesOptions { count: batch, size: config.size, ..FacesOptions::default() })?;
    let encoder = Encoder::untrained(gpu, config, 0)?;
    let views = Views::plain(Recipe::plain(config.size));
    let pass = Pass::new(gpu, &encoder, &set, &views, batch)?;
    let indices: Vec<usize> = (0..batch).collect();
    let timing =
        Timing::repeat(options.warm_up, options.runs, || pass.run(gpu, &set, &indices).map(|_features| ()))?;
    let program = pass.program();
    let gflop = program.flops() as f64 * 1e-9;
    Ok(EncodeReport {
        machine,
        encoder: config,
        batch,
        runs: timing.runs,
        images_per_s: batch as f64 / timing.median,
        batch_ms: timing.median * 1e3,
        batch_ms_min: timing.min * 1e3,
        batch_ms_max: timing.max * 1e3,
        launches: program.launches(),
        gflop,
        gflops_per_s: gflop / timing.median,
        memory: program.memory().clone(),
        profile: options.profile.then(|| profile(gpu, program)).transpose()?,
    })
}

impl fmt::Display for EncodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, min, max] = [self.batch_ms, self.batch_ms_min, self.batch_ms_max].map(|ms| ms * 1e-3);
        let timing = Timing { median, min, max, runs: self.runs };
        writeln!(f, "encoding, {}, batches of {} images", self.encoder, self.batch)?;
        let [gflop, rate] = [self.gflop, self.gflops_per_s].map(short);
        f.write_str(&list(&[
            ("on", self.machine.to_string()),
            ("images/s", short(self.images_per_s)),
            ("batch", milliseconds(&timing)),
            ("work", format!("{gflop} GFLOP in {} launches, {rate} GFLOP/s", self.launches)),
            ("memory", memory_text(&self.memory)),
        ]))?;
        self.profile.iter().try_for_each(|profile| profile.fmt(f))
    }
}

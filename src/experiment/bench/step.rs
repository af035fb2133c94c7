//! Whole SimCLR steps: augmentation, forward, NT-Xent, backward, Adam.

use super::profile::{Profile, profile};
use super::text::{list, mebibytes, milliseconds, short};
use super::{Machine, Timing, cpu_seconds};
use crate::augment::Recipe;
use crate::data::faces::{FacesOptions, generate};
use crate::gpu::{Gpu, MemoryPlan};
use crate::train::{
    BatchNormScope, EncoderConfig, Precision, SetSize, SimclrConfig, Trainer, Training, plan,
};
use crate::{Error, Result};
use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// Which step, and how often.
#[derive(Clone, Debug)]
pub struct StepOptions {
    pub encoder: EncoderConfig,
    /// Images in a step; twice as many views.
    pub batch: usize,
    /// As the GPU was opened.
    pub precision: Precision,
    /// Steps before the clock starts: the first compiles.
    pub warm_up: usize,
    /// Timed steps, each waited for.
    pub steps: usize,
    /// Also where the time goes by kernel.
    pub profile: bool,
}

/// What steps cost.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    #[serde(flatten)]
    pub machine: Machine,
    #[serde(flatten)]
    pub encoder: EncoderConfig,
    pub batch: usize,
    pub views: usize,
    /// Whether operands of products are rounded to f16.
    pub mixed_precision: bool,
    pub steps: usize,
    /// Views over the median step.
    pub views_per_s: f64,
    /// The median.
    pub step_ms: f64,
    pub step_ms_min: f64,
    pub step_ms_max: f64,
    /// CPU time of the process for a step, the mean: of a software adapter, the work of all its threads.
    pub step_cpu_ms: Option<f64>,
    /// Tracing, planning and pipelines.
    pub build_s: f64,
    /// The first step, with what the driver compiles then.
    pub first_step_s: f64,
    pub launches: usize,
    pub gflop: f64,
    pub gflops_per_s: f64,
    pub memory: MemoryPlan,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// Images of a batch, so that drawing them takes seconds and not minutes.
const MOST_BATCH: usize = 1 << 16;

pub(super) fn check_batch(batch: usize) -> Result<()> {
    match batch <= MOST_BATCH {
        true => Ok(()),
        false => Err(Error::usage(format!("batch: expected at most {MOST_BATCH} images, found {batch}"))),
    }
}

/// Times steps of SimCLR (Adam, one pass over both views) on drawn faces.
///
/// # Errors
/// Settings out of range; tensors over the adapter's limits.
pub fn step(gpu: &Gpu, options: &StepOptions) -> Result<StepReport> {
    let &StepOptions { encoder, batch, precision, warm_up, steps, .. } = options;
    check_batch(batch)?;
    let machine = Machine::of(gpu);
    let recipe = Recipe { size: encoder.size, ..Recipe::named("moco-cifar")? };
    let epochs = (warm_up + steps).max(1) as u64;
    let training = Training::from(SimclrConfig {
        batch_norm: BatchNormScope::Joint,
        precision,
        ..SimclrConfig::emi_simclr(encoder, recipe, batch, epochs, 0)
    });
    // Before so many faces are drawn.
    let (count, size) = (2 * batch, encoder.size);
    plan::check(gpu.facts(), &training, SetSize { images: count, height: size, width: size })?;
    let set = generate(&FacesOptions { count, size, ..FacesOptions::default() })?;
    let start = Instant::now();
    let mut trainer = Trainer::new(gpu, training, &set)?;
    let build_s = start.elapsed().as_secs_f64();
    let mut one = || {
        trainer.step()?;
        gpu.wait_all()
    };
    let start = Instant::now();
    one()?;
    let first_step_s = start.elapsed().as_secs_f64();
    for _ in 1..warm_up {
        one()?;
    }
    let cpu_before = cpu_seconds();
    let timing = Timing::repeat(0, steps, one)?;
    let cpu = cpu_seconds().zip(cpu_before).map(|(after, before)| after - before);
    let program = trainer.program();
    let gflop = program.flops() as f64 * 1e-9;
    Ok(StepReport {
        machine,
        encoder,
        batch,
        views: 2 * batch,
        mixed_precision: precision.mixed,
        steps: timing.runs,
        views_per_s: 2.0 * batch as f64 / timing.median,
        step_ms: timing.median * 1e3,
        step_ms_min: timing.min * 1e3,
        step_ms_max: timing.max * 1e3,
        step_cpu_ms: cpu.map(|seconds| seconds * 1e3 / timing.runs as f64),
        build_s,
        first_step_s,
        launches: program.launches(),
        gflop,
        gflops_per_s: gflop / timing.median,
        memory: program.memory().clone(),
        profile: options.profile.then(|| profile(gpu, program)).transpose()?,
    })
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, min, max] = [self.step_ms, self.step_ms_min, self.step_ms_max].map(|ms| ms * 1e-3);
        let timing = Timing { median, min, max, runs: self.steps };
        let precision = if self.mixed_precision { ", mixed precision" } else { "" };
        writeln!(f, "SimCLR step, {}, {} views{precision}", self.encoder, self.views)?;
        f.write_str(&list(&[
            ("on", self.machine.to_string()),
            ("views/s", short(self.views_per_s)),
            ("step", milliseconds(&timing)),
            (
                "CPU time",
                self.step_cpu_ms
                    .map_or("unknown on this system".into(), |ms| format!("{} ms a step", short(ms))),
            ),
            (
                "work",
                format!(
                    "{} GFLOP in {} launches, {} GFLOP/s",
                    short(self.gflop),
                    self.launches,
                    short(self.gflops_per_s)
                ),
            ),
            ("memory", memory_text(&self.memory)),
            (
                "start",
                format!(
                    "{} s to build, {} s for the first step",
                    short(self.build_s),
                    short(self.first_step_s)
                ),
            ),
        ]))?;
        self.profile.iter().try_for_each(|profile| profile.fmt(f))
    }
}

pub(super) fn memory_text(memory: &MemoryPlan) -> String {
    format!(
        "{} transient ({} without sharing), {} persistent",
        mebibytes(memory.transient_bytes),
        mebibytes(memory.unshared_bytes),
        mebibytes(memory.persistent_bytes)
    )
}

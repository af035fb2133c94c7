//! Every kernel alone, at the shapes of the published encoders.

use super::cases::{Case, Record, Scale, cases};
use super::roofline::{Bound, Roofline};
use super::text::{short, table};
use super::workspace::Workspace;
use super::{Machine, Timing};
use crate::gpu::{Gpu, Program};
use crate::{Error, Result};
use serde::Serialize;
use std::fmt;

/// Which kernels, and how often.
#[derive(Clone, Debug)]
pub struct KernelsOptions {
    /// Only cases whose name, shape or shaders contain this.
    pub filter: Option<String>,
    pub runs: usize,
    pub scale: Scale,
}

/// One kernel call at one shape.
#[derive(Clone, Debug, Serialize)]
pub struct KernelRow {
    /// The launcher.
    pub name: &'static str,
    pub shape: String,
    pub shaders: Vec<&'static str>,
    pub launches: usize,
    /// The median, copies into textures included.
    pub ms: f64,
    pub ms_min: f64,
    pub ms_max: f64,
    pub gflops_per_s: f64,
    pub gbytes_per_s: f64,
    /// The least time that the roofline allows, over the median.
    pub percent_of_roofline: f64,
    pub bound: Bound,
}

/// A case that this adapter cannot run.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub name: &'static str,
    pub shape: String,
    pub reason: String,
}

/// The table of kernels.
#[derive(Clone, Debug, Serialize)]
pub struct KernelsReport {
    #[serde(flatten)]
    pub machine: Machine,
    pub roofline: Roofline,
    pub kernels: Vec<KernelRow>,
    pub skipped: Vec<Skipped>,
}

/// Submits are made at least this long by repeating the call, so that the cost of a submit does not matter.
const SHORTEST_SECONDS: f64 = 2e-3;
const MOST_REPEATS: usize = 64;

/// Times every case that the filter lets through; `progress` hears the name of each.
///
/// # Errors
/// A filter that lets nothing through: the nearest name and all of them.
pub fn kernels(gpu: &Gpu, options: &KernelsOptions, mut progress: impl FnMut(&str)) -> Result<KernelsReport> {
    let machine = Machine::of(gpu);
    let all = cases(&options.scale);
    let mut names: Vec<&str> = Vec::new();
    for case in &all {
        if !names.contains(&case.name) {
            names.push(case.name);
        }
    }
    let mut chosen = Vec::new();
    for case in all {
        if options.filter.as_ref().is_none_or(|filter| case.matches(gpu, filter)) {
            chosen.push(case);
        }
    }
    if let (true, Some(filter)) = (chosen.is_empty(), &options.filter) {
        return Err(Error::unknown("kernel", filter, &names));
    }
    progress("roofline");
    let roofline = Roofline::measure(gpu, &options.scale, options.runs)?;
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for Case { name, shape, record } in chosen {
        progress(&format!("{name} {shape}"));
        match measure(gpu, options.runs, &record) {
            Ok(measured) => rows.push(row(name, shape, &measured, &roofline)),
            Err(error) => skipped.push(Skipped { name, shape, reason: error.to_string() }),
        }
    }
    Ok(KernelsReport { machine, roofline, kernels: rows, skipped })
}

fn row(name: &'static str, shape: String, measured: &Measured, roofline: &Roofline) -> KernelRow {
    let (least, bound) = roofline.bound(measured.flops, measured.bytes);
    let Timing { median, min, max, .. } = measured.timing;
    KernelRow {
        name,
        shape,
        shaders: measured.shaders.clone(),
        launches: measured.launches,
        ms: median * 1e3,
        ms_min: min * 1e3,
        ms_max: max * 1e3,
        gflops_per_s: measured.flops as f64 * 1e-9 / median,
        gbytes_per_s: measured.bytes as f64 * 1e-9 / median,
        percent_of_roofline: 100.0 * least / median,
        bound,
    }
}

/// One call of a launcher: its time and its work.
pub(super) struct Measured {
    pub timing: Timing,
    pub flops: u64,
    pub bytes: u64,
    launches: usize,
    shaders: Vec<&'static str>,
}

/// Times one call of `record`, by submits of as many calls as take a while.
pub(super) fn measure(gpu: &Gpu, runs: usize, record: &Record) -> Result<Measured> {
    let mut space = Workspace::new(gpu, gpu.facts());
    record(&mut space)?;
    let single = Program::build(gpu, &space.take_recording())?;
    let seconds = Timing::repeat(1, 1, || single.run(gpu))?.median;
    let repeats = ((SHORTEST_SECONDS / seconds.max(1e-9)).ceil() as usize).clamp(1, MOST_REPEATS);
    let timing = if repeats == 1 {
        Timing::repeat(0, runs, || single.run(gpu))?
    } else {
        for _ in 0..repeats {
            // Every call does all of its work.
            space.recording.forget_derived();
            record(&mut space)?;
        }
        let program = Program::build(gpu, &space.take_recording())?;
        Timing::repeat(1, runs, || program.run(gpu))?.each(repeats)
    };
    let dispatches = single.dispatches();
    let mut shaders: Vec<&'static str> = dispatches.iter().map(|d| d.shader).collect();
    shaders.sort_unstable();
    shaders.dedup();
    Ok(Measured {
        timing,
        flops: single.flops(),
        bytes: dispatches.iter().map(|d| d.bytes).sum(),
        launches: single.launches(),
        shaders,
    })
}

impl fmt::Display for KernelsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Roofline { gbytes_per_s, gflops_per_s, bandwidth_of, flops_of } = &self.roofline;
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "roofline, measured here: {} GB/s ({bandwidth_of}), {} GFLOP/s ({flops_of}, the best of these kernels)",
            short(*gbytes_per_s),
            short(*gflops_per_s)
        )?;
        let row = |k: &KernelRow| {
            let bound = if k.bound == Bound::Flops { "flops" } else { "memory" };
            vec![
                format!("{} {}", k.name, k.shape),
                k.launches.to_string(),
                short(k.ms),
                format!("{:.1}", k.gflops_per_s),
                format!("{:.1}", k.gbytes_per_s),
                format!("{:.0} % of {bound}", k.percent_of_roofline),
            ]
        };
        let rows: Vec<_> = self.kernels.iter().map(row).collect();
        f.write_str(&table(&["kernel", "launches", "ms", "GFLOP/s", "GB/s", "roofline"], &rows))?;
        for Skipped { name, shape, reason } in &self.skipped {
            writeln!(f, "not run: {name} {shape}: {reason}")?;
        }
        Ok(())
    }
}

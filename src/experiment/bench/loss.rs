//! NT-Xent alone, forward and backward.

use super::text::{list, mebibytes, milliseconds, short};
use super::workspace::Workspace;
use super::{Machine, Timing};
use crate::Result;
use crate::gpu::{Gpu, Program};
use crate::kernels::Shape;
use crate::kernels::loss::{nt_xent, nt_xent_grad};
use serde::Serialize;
use std::fmt;

/// Which loss, and how often.
#[derive(Clone, Copy, Debug)]
pub struct LossOptions {
    /// Projections, two for each image.
    pub rows: usize,
    pub dim: usize,
    pub temperature: f32,
    pub runs: usize,
}

/// What the loss costs.
#[derive(Clone, Debug, Serialize)]
pub struct LossReport {
    #[serde(flatten)]
    pub machine: Machine,
    pub rows: usize,
    pub dim: usize,
    pub temperature: f32,
    /// Seconds of the loss alone.
    pub forward: Timing,
    /// Seconds of loss and gradient in one submit.
    pub both: Timing,
    /// The difference of the medians.
    pub backward_s: f64,
    pub gflop: f64,
    /// Of loss and gradient.
    pub gflops_per_s: f64,
    pub launches: usize,
    pub input_bytes: u64,
    /// Transient memory of loss and gradient, beyond input and gradient.
    pub scratch_bytes: u64,
    pub gradient_bytes: u64,
    /// The most memory that the process ever held, on systems that tell (Linux). Of a software adapter that
    /// includes all buffers.
    pub process_peak_bytes: Option<u64>,
}

/// Times NT-Xent on `[rows, dim]` random projections.
///
/// # Errors
/// An odd number of rows, a temperature out of range; tensors over the adapter's limits.
pub fn loss(gpu: &Gpu, options: &LossOptions) -> Result<LossReport> {
    let &LossOptions { rows, dim, temperature, runs } = options;
    let machine = Machine::of(gpu);
    let shape = Shape::matrix(rows, dim);
    let mut space = Workspace::new(gpu, gpu.facts());
    let program = |space: &mut Workspace, with_gradient: bool| -> Result<Program> {
        let z = space.tensor("projections", shape)?;
        let value = space.tensor("loss", Shape::matrix(1, 1))?;
        let forward = nt_xent(&mut space.recording, z, temperature, value)?;
        if with_gradient {
            let dz = space.tensor("gradient", shape)?;
            nt_xent_grad(&mut space.recording, &forward, 1.0, dz)?;
        }
        Program::build(gpu, &space.take_recording())
    };
    let forward = {
        let program = program(&mut space, false)?;
        Timing::repeat(1, runs, || program.run(gpu))?
    };
    let both = program(&mut space, true)?;
    let timing = Timing::repeat(1, runs, || both.run(gpu))?;
    let gflop = both.flops() as f64 * 1e-9;
    Ok(LossReport {
        machine,
        rows,
        dim,
        temperature,
        forward,
        both: timing,
        backward_s: timing.median - forward.median,
        gflop,
        gflops_per_s: gflop / timing.median,
        launches: both.launches(),
        input_bytes: shape.bytes(),
        scratch_bytes: both.memory().transient_bytes,
        gradient_bytes: shape.bytes(),
        process_peak_bytes: process_peak_bytes(),
    })
}

fn process_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "NT-Xent, {} projections of {} values", self.rows, self.dim)?;
        f.write_str(&list(&[
            ("on", self.machine.to_string()),
            ("forward", milliseconds(&self.forward)),
            ("with gradient", milliseconds(&self.both)),
            ("gradient alone", format!("{} ms (the difference)", short(self.backward_s * 1e3))),
            (
                "work",
                format!(
                    "{} GFLOP in {} launches, {} GFLOP/s",
                    short(self.gflop),
                    self.launches,
                    short(self.gflops_per_s)
                ),
            ),
            (
                "memory",
                format!(
                    "{} scratch; input and gradient {} each",
                    mebibytes(self.scratch_bytes),
                    mebibytes(self.input_bytes)
                ),
            ),
            ("process peak", self.process_peak_bytes.map_or("unknown on this system".into(), mebibytes)),
        ]))
    }
}

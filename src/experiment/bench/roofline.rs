//! What this adapter can do at best, measured: the lines that kernels are compared with.

use super::cases::{Scale, dense};
use super::kernels::measure;
use crate::Result;
use crate::gpu::Gpu;
use crate::kernels::{Shape, elementwise};
use serde::Serialize;

/// The best rates that kernels of this project reach here, not what a data sheet says. The fastest run counts, not
/// the median: others' work on the machine can only lower a ceiling.
#[derive(Clone, Debug, Serialize)]
pub struct Roofline {
    pub gbytes_per_s: f64,
    pub gflops_per_s: f64,
    /// What reached them.
    pub bandwidth_of: String,
    pub flops_of: String,
}

/// Below this time a product does not fill the adapter, and a larger one is tried.
const SMALL_SECONDS: f64 = 2e-3;

impl Roofline {
    /// Measures a pass over memory, a matrix product and two convolutions.
    pub(super) fn measure(gpu: &Gpu, scale: &Scale, runs: usize) -> Result<Roofline> {
        let texels = (scale.stream_bytes.min(gpu.facts().max_binding_bytes) / 16) as usize;
        let shape = Shape::matrix(texels, 4);
        let stream = measure(gpu, runs, &move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(shape));
            elementwise::scale(&mut space.recording, x, 0.5, y);
            Ok(())
        })?;
        let mut candidates = dense::convolutions_for_roofline(scale);
        candidates.push(dense::square_product(scale.matrix));
        let mut best = (0.0, String::new());
        for mut case in candidates {
            let mut measured = measure(gpu, runs, &case.record)?;
            if measured.timing.median < SMALL_SECONDS && case.name == "matmul" && scale.matrix >= 1024 {
                case = dense::square_product(4 * scale.matrix);
                measured = measure(gpu, runs, &case.record)?;
            }
            let rate = measured.flops as f64 * 1e-9 / measured.timing.min;
            if rate > best.0 {
                best = (rate, format!("{} {}", case.name, case.shape));
            }
        }
        Ok(Roofline {
            gbytes_per_s: stream.bytes as f64 * 1e-9 / stream.timing.min,
            gflops_per_s: best.0,
            bandwidth_of: format!("y = x/2 over {} MiB", shape.bytes() >> 20),
            flops_of: best.1,
        })
    }

    /// Seconds that work needs at least, and what it waits for.
    pub(super) fn bound(&self, flops: u64, bytes: u64) -> (f64, Bound) {
        let arithmetic = flops as f64 * 1e-9 / self.gflops_per_s;
        let memory = bytes as f64 * 1e-9 / self.gbytes_per_s;
        if arithmetic > memory { (arithmetic, Bound::Flops) } else { (memory, Bound::Memory) }
    }
}

/// Which line of the roofline is the lower one for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    Flops,
    Memory,
}

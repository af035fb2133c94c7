//! How fast this machine is: whole training steps, encoding, the loss, the decision-boundary attack, single kernels,
//! bare launches.
//!
//! Every figure is the median of several runs after a warm-up, which pays for compilation. Reports serialize to
//! JSON and print as text.

mod cases;
mod dispatch;
mod encode;
mod hop_skip_jump;
mod kernels;
mod loss;
mod profile;
mod roofline;
mod step;
mod text;
mod workspace;

pub use cases::{Case, Scale, cases};
pub use dispatch::{DispatchReport, dispatch};
pub use encode::{EncodeOptions, EncodeReport, encode};
pub use hop_skip_jump::{HopSkipJumpOptions, HopSkipJumpReport, hop_skip_jump};
pub use kernels::{KernelRow, KernelsOptions, KernelsReport, kernels};
pub use loss::{LossOptions, LossReport, loss};
pub use profile::{Profile, Share};
pub use roofline::Roofline;
pub use step::{StepOptions, StepReport, step};
pub use workspace::Workspace;

use crate::Result;
use crate::gpu::{Gpu, KernelClass};
use serde::Serialize;
use std::time::Instant;

/// Where something was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub adapter: String,
    pub backend: String,
    pub driver: String,
    pub class: KernelClass,
    /// Runnable threads of the last minute, before the measurement, on systems that tell (Linux): others' work
    /// makes figures of a software adapter worse.
    pub load_average: Option<f64>,
    pub cpus: usize,
}

impl Machine {
    pub fn of(gpu: &Gpu) -> Machine {
        let description = gpu.description();
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Machine {
            adapter: description.name.clone(),
            backend: description.backend.clone(),
            driver: format!("{} {}", description.driver, description.driver_info).trim().to_string(),
            class: description.class,
            load_average: load.and_then(|text| text.split(' ').next()?.parse().ok()),
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }
}

/// CPU seconds that this process has spent, on systems that tell (Linux). A software adapter's work is in it, and
/// unlike the clock it hardly changes when the machine is shared.
fn cpu_seconds() -> Option<f64> {
    /// Ticks of `/proc` are hundredths of a second on every architecture of today.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name, in brackets, may hold anything; user and system time are fields 14 and 15 of all.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}

/// Seconds of repeated runs of one thing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Timing {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub runs: usize,
}

impl Timing {
    /// Of at least one run; the median of an even number is the mean of the middle two.
    fn of(mut seconds: Vec<f64>) -> Timing {
        seconds.sort_by(f64::total_cmp);
        let runs = seconds.len();
        let at = |i: usize| seconds.get(i).copied().unwrap_or(f64::NAN);
        Timing {
            median: (at(runs.saturating_sub(1) / 2) + at(runs / 2)) / 2.0,
            min: at(0),
            max: at(runs.saturating_sub(1)),
            runs,
        }
    }

    /// Runs `work` once to warm up for each of `warm_up`, then `runs` (at least 1) times for the clock.
    fn repeat(warm_up: usize, runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<Timing> {
        for _ in 0..warm_up {
            work()?;
        }
        let one = |_| {
            let start = Instant::now();
            work().map(|()| start.elapsed().as_secs_f64())
        };
        Ok(Timing::of((0..runs.max(1)).map(one).collect::<Result<_>>()?))
    }

    /// The time of one of `count` equal parts of a run.
    fn each(self, count: usize) -> Timing {
        let n = count.max(1) as f64;
        Timing { median: self.median / n, min: self.min / n, max: self.max / n, ..self }
    }
}

//! Where the device time of a program goes.

use super::text::{short, table};
use crate::Result;
use crate::gpu::{Dispatch, Gpu, Program};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Profiles of one program; each launch counts with its median.
const RUNS: usize = 3;
/// Rows of the table of equal launches that are printed; JSON has all.
const LISTED: usize = 20;

/// Device time of a program by kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// From the first launch to the end of the last, copies included; the median of three submits.
    pub total_ms: f64,
    /// Between the launches: copies into textures, clears, waiting. Measured with a pass for each launch, so more
    /// than without timestamps.
    pub between_ms: f64,
    /// Slowest first.
    pub kernels: Vec<Share>,
    /// Launches of a kernel with the same work taken together (layers of one shape), slowest first.
    pub equal_launches: Vec<Share>,
}

/// Some launches of one kernel, all figures of them together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Share {
    pub kernel: &'static str,
    pub launches: usize,
    pub ms: f64,
    /// Of the total.
    pub share: f64,
    pub gflop: f64,
    pub mbytes: f64,
    pub gflops_per_s: f64,
    pub gbytes_per_s: f64,
}

/// Submits `program` a few times with timestamps around every launch.
///
/// # Errors
/// When the adapter has no timestamps.
pub(super) fn profile(gpu: &Gpu, program: &Program) -> Result<Profile> {
    let runs = (0..RUNS).map(|_| program.profile(gpu)).collect::<Result<Vec<_>>>()?;
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[RUNS / 2]
    };
    let dispatches = program.dispatches();
    let seconds: Vec<f64> =
        (0..dispatches.len()).map(|i| median(runs.iter().map(|run| run.dispatches[i].1).collect())).collect();
    let total = median(runs.iter().map(|run| run.total_seconds).collect());
    Ok(Profile {
        total_ms: total * 1e3,
        between_ms: (total - seconds.iter().sum::<f64>()).max(0.0) * 1e3,
        kernels: shares(dispatches, &seconds, total, |_| (0, 0)),
        equal_launches: shares(dispatches, &seconds, total, |d| (d.flops, d.bytes)),
    })
}

/// Launches with equal kernels and keys, summed; the slowest first.
fn shares(
    dispatches: &[Dispatch],
    seconds: &[f64],
    total: f64,
    key: impl Fn(&Dispatch) -> (u64, u64),
) -> Vec<Share> {
    let mut groups: BTreeMap<(&str, (u64, u64)), Share> = BTreeMap::new();
    for (dispatch, seconds) in dispatches.iter().zip(seconds) {
        let group = groups.entry((dispatch.shader, key(dispatch))).or_default();
        group.kernel = dispatch.shader;
        group.launches += 1;
        group.ms += seconds * 1e3;
        group.gflop += dispatch.flops as f64 * 1e-9;
        group.mbytes += dispatch.bytes as f64 * 1e-6;
    }
    let mut shares: Vec<Share> = groups.into_values().collect();
    for share in &mut shares {
        let seconds = (share.ms * 1e-3).max(1e-9);
        share.share = seconds / total.max(1e-9);
        share.gflops_per_s = share.gflop / seconds;
        share.gbytes_per_s = share.mbytes * 1e-3 / seconds;
    }
    shares.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    shares
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = ["kernel", "launches", "ms", "share", "GFLOP", "MB", "GFLOP/s", "GB/s"];
        let row = |s: &Share| {
            vec![
                s.kernel.to_string(),
                s.launches.to_string(),
                format!("{:.2}", s.ms),
                format!("{:.1} %", s.share * 100.0),
                format!("{:.2}", s.gflop),
                format!("{:.0}", s.mbytes),
                format!("{:.1}", s.gflops_per_s),
                format!("{:.1}", s.gbytes_per_s),
            ]
        };
        let rows = |shares: &[Share]| shares.iter().map(row).collect::<Vec<_>>();
        writeln!(
            f,
            "device time {} ms, of it {} ms between launches (copies, waiting)",
            short(self.total_ms),
            short(self.between_ms)
        )?;
        f.write_str(&table(&headings, &rows(&self.kernels)))?;
        let listed = self.equal_launches.len().min(LISTED);
        writeln!(f, "launches with equal work together, the {listed} slowest")?;
        f.write_str(&table(&headings, &rows(&self.equal_launches[..listed])))
    }
}

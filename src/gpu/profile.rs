//! Device time of each kernel, by timestamps around every dispatch.

use super::adapter::Gpu;
use super::program::{Program, Step};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Time and work of all launches of one kernel in one submit.
#[derive(Clone, Debug, Serialize)]
pub struct KernelTime {
    pub kernel: String,
    pub launches: usize,
    pub seconds: f64,
    pub gflops_per_s: f64,
    pub gbytes_per_s: f64,
}

/// Where the time of one submit goes.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// By kernel, slowest first.
    pub kernels: Vec<KernelTime>,
    /// Seconds of each dispatch in order, with its kernel's name.
    pub dispatches: Vec<(String, f64)>,
    /// From the first dispatch's start to the last one's end, copies included.
    pub total_seconds: f64,
}

/// Queries in a set; WebGPU allows 4,096.
const QUERIES: u32 = 4096;

impl Program {
    /// Submits once with a pass and two timestamps for each dispatch, and waits.
    ///
    /// # Errors
    /// When the adapter has no timestamps.
    pub fn profile(&self, gpu: &Gpu) -> Result<Profile> {
        if !gpu.timestamps {
            return Err(Error::gpu(format!(
                "adapter {}: offers no timestamps to profile with",
                gpu.description().name
            )));
        }
        self.prepare(gpu);
        let count = self.dispatches.len() as u32 * 2;
        let sets: Vec<wgpu::QuerySet> = (0..count.div_ceil(QUERIES))
            .map(|i| {
                gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("profile"),
                    ty: wgpu::QueryType::Timestamp,
                    count: (count - i * QUERIES).min(QUERIES),
                })
            })
            .collect();
        let resolve = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("profile"),
            size: u64::from(count.max(1)) * 8,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let target = gpu.buffer("profile", u64::from(count) * 8)?;
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") });
        let mut query = 0;
        for step in &self.steps {
            let Step::Dispatch(resolved) = step else {
                step.encode_copy(&mut encoder);
                continue;
            };
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &sets[(query / QUERIES) as usize],
                    beginning_of_pass_write_index: Some(query % QUERIES),
                    end_of_pass_write_index: Some(query % QUERIES + 1),
                }),
            });
            resolved.encode(&mut pass);
            query += 2;
        }
        for (i, set) in sets.iter().enumerate() {
            let first = i as u32 * QUERIES;
            encoder.resolve_query_set(set, 0..(count - first).min(QUERIES), &resolve, u64::from(first) * 8);
        }
        encoder.copy_buffer_to_buffer(&resolve, 0, target.device()?, 0, u64::from(count) * 8);
        gpu.queue.submit([encoder.finish()]);
        let ticks: Vec<u64> = gpu.read(&target, 0, count as usize)?;
        let period = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        let seconds = |a: u64, b: u64| b.saturating_sub(a) as f64 * period;
        let mut by_kernel: BTreeMap<&str, (usize, f64, u64, u64)> = BTreeMap::new();
        let mut dispatches = Vec::with_capacity(self.dispatches.len());
        for (i, d) in self.dispatches.iter().enumerate() {
            let time = seconds(ticks[2 * i], ticks[2 * i + 1]);
            dispatches.push((d.shader.to_string(), time));
            let entry = by_kernel.entry(d.shader).or_default();
            *entry = (entry.0 + 1, entry.1 + time, entry.2 + d.flops, entry.3 + d.bytes);
        }
        let mut kernels: Vec<KernelTime> = by_kernel
            .into_iter()
            .map(|(kernel, (launches, seconds, flops, bytes))| KernelTime {
                kernel: kernel.to_string(),
                launches,
                seconds,
                gflops_per_s: flops as f64 / seconds.max(1e-9) * 1e-9,
                gbytes_per_s: bytes as f64 / seconds.max(1e-9) * 1e-9,
            })
            .collect();
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let total_seconds = match (ticks.first(), ticks.last()) {
            (Some(&a), Some(&b)) => seconds(a, b),
            _ => 0.0,
        };
        Ok(Profile { kernels, dispatches, total_seconds })
    }
}

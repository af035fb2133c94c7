//! Persistent buffers: parameters, optimizer state, images, results.

use super::adapter::Gpu;
use super::facts::Facts;
use super::plan::too_large;
use crate::{Error, Result};
use std::sync::Arc;

/// A persistent GPU buffer. Clones share the same memory.
#[derive(Clone)]
pub struct Buffer {
    /// Nothing for a buffer that is only planned.
    inner: Option<wgpu::Buffer>,
    /// Its address tells buffers apart.
    label: Arc<str>,
    bytes: u64,
}

impl Buffer {
    /// Size in bytes, a multiple of 16.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn is(&self, other: &Buffer) -> bool {
        Arc::ptr_eq(&self.label, &other.label)
    }

    /// # Errors
    /// Names a buffer that is only planned.
    pub(super) fn device(&self) -> Result<&wgpu::Buffer> {
        self.inner
            .as_ref()
            .ok_or_else(|| Error::gpu(format!("{}: was planned and has no memory on a device", self.label)))
    }
}

/// Where buffers are made: on a device, or nowhere, for recordings that are planned and never run.
#[derive(Clone, Copy)]
pub enum Allocator<'a> {
    Device(&'a Gpu),
    /// For an adapter of which only this is known.
    Plan(&'a Facts),
}

impl<'a> From<&'a Gpu> for Allocator<'a> {
    fn from(gpu: &'a Gpu) -> Allocator<'a> {
        Allocator::Device(gpu)
    }
}

impl<'a> Allocator<'a> {
    pub fn facts(self) -> &'a Facts {
        match self {
            Allocator::Device(gpu) => gpu.facts(),
            Allocator::Plan(facts) => facts,
        }
    }

    /// See [`Gpu::buffer`].
    pub fn buffer(self, label: &str, bytes: u64) -> Result<Buffer> {
        match self {
            Allocator::Device(gpu) => gpu.buffer(label, bytes),
            Allocator::Plan(facts) => {
                let bytes = whole_vectors(bytes);
                check_size(facts, label, bytes)?;
                Ok(Buffer { inner: None, label: label.into(), bytes })
            }
        }
    }

    /// See [`Gpu::buffer_with`]; a plan leaves the data out.
    pub fn buffer_with<T: bytemuck::NoUninit>(self, label: &str, data: &[T]) -> Result<Buffer> {
        match self {
            Allocator::Device(gpu) => gpu.buffer_with(label, data),
            Allocator::Plan(_) => self.buffer(label, size_of_val(data) as u64),
        }
    }
}

/// The size that a buffer of `bytes` bytes gets: whole vec4, at least one.
pub(super) fn whole_vectors(bytes: u64) -> u64 {
    bytes.max(16).div_ceil(16).saturating_mul(16)
}

impl Gpu {
    /// A zero-filled buffer of at least `bytes` (rounded up to 16).
    ///
    /// # Errors
    /// Names the buffer, its size and the adapter's limit when it is larger than a buffer may be; its size when
    /// the adapter has no memory left for it.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer> {
        let bytes = whole_vectors(bytes);
        check_size(&self.facts, label, bytes).map_err(|error| match error {
            Error::Limit { problem, advice } => {
                Error::Limit { problem: format!("adapter {}: {problem}", self.description().name), advice }
            }
            other => other,
        })?;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let inner = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            Some(e) => Err(Error::gpu(format!(
                "{label}: adapter {} has no memory for {bytes} bytes ({e}); use a smaller batch or model",
                self.description().name
            ))),
            None => Ok(Buffer { inner: Some(inner), label: label.into(), bytes }),
        }
    }

    /// A buffer that holds `data`.
    pub fn buffer_with<T: bytemuck::NoUninit>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }
}

fn check_size(facts: &Facts, label: &str, bytes: u64) -> Result<()> {
    match bytes > facts.max_buffer_bytes {
        true => Err(too_large(label, bytes, facts.max_buffer_bytes, "buffer")),
        false => Ok(()),
    }
}

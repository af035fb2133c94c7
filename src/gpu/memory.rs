//! Persistent buffers: parameters, optimizer state, images, results.

use super::adapter::Gpu;
use crate::{Error, Result};
use std::sync::Arc;

/// A persistent GPU buffer. Clones share the same memory.
#[derive(Clone)]
pub struct Buffer {
    pub(super) inner: wgpu::Buffer,
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
        self.check_size(label, bytes)?;
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
            None => Ok(Buffer { inner, label: label.into(), bytes }),
        }
    }

    /// A buffer that holds `data`.
    pub fn buffer_with<T: bytemuck::NoUninit>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    fn check_size(&self, label: &str, bytes: u64) -> Result<()> {
        if bytes > self.facts.max_buffer_bytes {
            return Err(Error::gpu(format!(
                "{label}: {bytes} bytes, but this adapter ({}) allows buffers of at most {} bytes; use a smaller batch or model",
                self.description().name,
                self.facts.max_buffer_bytes
            )));
        }
        Ok(())
    }
}

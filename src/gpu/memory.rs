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

impl Gpu {
    /// A zero-filled buffer of at least `bytes` (rounded up to 16).
    ///
    /// # Errors
    /// Names the buffer, its size and the adapter's limit when it is larger than a buffer may be.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer> {
        let bytes = bytes.max(16).next_multiple_of(16);
        self.check_size(label, bytes)?;
        let inner = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Buffer { inner, label: label.into(), bytes })
    }

    /// A buffer that holds `data`.
    pub fn buffer_with<T: bytemuck::NoUninit>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    pub(super) fn check_size(&self, label: &str, bytes: u64) -> Result<()> {
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

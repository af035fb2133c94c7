//! Between host and device: writes, blocking reads, and reads that arrive later.

use super::adapter::Gpu;
use super::memory::Buffer;
use super::program::Submission;
use crate::{Error, Result};
use std::sync::mpsc;

/// A read that was asked for and arrives when the device has done what was submitted before it.
pub struct Pending {
    staging: wgpu::Buffer,
    arrived: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    submission: Submission,
}

impl Gpu {
    /// Writes `data` at a byte offset (both multiples of 4) before anything submitted later.
    pub fn write<T: bytemuck::NoUninit>(&self, buffer: &Buffer, offset: u64, data: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.is_empty() {
            return Ok(());
        }
        if offset + bytes.len() as u64 > buffer.bytes() {
            return Err(Error::gpu(format!(
                "{}: {} bytes at offset {offset} do not fit its {} bytes",
                buffer.label(),
                bytes.len(),
                buffer.bytes()
            )));
        }
        if bytes.len().is_multiple_of(4) {
            self.queue.write_buffer(&buffer.inner, offset, bytes);
        } else {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            self.queue.write_buffer(&buffer.inner, offset, &padded);
        }
        Ok(())
    }

    /// Asks for `bytes` bytes at `offset` (multiples of 4); they are copied after everything submitted so far.
    pub fn read_later(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Pending> {
        if offset + bytes > buffer.bytes() || bytes == 0 {
            return Err(Error::gpu(format!(
                "{}: cannot read {bytes} bytes at offset {offset} of its {} bytes",
                buffer.label(),
                buffer.bytes()
            )));
        }
        self.check_size(buffer.label(), bytes)?;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: bytes.next_multiple_of(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read-back") });
        encoder.copy_buffer_to_buffer(&buffer.inner, offset, &staging, 0, bytes.next_multiple_of(4));
        let submission = Submission(self.queue.submit([encoder.finish()]));
        let (sender, arrived) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone only when nobody wants the data any more.
            let _ = sender.send(result);
        });
        Ok(Pending { staging, arrived, submission })
    }

    /// Reads a range and waits for it.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &Buffer, offset: u64, count: usize) -> Result<Vec<T>> {
        let bytes = (count * size_of::<T>()) as u64;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        self.read_later(buffer, offset, bytes)?.wait(self)
    }

    /// Waits until a submit is done.
    pub fn wait(&self, submission: &Submission) -> Result<()> {
        self.device
            .poll(wgpu::PollType::Wait { submission_index: Some(submission.0.clone()), timeout: None })
            .map_err(|e| Error::gpu(format!("adapter {}: {e}", self.description().name)))?;
        self.check()
    }

    /// Waits until everything submitted is done.
    pub fn wait_all(&self) -> Result<()> {
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::gpu(format!("adapter {}: {e}", self.description().name)))?;
        self.check()
    }
}

impl Pending {
    /// Waits for the data.
    pub fn wait<T: bytemuck::Pod>(self, gpu: &Gpu) -> Result<Vec<T>> {
        gpu.wait(&self.submission)?;
        let lost = |e: &dyn std::fmt::Display| {
            Error::gpu(format!("adapter {}: read-back failed: {e}", gpu.description().name))
        };
        self.arrived.recv().map_err(|e| lost(&e))?.map_err(|e| lost(&e))?;
        let view = self.staging.slice(..).get_mapped_range().map_err(|e| lost(&e))?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

//! Between host and device: writes, blocking reads, and reads that arrive later.

use super::adapter::Gpu;
use super::memory::Buffer;
use super::program::Submission;
use crate::{Error, Result};
use std::sync::mpsc;

/// A read that was asked for and arrives when the device has done what was submitted before it.
pub struct Pending {
    staging: wgpu::Buffer,
    bytes: u64,
    arrived: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    submission: Submission,
}

impl Gpu {
    /// Writes `data` at a byte offset before anything submitted later. The offset is a multiple of 4; data
    /// that ends within a word is padded with zeros to its end.
    ///
    /// # Errors
    /// Names the buffer when the range does not fit it or the offset is not a multiple of 4.
    pub fn write<T: bytemuck::NoUninit>(&self, buffer: &Buffer, offset: u64, data: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        check_range("write", buffer, offset, bytes.len() as u64)?;
        if bytes.len().is_multiple_of(4) {
            self.queue.write_buffer(buffer.device()?, offset, bytes);
        } else {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            self.queue.write_buffer(buffer.device()?, offset, &padded);
        }
        Ok(())
    }

    /// Asks for `bytes` bytes (at least one) at `offset`, a multiple of 4; they are copied after everything
    /// submitted so far.
    ///
    /// # Errors
    /// Names the buffer when the range does not fit it or the offset is not a multiple of 4.
    pub fn read_later(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Pending> {
        check_range("read", buffer, offset, bytes)?;
        if bytes == 0 {
            return Err(Error::gpu(format!("{}: a read of 0 bytes was asked for", buffer.label())));
        }
        let source = buffer.device()?;
        // A buffer's size is a multiple of 16, so the last word is there whole.
        let whole = bytes.next_multiple_of(4);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: whole,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read-back") });
        encoder.copy_buffer_to_buffer(source, offset, &staging, 0, whole);
        let submission = Submission(self.queue.submit([encoder.finish()]));
        let (sender, arrived) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone only when nobody wants the data any more.
            let _ = sender.send(result);
        });
        Ok(Pending { staging, bytes, arrived, submission })
    }

    /// Reads `count` values from a byte offset, a multiple of 4, and waits for them.
    ///
    /// # Errors
    /// As [`Gpu::read_later`] and [`Pending::wait`].
    pub fn read<T: bytemuck::Pod>(&self, buffer: &Buffer, offset: u64, count: usize) -> Result<Vec<T>> {
        let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
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
    ///
    /// # Errors
    /// When the device is lost or reported errors, or the bytes are not whole values of `T`.
    pub fn wait<T: bytemuck::Pod>(self, gpu: &Gpu) -> Result<Vec<T>> {
        gpu.wait(&self.submission)?;
        let lost = |e: &dyn std::fmt::Display| {
            Error::gpu(format!("adapter {}: read-back failed: {e}", gpu.description().name))
        };
        self.arrived.recv().map_err(|e| lost(&e))?.map_err(|e| lost(&e))?;
        if self.bytes.checked_rem(size_of::<T>() as u64) != Some(0) {
            return Err(Error::gpu(format!(
                "{} bytes were read, which are not whole values of {} bytes",
                self.bytes,
                size_of::<T>()
            )));
        }
        let view = self.staging.slice(..).get_mapped_range().map_err(|e| lost(&e))?;
        // The staging buffer has at least `bytes` bytes, and it was made within this address space.
        Ok(bytemuck::pod_collect_to_vec(&view[..self.bytes as usize]))
    }
}

/// # Errors
/// Names the buffer and the range that does not lie in it.
fn check_range(what: &str, buffer: &Buffer, offset: u64, bytes: u64) -> Result<()> {
    let place = || format!("{}: cannot {what} {bytes} bytes at offset {offset}", buffer.label());
    if offset.checked_add(bytes).is_none_or(|end| end > buffer.bytes()) {
        return Err(Error::gpu(format!("{}: it has {}", place(), buffer.bytes())));
    }
    if !offset.is_multiple_of(4) {
        return Err(Error::gpu(format!("{}: an offset is a multiple of 4", place())));
    }
    Ok(())
}

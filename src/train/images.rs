//! A data set's images on the GPU as packed bytes, whole where they fit one binding, else batch by batch.

use crate::data::ImageSet;
use crate::gpu::{Allocator, Buffer, Gpu, Recording};
use crate::kernels::augment::{BatchEntry, Images, PixelFormat};
use crate::{Error, Result};

/// How many images a set has, and their size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSize {
    pub images: usize,
    pub height: usize,
    pub width: usize,
}

impl SetSize {
    pub fn of(set: &ImageSet) -> SetSize {
        SetSize { images: set.len(), height: set.height, width: set.width }
    }
}

/// Images and the list of those that the next submit uses.
pub struct GpuImages {
    pixels: Buffer,
    entries: Buffer,
    /// Images that fit `pixels`.
    slots: usize,
    resident: bool,
    batch: usize,
    height: usize,
    width: usize,
}

impl GpuImages {
    /// Makes room for batches of `batch` images of `set`, and uploads the whole set if one binding can hold it.
    pub fn new(gpu: &Gpu, set: &ImageSet, batch: usize) -> Result<GpuImages> {
        let images = GpuImages::room(gpu.into(), SetSize::of(set), batch)?;
        if images.resident {
            for index in 0..set.len() {
                images.upload(gpu, set, index, index)?;
            }
        }
        Ok(images)
    }

    /// The memory of [`GpuImages::new`], without the images.
    pub(super) fn room(allocator: Allocator, set: SetSize, batch: usize) -> Result<GpuImages> {
        let bytes = (set.images as u64).saturating_mul(set.height as u64 * set.width as u64 * 4);
        let resident = bytes <= allocator.facts().max_binding_bytes / 2;
        let slots = if resident { set.images } else { batch };
        GpuImages::with_slots(allocator, [set.height, set.width], batch, slots, resident)
    }

    /// Room for batches of `batch` images of this size, none of them uploaded.
    pub fn streaming<'a>(
        allocator: impl Into<Allocator<'a>>,
        height: usize,
        width: usize,
        batch: usize,
    ) -> Result<GpuImages> {
        GpuImages::with_slots(allocator.into(), [height, width], batch, batch, false)
    }

    fn with_slots(
        allocator: Allocator,
        [height, width]: [usize; 2],
        batch: usize,
        slots: usize,
        resident: bool,
    ) -> Result<GpuImages> {
        Ok(GpuImages {
            pixels: allocator.buffer("images", (slots * height * width * 4) as u64)?,
            entries: allocator.buffer("batch", (batch * size_of::<BatchEntry>()) as u64)?,
            slots,
            resident,
            batch,
            height,
            width,
        })
    }

    fn upload(&self, gpu: &Gpu, set: &ImageSet, index: usize, slot: usize) -> Result<()> {
        let words = packed(set.image(index));
        gpu.write(&self.pixels, (slot * words.len() * 4) as u64, &words)
    }

    /// Chooses images for the next submit that are packed already, a word a pixel: `words` holds those called
    /// `samples`, in that order. Fewer than a batch leave the rest of it as copies of the last one.
    ///
    /// # Errors
    /// No image, more than a batch, or images of another size.
    pub fn choose_packed(&self, gpu: &Gpu, samples: &[usize], words: &[u32]) -> Result<()> {
        let (images, pixels) = (samples.len(), self.height * self.width);
        if images == 0 || images > self.batch || self.resident || words.len() != images * pixels {
            return Err(Error::shape(format!(
                "batch: {images} images of {} pixels in all do not fit a batch of {} of {}x{}",
                words.len(),
                self.batch,
                self.height,
                self.width
            )));
        }
        gpu.write(&self.pixels, 0, words)?;
        let entries = samples
            .iter()
            .enumerate()
            .map(|(slot, &index)| BatchEntry { sample: index as u32, slot: slot as u32 });
        self.write_entries(gpu, entries.collect())
    }

    fn write_entries(&self, gpu: &Gpu, mut entries: Vec<BatchEntry>) -> Result<()> {
        if let Some(&last) = entries.last() {
            entries.resize(self.batch, last);
        }
        gpu.write(&self.entries, 0, &entries)
    }

    /// Chooses the images of the next submit. Fewer than a batch leave the rest of it as copies of the last one.
    ///
    /// # Errors
    /// No image, more than a batch, or images of another size.
    pub fn choose(&self, gpu: &Gpu, set: &ImageSet, indices: &[usize]) -> Result<()> {
        if indices.is_empty()
            || indices.len() > self.batch
            || (set.height, set.width) != (self.height, self.width)
        {
            return Err(Error::shape(format!(
                "batch: {} images of {}x{} do not fit a batch of {} of {}x{}",
                indices.len(),
                set.height,
                set.width,
                self.batch,
                self.height,
                self.width
            )));
        }
        let mut entries = Vec::with_capacity(self.batch);
        for (place, &index) in indices.iter().enumerate() {
            let slot = if self.resident { index } else { place };
            if !self.resident {
                self.upload(gpu, set, index, slot)?;
            }
            entries.push(BatchEntry { sample: index as u32, slot: slot as u32 });
        }
        self.write_entries(gpu, entries)
    }

    /// The images as augmentation kernels take them.
    pub fn images(&self, recording: &mut Recording) -> Images {
        Images {
            slice: recording.persistent(&self.pixels),
            format: PixelFormat::Packed8,
            count: self.slots,
            height: self.height,
            width: self.width,
        }
    }

    /// Whether the whole set lies on the GPU.
    pub fn resident(&self) -> bool {
        self.resident
    }

    /// The list of chosen images.
    pub fn entries(&self) -> &Buffer {
        &self.entries
    }
}

/// u8 RGB pixels as the GPU reads them, a word a pixel.
pub(super) fn packed(pixels: &[u8]) -> Vec<u32> {
    pixels.chunks_exact(3).map(|p| u32::from(p[0]) | u32::from(p[1]) << 8 | u32::from(p[2]) << 16).collect()
}

//! Decoded images with their labels, the form in which every reader hands its data set over.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// One class index an image, and what the indices mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Class of each image, `0 .. names.len()`.
    pub values: Vec<u32>,
    /// Name of each class. A class without images keeps its number.
    pub names: Vec<String>,
}

impl Labels {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.names.len()
    }

    /// Number of images of each class, in class order.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        for &value in &self.values {
            counts[value as usize] += 1;
        }
        counts
    }

    /// The labels of the images at `indices`, each below the number of images.
    pub fn subset(&self, indices: &[usize]) -> Labels {
        Labels { values: indices.iter().map(|&i| self.values[i]).collect(), names: self.names.clone() }
    }
}

/// Per-channel constants of `(x / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Normalization {
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Images of one size with their labels, in an order that depends on the data set alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSet {
    /// Name of the data set, for tables and reports (`fashion-mnist`, or the folder's own name).
    pub name: String,
    pub width: usize,
    pub height: usize,
    /// u8 `[N, H, W, 3]`, RGB, row-major.
    pub pixels: Vec<u8>,
    /// What each image is called where it came from: a path relative to the data set, or `train/123`.
    pub ids: Vec<String>,
    /// The task's label.
    pub target: Option<Labels>,
    /// The sensitive attribute.
    pub attribute: Option<Labels>,
    /// SHA-256 (hexadecimal) of the files with images and labels that were read, or of the generator's settings.
    pub source_hash: String,
    /// The constants the field uses for this data set; `None` where they are computed.
    pub published_normalization: Option<Normalization>,
    /// What the reader left out or changed, in sentences for the report.
    pub notes: Vec<String>,
}

impl ImageSet {
    /// Checks that lengths agree, labels are within their classes and the set is not empty.
    ///
    /// # Errors
    /// [`Error::Data`] at `name`, naming the part that does not fit.
    pub fn checked(self) -> Result<ImageSet> {
        let images = self.ids.len();
        let fail = |problem: String| Err(Error::data(&self.name, problem));
        if images == 0 {
            return fail("expected images, found none".into());
        }
        let expected = self.width.checked_mul(self.height).and_then(|p| p.checked_mul(3 * images));
        if expected != Some(self.pixels.len()) || self.pixels.is_empty() {
            return fail(format!(
                "expected {images} images of {}x{} RGB, found {} bytes of pixels",
                self.width,
                self.height,
                self.pixels.len()
            ));
        }
        for (kind, labels) in [("target", &self.target), ("attribute", &self.attribute)] {
            let Some(labels) = labels else { continue };
            if labels.values.len() != images {
                return fail(format!("expected {images} {kind} labels, found {}", labels.values.len()));
            }
            if let Some(index) = labels.values.iter().position(|&v| v as usize >= labels.names.len()) {
                return fail(format!(
                    "image {index}: expected a {kind} label below {}, found {}",
                    labels.names.len(),
                    labels.values[index]
                ));
            }
        }
        Ok(self)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Bytes of one image, `H * W * 3`.
    pub fn image_bytes(&self) -> usize {
        self.width * self.height * 3
    }

    /// Image `index` as u8 `[H, W, 3]`. `index` must be below [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        let bytes = self.image_bytes();
        &self.pixels[index * bytes..(index + 1) * bytes]
    }

    /// The images at `indices`, in that order, with all that belongs to them. Class numbers stay as they are.
    ///
    /// # Errors
    /// [`Error::Data`] naming the first index that the set does not hold.
    pub fn subset(&self, indices: &[usize]) -> Result<ImageSet> {
        if let Some(&index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::data(
                &self.name,
                format!("expected image indices below {}, found {index}", self.len()),
            ));
        }
        let mut pixels = Vec::with_capacity(indices.len() * self.image_bytes());
        for &index in indices {
            pixels.extend_from_slice(self.image(index));
        }
        Ok(ImageSet {
            name: self.name.clone(),
            width: self.width,
            height: self.height,
            pixels,
            ids: indices.iter().map(|&i| self.ids[i].clone()).collect(),
            target: self.target.as_ref().map(|labels| labels.subset(indices)),
            attribute: self.attribute.as_ref().map(|labels| labels.subset(indices)),
            source_hash: self.source_hash.clone(),
            published_normalization: self.published_normalization,
            notes: self.notes.clone(),
        })
    }

    /// SHA-256 (hexadecimal) over shape, pixels and labels: equal exactly when training and attacks would
    /// see the same data. Names, identifiers and notes do not enter.
    pub fn content_hash(&self) -> String {
        let mut hash = ContentHash::new(self.len(), self.height, self.width);
        hash.pixels(&self.pixels);
        hex(&hash.finish([self.target.as_ref(), self.attribute.as_ref()]))
    }

    /// SHA-256 of one image's pixels. `index` must be below [`len`](Self::len).
    pub fn pixel_hash(&self, index: usize) -> [u8; 32] {
        Sha256::digest(self.image(index)).into()
    }

    /// [`pixel_hash`](Self::pixel_hash) of every image, in order.
    pub fn pixel_hashes(&self) -> Vec<[u8; 32]> {
        (0..self.len()).into_par_iter().map(|index| self.pixel_hash(index)).collect()
    }

    /// The published constants of the data set, or the set's own mean and standard deviation per channel
    /// (population form, summed in integers and so the same on every machine; a constant channel gets 1).
    pub fn normalization(&self) -> Normalization {
        self.published_normalization.unwrap_or_else(|| self.computed_normalization())
    }

    fn computed_normalization(&self) -> Normalization {
        let sums = self
            .pixels
            .par_chunks(3 << 20)
            .map(|chunk| {
                let mut sums = [[0u64; 2]; 3];
                for pixel in chunk.chunks_exact(3) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        sum[0] += u64::from(value);
                        sum[1] += u64::from(value) * u64::from(value);
                    }
                }
                sums
            })
            .reduce(|| [[0; 2]; 3], |a, b| std::array::from_fn(|c| [a[c][0] + b[c][0], a[c][1] + b[c][1]]));
        let count = (self.pixels.len() / 3).max(1) as u128;
        let mut constants = Normalization { mean: [0.0; 3], std: [1.0; 3] };
        for (channel, [sum, squares]) in sums.into_iter().enumerate() {
            constants.mean[channel] = (sum as f64 / count as f64 / 255.0) as f32;
            let spread = count * u128::from(squares) - u128::from(sum) * u128::from(sum);
            if spread > 0 {
                constants.std[channel] = ((spread as f64).sqrt() / count as f64 / 255.0) as f32;
            }
        }
        constants
    }
}

/// The sum behind [`ImageSet::content_hash`], for pixels that come one after the other.
pub(super) struct ContentHash(Sha256);

impl ContentHash {
    pub fn new(images: usize, height: usize, width: usize) -> ContentHash {
        let mut hash = Sha256::new();
        for extent in [images, height, width, 3] {
            hash.update((extent as u64).to_le_bytes());
        }
        ContentHash(hash)
    }

    /// The next images.
    pub fn pixels(&mut self, pixels: &[u8]) {
        self.0.update(pixels);
    }

    /// Ends with the target's and the attribute's labels.
    pub fn finish(mut self, labels: [Option<&Labels>; 2]) -> [u8; 32] {
        for (tag, labels) in [1u8, 2].into_iter().zip(labels) {
            let Some(labels) = labels else { continue };
            self.0.update([tag]);
            self.0.update((labels.names.len() as u64).to_le_bytes());
            for value in &labels.values {
                self.0.update(value.to_le_bytes());
            }
        }
        self.0.finalize().into()
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

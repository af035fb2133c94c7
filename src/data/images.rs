//! A data set as what reads its images asks of it, whether they lie in memory or not.

use sha2::{Digest, Sha256};

use super::image_set::{ImageSet, Labels, Normalization, hex};
use crate::{Error, Result};

/// What a file says of an image before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileFacts {
    /// Before anything is cut off or made smaller.
    pub width: usize,
    pub height: usize,
    pub bytes: u64,
    pub format: FileFormat,
}

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    Png,
    Jpeg,
    Bmp,
    WebP,
}

/// Images of one size in a fixed order, with their labels. [`ImageSet`] holds them, [`ImageFiles`](super::ImageFiles)
/// decodes them on demand.
pub trait Images: Send + Sync {
    /// Name of the data set, for tables and reports.
    fn name(&self) -> &str;
    /// Number of images, at least one.
    fn len(&self) -> usize;
    fn width(&self) -> usize;
    fn height(&self) -> usize;
    /// What image `index`, below [`len`](Self::len), is called where it came from.
    fn id(&self, index: usize) -> &str;
    /// The task's labels.
    fn target(&self) -> Option<&Labels>;
    /// The labels of the sensitive attribute.
    fn attribute(&self) -> Option<&Labels>;
    /// SHA-256 (hexadecimal) of where the images came from: of the files' content for an [`ImageSet`], of their
    /// names and lengths for images that are decoded on demand.
    fn source_hash(&self) -> &str;
    /// SHA-256 (hexadecimal) that changes whenever the images may have changed. What was measured on images is
    /// kept under it.
    fn fingerprint(&self) -> String;
    /// The constants the field uses for this data set.
    fn published_normalization(&self) -> Option<Normalization>;
    /// What was left out or changed, in sentences for the report.
    fn notes(&self) -> &[String];
    /// The images at `indices`, in that order, u8 `[indices, H, W, 3]`. Decoding uses all cores.
    ///
    /// # Errors
    /// The first index that there is no image for; every file that cannot be decoded, by name.
    fn read(&self, indices: &[usize]) -> Result<Vec<u8>>;

    /// What image `index`, below [`len`](Self::len), is as a file; `None` for images that do not lie in files of their own.
    ///
    /// # Errors
    /// A file that cannot be read any more, by name.
    fn file_facts(&self, index: usize) -> Result<Option<FileFacts>> {
        let _ = index;
        Ok(None)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of one image, `H * W * 3`.
    fn image_bytes(&self) -> usize {
        self.width() * self.height() * 3
    }

    /// # Errors
    /// [`Error::Data`] naming the first of `indices` that there is no image for.
    fn check_indices(&self, indices: &[usize]) -> Result<()> {
        match indices.iter().find(|&&index| index >= self.len()) {
            None => Ok(()),
            Some(index) => Err(Error::data(
                self.name(),
                format!("expected image indices below {}, found {index}", self.len()),
            )),
        }
    }
}

/// Some images of a source, in an order of their own.
pub struct Chosen<'a> {
    images: &'a dyn Images,
    indices: Vec<usize>,
    target: Option<Labels>,
    attribute: Option<Labels>,
}

impl<'a> Chosen<'a> {
    /// The images at `indices`.
    ///
    /// # Errors
    /// No index, or the first that there is no image for.
    pub fn new(images: &'a dyn Images, indices: Vec<usize>) -> Result<Chosen<'a>> {
        images.check_indices(&indices)?;
        if indices.is_empty() {
            return Err(Error::data(images.name(), "expected images, found none that are left"));
        }
        let labels = |labels: Option<&Labels>| labels.map(|labels| labels.subset(&indices));
        let (target, attribute) = (labels(images.target()), labels(images.attribute()));
        Ok(Chosen { images, indices, target, attribute })
    }

    /// At most `count` images, spread evenly over all.
    ///
    /// # Errors
    /// A count of zero.
    pub fn evenly(images: &'a dyn Images, count: usize) -> Result<Chosen<'a>> {
        let (all, count) = (images.len(), count.min(images.len()));
        Chosen::new(images, (0..count).map(|i| i * all / count).collect())
    }
}

impl Images for Chosen<'_> {
    fn name(&self) -> &str {
        self.images.name()
    }
    fn len(&self) -> usize {
        self.indices.len()
    }
    fn width(&self) -> usize {
        self.images.width()
    }
    fn height(&self) -> usize {
        self.images.height()
    }
    fn id(&self, index: usize) -> &str {
        self.images.id(self.indices[index])
    }
    fn target(&self) -> Option<&Labels> {
        self.target.as_ref()
    }
    fn attribute(&self) -> Option<&Labels> {
        self.attribute.as_ref()
    }
    fn source_hash(&self) -> &str {
        self.images.source_hash()
    }
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new().chain_update(self.images.fingerprint());
        self.indices.iter().for_each(|&index| hash.update((index as u64).to_le_bytes()));
        hex(&hash.finalize())
    }
    fn published_normalization(&self) -> Option<Normalization> {
        self.images.published_normalization()
    }
    fn notes(&self) -> &[String] {
        self.images.notes()
    }
    fn file_facts(&self, index: usize) -> Result<Option<FileFacts>> {
        self.images.file_facts(self.indices[index])
    }
    fn read(&self, indices: &[usize]) -> Result<Vec<u8>> {
        self.check_indices(indices)?;
        self.images.read(&indices.iter().map(|&index| self.indices[index]).collect::<Vec<_>>())
    }
}

impl Images for ImageSet {
    fn name(&self) -> &str {
        &self.name
    }
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn width(&self) -> usize {
        self.width
    }
    fn height(&self) -> usize {
        self.height
    }
    fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }
    fn target(&self) -> Option<&Labels> {
        self.target.as_ref()
    }
    fn attribute(&self) -> Option<&Labels> {
        self.attribute.as_ref()
    }
    fn source_hash(&self) -> &str {
        &self.source_hash
    }
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        self.ids.iter().for_each(|id| hash.update(Sha256::digest(id)));
        hex(&hash.chain_update(self.content_hash()).finalize())
    }
    fn published_normalization(&self) -> Option<Normalization> {
        self.published_normalization
    }
    fn notes(&self) -> &[String] {
        &self.notes
    }
    fn read(&self, indices: &[usize]) -> Result<Vec<u8>> {
        self.check_indices(indices)?;
        let mut pixels = Vec::with_capacity(indices.len() * self.image_bytes());
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.image(index)));
        Ok(pixels)
    }
}

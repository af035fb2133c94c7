//! Published sets of image files with labels in lists or names: the whole list is known, only the selected
//! images are decoded.

use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::decode::ImageFile;
use super::image_set::{ImageSet, Labels, Normalization, hex};
use super::select::Selection;
use super::spec::ImageOptions;
use crate::Result;

/// The constants of ImageNet, which the field uses for photographs of 64 pixels and more.
pub const IMAGENET_NORMALIZATION: Normalization =
    Normalization { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/// One image of the list.
pub struct Entry {
    pub id: String,
    pub file: ImageFile,
    pub target: u32,
    /// Read only where the set has attribute classes.
    pub attribute: u32,
}

/// A list of image files with its classes.
pub struct FileSet {
    pub name: &'static str,
    pub entries: Vec<Entry>,
    pub target: Vec<String>,
    pub attribute: Option<Vec<String>>,
    /// SHA-256 of the label files.
    pub hashes: Vec<[u8; 32]>,
    pub images: ImageOptions,
    pub notes: Vec<String>,
}

impl FileSet {
    /// Decodes the selected images in parallel, resized to `size` x `size` if that is given.
    ///
    /// # Errors
    /// What [`Selection::decode`] refuses.
    pub fn decode(mut self, selection: &Selection, size: Option<usize>) -> Result<ImageSet> {
        let files: Vec<ImageFile> = self.entries.iter().map(|entry| entry.file.clone()).collect();
        let decoded = selection.decode(self.name, &files, self.images, size)?;
        self.notes.extend(decoded.notes);
        let kept = || decoded.kept.iter().map(|&index| &self.entries[index]);
        let mut hash = Sha256::new();
        self.hashes.iter().for_each(|file| hash.update(file));
        kept().for_each(|entry| hash.update(Sha256::digest(&entry.id)));
        hash.update(decoded.hash);
        ImageSet {
            name: self.name.into(),
            width: decoded.width,
            height: decoded.height,
            pixels: decoded.pixels,
            ids: kept().map(|entry| entry.id.clone()).collect(),
            target: Some(Labels { values: kept().map(|entry| entry.target).collect(), names: self.target }),
            attribute: self
                .attribute
                .map(|names| Labels { values: kept().map(|entry| entry.attribute).collect(), names }),
            source_hash: hex(&hash.finalize()),
            published_normalization: Some(IMAGENET_NORMALIZATION),
            notes: self.notes,
        }
        .checked()
    }
}

/// Whether a path of a list names something below the folder that the list is about.
pub fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

//! Data sets whose images are files: the whole list is known, only the selected images are decoded, at once
//! ([`FileSet::decode`]) or on demand ([`FileSet::open`](super::stream)).

use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::decode::ImageFile;
use super::image_set::{ImageSet, Labels, Normalization, hex};
use super::resize::Fit;
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
}

/// What a source hash covers beside the images.
pub enum SourceHash {
    /// Nothing.
    Files,
    /// The table that names them.
    Table([u8; 32]),
    /// Label files, and the names of the images.
    Lists(Vec<[u8; 32]>),
}

impl SourceHash {
    /// The hash over the images `ids`, whose files have the hash `files`.
    pub fn of<'a>(&self, ids: impl Iterator<Item = &'a str>, files: [u8; 32]) -> String {
        let mut hash = Sha256::new();
        match self {
            SourceHash::Files => return hex(&files),
            SourceHash::Table(table) => hash.update(table),
            SourceHash::Lists(lists) => {
                lists.iter().for_each(|list| hash.update(list));
                ids.for_each(|id| hash.update(Sha256::digest(id)));
            }
        }
        hash.update(files);
        hex(&hash.finalize())
    }
}

/// A list of image files with a label of each kind for every entry.
pub struct FileSet {
    pub name: String,
    pub entries: Vec<Entry>,
    pub target: Option<Labels>,
    pub attribute: Option<Labels>,
    pub source: SourceHash,
    pub published_normalization: Option<Normalization>,
    pub images: ImageOptions,
    pub notes: Vec<String>,
}

impl FileSet {
    /// Decodes the selected images in parallel, brought to size as `fit` says.
    ///
    /// # Errors
    /// What [`Selection::decode`] refuses.
    pub fn decode(mut self, selection: &Selection, fit: Fit) -> Result<ImageSet> {
        let files: Vec<ImageFile> = self.entries.iter().map(|entry| entry.file.clone()).collect();
        let decoded = selection.decode(&self.name, &files, self.images, fit)?;
        self.notes.extend(decoded.notes);
        let ids: Vec<String> = decoded.kept.iter().map(|&index| self.entries[index].id.clone()).collect();
        let source_hash = self.source.of(ids.iter().map(String::as_str), decoded.hash);
        ImageSet {
            name: self.name,
            width: decoded.width,
            height: decoded.height,
            pixels: decoded.pixels,
            ids,
            target: self.target.map(|labels| labels.subset(&decoded.kept)),
            attribute: self.attribute.map(|labels| labels.subset(&decoded.kept)),
            source_hash,
            published_normalization: self.published_normalization,
            notes: self.notes,
        }
        .checked()
    }
}

/// One image of a published set.
pub struct LabelledEntry {
    pub id: String,
    pub file: ImageFile,
    pub target: u32,
    /// Read only where the set has attribute classes.
    pub attribute: u32,
}

/// A published set of photographs with labels in lists or names.
pub struct PublishedFiles {
    pub name: &'static str,
    pub entries: Vec<LabelledEntry>,
    pub target: Vec<String>,
    pub attribute: Option<Vec<String>>,
    /// SHA-256 of the label files.
    pub hashes: Vec<[u8; 32]>,
    pub images: ImageOptions,
    pub notes: Vec<String>,
}

impl PublishedFiles {
    pub fn into_file_set(self) -> FileSet {
        let labels = |value: fn(&LabelledEntry) -> u32, names| Labels {
            values: self.entries.iter().map(value).collect(),
            names,
        };
        FileSet {
            name: self.name.into(),
            target: Some(labels(|entry| entry.target, self.target)),
            attribute: self.attribute.map(|names| labels(|entry| entry.attribute, names)),
            entries: self.entries.into_iter().map(|e| Entry { id: e.id, file: e.file }).collect(),
            source: SourceHash::Lists(self.hashes),
            published_normalization: Some(IMAGENET_NORMALIZATION),
            images: self.images,
            notes: self.notes,
        }
    }
}

/// Whether a path of a list names something below the folder that the list is about.
pub fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

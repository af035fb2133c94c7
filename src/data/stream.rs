//! Image files decoded on demand: names, labels and sizes in memory, pixels only while somebody wants them.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::decode::{Alpha, Decoded, ImageFile, decode_file, extents_of, facts_of, other_size};
use super::duplicates_note;
use super::file_set::{Entry, FileSet};
use super::folder::skipped_note;
use super::image_set::{Labels, Normalization, hex};
use super::images::{FileFacts, Images};
use super::problems::{Problem, Problems};
use super::resize::Fit;
use super::select::Selection;
use crate::{Error, Result};

/// The selected images of a data set that is a list of files.
#[derive(Debug, Clone)]
pub struct ImageFiles {
    name: String,
    width: usize,
    height: usize,
    ids: Vec<String>,
    files: Vec<ImageFile>,
    target: Option<Labels>,
    attribute: Option<Labels>,
    source_hash: String,
    fingerprint: String,
    published_normalization: Option<Normalization>,
    notes: Vec<String>,
    alpha: Alpha,
    fit: Fit,
}

/// What is learnt of each file before any is used.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    /// That it is there.
    Presence,
    /// Its size, from its header.
    Header,
    /// That it can be decoded, and what its pixels are.
    Pixels,
}

/// What was learnt of a file.
struct Seen {
    extents: (usize, usize),
    bytes: u64,
    /// Nanoseconds since 1970; 0 where the file system does not say it.
    modified: u128,
    /// SHA-256, after [`Look::Pixels`].
    pixels: [u8; 32],
}

impl FileSet {
    /// The selected images, to be decoded on demand. Files are only looked at, all in parallel: their headers
    /// where images keep their own size, else only whether they are there. `skip-bad` and `unique` must decode
    /// every file once, and keep none.
    ///
    /// # Errors
    /// Lists the first 20 files that cannot be used as far as that look shows; images of different sizes; what
    /// [`Selection::indices`] refuses.
    pub fn open(mut self, selection: &Selection, fit: Fit, unique: bool) -> Result<ImageFiles> {
        let skip_bad = self.images.skip_bad;
        let all = skip_bad || unique;
        let order: Vec<usize> = if all {
            (0..self.entries.len()).collect()
        } else {
            selection.indices(&self.name, self.entries.len())?
        };
        let look = match fit {
            _ if all => Look::Pixels,
            Fit::AsIs => Look::Header,
            Fit::Stretch(_) | Fit::Crop { .. } => Look::Presence,
        };
        let alpha = self.images.alpha;
        let seen: Vec<Result<Seen, Problem>> =
            order.par_iter().map(|&index| look_at(&self.entries[index].file, alpha, fit, look)).collect();

        let (mut problems, mut skipped) = (Problems::default(), Vec::new());
        let mut kept: Vec<(usize, Seen)> = Vec::with_capacity(order.len());
        for (index, seen) in order.into_iter().zip(seen) {
            let path = |index: usize| &self.entries[index].file.path;
            match (seen, kept.first()) {
                (Ok(seen), Some((first, like))) if seen.extents != like.extents => {
                    problems.push(other_size(path(index), like.extents, path(*first), seen.extents));
                }
                (Ok(seen), _) => kept.push((index, seen)),
                (Err(problem), _) if skip_bad => skipped.push(problem),
                (Err(problem), _) => problems.push(problem),
            }
        }
        problems.into_result()?;
        self.notes.extend(skipped_note(&skipped));
        if unique {
            let (mut pixels, before) = (BTreeSet::new(), kept.len());
            kept.retain(|(_, seen)| pixels.insert(seen.pixels));
            self.notes.extend(duplicates_note(before - kept.len()));
        }
        if all {
            let mut found: Vec<Option<(usize, Seen)>> = kept.into_iter().map(Some).collect();
            let order = selection.indices(&self.name, found.len())?;
            kept = order.into_iter().filter_map(|place| found[place].take()).collect();
        }
        self.keep(kept, fit)
    }

    fn keep(self, kept: Vec<(usize, Seen)>, fit: Fit) -> Result<ImageFiles> {
        let Some(&(_, Seen { extents: (width, height), .. })) = kept.first() else {
            return Err(Error::data(&self.name, "expected images, found none"));
        };
        let (mut lengths, mut changes) = (Sha256::new(), Sha256::new());
        for (index, seen) in &kept {
            lengths.update(seen.bytes.to_le_bytes());
            changes.update(Sha256::digest(&self.entries[*index].id));
            changes.update(seen.modified.to_le_bytes());
        }
        let order: Vec<usize> = kept.into_iter().map(|(index, _)| index).collect();
        let mut entries: Vec<Option<Entry>> = self.entries.into_iter().map(Some).collect();
        let (ids, files): (Vec<String>, Vec<ImageFile>) = order
            .iter()
            .filter_map(|&index| entries[index].take())
            .map(|entry| (entry.id, entry.file))
            .unzip();
        let source_hash = self.source.of(ids.iter().map(String::as_str), lengths.finalize().into());
        changes.update(&source_hash);
        changes.update(format!("{fit:?} {:?}", self.images.alpha));
        Ok(ImageFiles {
            name: self.name,
            width,
            height,
            ids,
            files,
            target: self.target.map(|labels| labels.subset(&order)),
            attribute: self.attribute.map(|labels| labels.subset(&order)),
            source_hash,
            fingerprint: hex(&changes.finalize()),
            published_normalization: self.published_normalization,
            notes: self.notes,
            alpha: self.images.alpha,
            fit,
        })
    }
}

fn look_at(file: &ImageFile, alpha: Alpha, fit: Fit, look: Look) -> Result<Seen, Problem> {
    let about = std::fs::metadata(&file.path).map_err(|error| file.unreadable(error))?;
    let since = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut seen = Seen {
        extents: fit.extents((0, 0)),
        bytes: about.len(),
        modified: since.map_or(0, |since| since.as_nanos()),
        pixels: [0; 32],
    };
    match look {
        Look::Presence => {}
        Look::Header => seen.extents = fit.extents(extents_of(file, alpha)?),
        Look::Pixels => {
            let image = decode_file(file, alpha, fit)?;
            seen.extents = (image.width, image.height);
            seen.pixels = Sha256::digest(&image.pixels).into();
        }
    }
    Ok(seen)
}

impl ImageFiles {
    fn decode(&self, index: usize) -> Result<Vec<u8>, Problem> {
        let file = &self.files[index];
        let Decoded { width, height, pixels } = decode_file(file, self.alpha, self.fit)?;
        let expected = (self.width, self.height);
        if (width, height) != expected {
            return Err(other_size(&file.path, expected, &self.files[0].path, (width, height)));
        }
        Ok(pixels)
    }
}

impl Images for ImageFiles {
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
        self.fingerprint.clone()
    }
    fn published_normalization(&self) -> Option<Normalization> {
        self.published_normalization
    }
    fn notes(&self) -> &[String] {
        &self.notes
    }
    fn file_facts(&self, index: usize) -> Result<Option<FileFacts>> {
        let mut problems = Problems::default();
        let facts = facts_of(&self.files[index], self.alpha).map_err(|problem| problems.push(problem)).ok();
        problems.into_result()?;
        Ok(facts)
    }
    fn read(&self, indices: &[usize]) -> Result<Vec<u8>> {
        self.check_indices(indices)?;
        let mut pixels = vec![0; indices.len() * self.image_bytes()];
        let found: Vec<Result<(), Problem>> = pixels
            .par_chunks_exact_mut(self.image_bytes())
            .zip(indices)
            .map(|(image, &index)| self.decode(index).map(|decoded| image.copy_from_slice(&decoded)))
            .collect();
        let mut problems = Problems::default();
        found.into_iter().filter_map(Result::err).for_each(|problem| problems.push(problem));
        problems.into_result()?;
        Ok(pixels)
    }
}

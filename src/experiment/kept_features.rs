//! What an encoder gives for many images, measured in chunks that are kept in files, so that an interrupted run goes
//! on where it was. Only the result is held in memory, never all images or all embeddings.
//!
//! A chunk is `NAME-00012.safetensors` with `rows`, f32 `[images, numbers]`, and under `contraleak.key` in its metadata
//! the hash of all that decides the numbers: encoder, recipe, views, seed, similarity, images, adapter. A file with
//! another key is measured again.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::pace::Pace;
use crate::attack::encodermi::{MembershipFeatures, membership_features};
use crate::data::Images;
use crate::data::image_set::hex;
use crate::gpu::Gpu;
use crate::kernels::similarity::Similarity;
use crate::nn::safetensors_file;
use crate::nn::state_dict::{StateDict, StateTensor};
use crate::train::{Encoder, Views};
use crate::{Error, Result};

/// Images of a chunk, at most.
const CHUNK: usize = 512;
/// Embeddings of a chunk in bytes, at most.
const CHUNK_BYTES: usize = 64 << 20;
/// Changes when the numbers of an older version would differ.
const VERSION: u32 = 1;
const KEY: &str = "contraleak.key";
const ROWS: &str = "rows";

/// Where chunks are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'a> {
    /// Made when it is not there.
    pub folder: &'a Path,
    /// How the files' names begin, one name for each measurement in the folder.
    pub name: &'a str,
    /// SHA-256 of the encoder's file.
    pub encoder: &'a str,
}

/// What is measured of which images by which encoder.
#[derive(Clone, Copy)]
pub struct Measured<'a> {
    pub gpu: &'a Gpu,
    pub encoder: &'a Encoder,
    pub images: &'a dyn Images,
    pub views: &'a Views,
    /// Without it nothing is kept and an interruption loses everything.
    pub keep: Option<Keep<'a>>,
}

/// Hears how far the work is, before each batch and at the end, and says whether to stop.
pub type Tell<'a> = dyn FnMut(&Pace) -> bool + 'a;

/// Membership features of every image: the similarities of all pairs of its views. Memory for `n(n − 1)/2` numbers an
/// image. The result has the same bits whether the work was interrupted or not.
///
/// # Errors
/// As [`Encoder::features_in_parts`] and [`membership_features`]; a chunk that cannot be written;
/// [`Error::Interrupted`] when `tell` says so.
pub fn similarities(work: &Measured, similarity: Similarity, tell: &mut Tell) -> Result<MembershipFeatures> {
    let (views, dim) = (work.views.count, work.encoder.feature_dim());
    let pairs = views * views.saturating_sub(1) / 2;
    let make =
        |embeddings: Vec<f32>| Ok(membership_features(work.gpu, &embeddings, views, dim, similarity)?.sorted);
    let sorted = work.rows(&format!("similarities {similarity:?}"), pairs, make, tell)?;
    Ok(MembershipFeatures::of_sorted(sorted, pairs))
}

/// Embeddings of every image, `[images, views, feature_dim]`, kept in the same way; for [`Views::plain`] one each.
///
/// # Errors
/// As [`similarities`].
pub fn embeddings(work: &Measured, tell: &mut Tell) -> Result<Vec<f32>> {
    work.rows("embeddings", work.views.count * work.encoder.feature_dim(), Ok, tell)
}

impl Measured<'_> {
    /// `width` numbers of every image, `make` from the embeddings of a chunk.
    fn rows(
        &self,
        what: &str,
        width: usize,
        mut make: impl FnMut(Vec<f32>) -> Result<Vec<f32>>,
        tell: &mut Tell,
    ) -> Result<Vec<f32>> {
        if width == 0 {
            return Err(Error::shape(format!(
                "{what}: expected at least 2 views of each image, found {}",
                self.views.count
            )));
        }
        let images = self.images.len();
        let image_bytes = self.views.count * self.encoder.feature_dim() * size_of::<f32>();
        let chunk = (CHUNK_BYTES / image_bytes.max(1)).clamp(1, CHUNK);
        let kept = self.keep.as_ref().map(|keep| Kept { keep, key: self.key(keep, what), width, chunk });
        let mut rows = vec![0.0; images * width];
        let mut missing = Vec::new();
        for first in (0..images).step_by(chunk) {
            let span = first..(first + chunk).min(images);
            match kept.as_ref().and_then(|kept| kept.read(span.clone())) {
                Some(found) => rows[span.start * width..span.end * width].copy_from_slice(&found),
                None => missing.extend(span),
            }
        }
        if let Some(kept) = &kept {
            std::fs::create_dir_all(kept.keep.folder).map_err(|e| Error::io(kept.keep.folder, e))?;
        }
        let mut pace = Pace::new((images - missing.len()) as u64, images as u64);
        let mut before = 0;
        // Only the last chunk of all can be short, so that parts of the missing images are whole chunks.
        let mut sink = |place: usize, part: Vec<f32>| -> Result<()> {
            let (first, made) = (missing[place], make(part)?);
            if let Some(kept) = &kept {
                kept.write(first, &made)?;
            }
            rows[first * width..first * width + made.len()].copy_from_slice(&made);
            Ok(())
        };
        let mut progress = |next: usize| {
            pace.step(std::mem::replace(&mut before, next as u64));
            tell(&pace)
        };
        let run = self.encoder.features_in_parts(
            self.gpu,
            self.images,
            &missing,
            self.views,
            chunk,
            &mut sink,
            &mut progress,
        );
        match (run, &kept) {
            (Err(Error::Interrupted(_)), Some(kept)) => Err(Error::Interrupted(format!(
                "{}: stopped after {} of {images} images; what is measured is kept in {}, the same command goes on from there",
                self.images.name(),
                pace.done,
                kept.keep.folder.display()
            ))),
            (run, _) => run.map(|()| {
                pace.step(before);
                // There is nothing left to stop.
                tell(&pace);
                rows
            }),
        }
    }

    /// SHA-256 (hexadecimal) over all that decides the numbers.
    fn key(&self, keep: &Keep, what: &str) -> String {
        let Views { recipe, count, seed } = self.views;
        let adapter = self.gpu.description();
        let parts = [
            format!("version {VERSION}"),
            what.into(),
            keep.encoder.into(),
            format!("{:?} {:?}", self.encoder.config(), self.encoder.output()),
            format!("{recipe:?} {count} {seed}"),
            self.images.fingerprint(),
            format!("{} {}", adapter.name, adapter.driver),
        ];
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(Sha256::digest(part)));
        hex(&hash.finalize())
    }
}

/// The chunks of one measurement.
struct Kept<'a> {
    keep: &'a Keep<'a>,
    key: String,
    width: usize,
    chunk: usize,
}

impl Kept<'_> {
    fn path(&self, first: usize) -> PathBuf {
        self.keep.folder.join(format!("{}-{:05}.safetensors", self.keep.name, first / self.chunk))
    }

    /// The rows of the images `span`, if they were measured in the same way.
    fn read(&self, span: std::ops::Range<usize>) -> Option<Vec<f32>> {
        let path = self.path(span.start);
        if !path.exists() {
            return None;
        }
        let again = |problem: &str| {
            tracing::warn!("{}: {problem}; it is measured again", path.display());
            None
        };
        let mut state = match safetensors_file::read(&path) {
            Ok((state, _)) => state,
            Err(error) => return again(&format!("cannot be used ({error})")),
        };
        if state.metadata.get(KEY) != Some(&self.key) {
            return again("was measured with another encoder, other images or other settings");
        }
        match state.tensors.remove(ROWS) {
            Some(rows) if rows.dimensions == [span.len(), self.width] => Some(rows.values),
            _ => again("does not hold what its key says"),
        }
    }

    fn write(&self, first: usize, rows: &[f32]) -> Result<()> {
        let mut state = StateDict::default();
        let dimensions = vec![rows.len() / self.width, self.width];
        state.tensors.insert(ROWS.into(), StateTensor { dimensions, values: rows.to_vec() });
        state.metadata.insert(KEY.into(), self.key.clone());
        safetensors_file::write(&state, &self.path(first)).map(|_hash| ())
    }
}
